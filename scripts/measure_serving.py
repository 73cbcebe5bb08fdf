"""What `inceptions serve` bears: `python scripts/measure_serving.py MODEL PICTURES [--rounds 5] [--seconds 5] [--overload 60]`.

The engine alone, the engine with decoding before it, and the server take turns in rounds on the same pictures; then latency at half of what
the server bears, three times of it for a while, and what becomes of requests when it is stopped, given a new version, or loses its process.
The client is this process, on the same cores: raw HTTP on asyncio, whose requests are made before the clock runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np

from inceptions.files import whole_folder
from inceptions.inference.engines.choose import open_engine
from inceptions.inference.pipeline import iterate_predictions, read_pixels
from inceptions.inference.sources import iterate_pictures
from inceptions.serving.batches import Sent
from inceptions.weights.card import CARD_NAME, read_card
from inceptions.weights.locate import find_model

CONNECTIONS = 24


class Connection(asyncio.Protocol):
    """A connection that asks one request at a time and reads its answer's status."""

    def __init__(self) -> None:
        self.found, self.asked = bytearray(), None

    def connection_made(self, transport):
        """Keep what bytes are written to."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer, and tell its status when it is whole."""
        self.found += data
        end = self.found.find(b"\r\n\r\n")
        if end < 0 or self.asked is None:
            return
        head = self.found[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self.found) >= end + 4 + length and not self.asked.done():
            self.closes = b"connection: close" in head
            status = int(head[9:12])
            self.found.clear()
            self.asked.set_result(status)

    def connection_lost(self, exc) -> None:
        """Tell that there will be no answer."""
        if self.asked is not None and not self.asked.done():
            self.asked.set_result(0)

    async def ask(self, request: bytes) -> int:
        """Return the status of the answer; 0 where there is none."""
        self.found.clear()
        self.asked, self.closes = asyncio.get_running_loop().create_future(), False
        self.transport.write(request)
        status = await self.asked
        if self.closes:
            self.transport.close()
        return status


class Client:
    """Connections to a port, opened as they are needed."""

    def __init__(self, port: int) -> None:
        self.port, self.free, self.all = port, [], []

    async def ask(self, request: bytes) -> int | None:
        """Return the status; 0 where the answer is missing; None where nobody listens."""
        while self.free and self.free[-1].transport.is_closing():
            self.free.pop()
        if self.free:
            connection = self.free.pop()
        else:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", self.port)
            except OSError:
                return None
            self.all.append(connection)
        status = await connection.ask(request)
        if status and not connection.transport.is_closing():
            self.free.append(connection)
        return status

    def close(self) -> None:
        """Close all connections."""
        for connection in self.all:
            connection.transport.close()


async def closed_loop(
    port: int, requests: list[bytes], seconds: float, meanwhile: Callable[[], None] | None = None, *, clients: int = CONNECTIONS
) -> Counter:
    """Ask from so many clients, each as soon as it has its answer; return how often each status came. meanwhile: done after a third."""
    client, statuses, ends, coming = Client(port), Counter(), time.perf_counter() + seconds, cycle(requests)

    async def one() -> None:
        while time.perf_counter() < ends:
            status = await client.ask(next(coming))
            statuses[status] += 1
            if status is None:
                await asyncio.sleep(0.05)

    if meanwhile is not None:
        asyncio.get_running_loop().call_later(seconds / 3, meanwhile)
    await asyncio.gather(*(one() for _ in range(clients)))
    client.close()
    return statuses


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float, each_second=lambda: None) -> tuple[Counter, list[float]]:
    """Ask at random times, `rate` a second whatever the answers; return the statuses, and the seconds of those that were 200."""
    client, statuses, latencies, coming, rng = Client(port), Counter(), [], cycle(requests), random.Random(0)

    async def one(due: float) -> None:
        status = await client.ask(next(coming))
        statuses[status] += 1
        if status == 200:
            latencies.append(time.perf_counter() - due)

    began = due = time.perf_counter()
    tasks, second = [], 0
    while due < began + seconds:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
        if due - began > second:
            second += 1
            each_second()
    done, lost = await asyncio.wait(tasks, timeout=60)
    statuses["hung"] += len(lost)
    client.close()
    assert len(done) + len(lost) == len(tasks)
    return statuses, latencies


def form(files: list[bytes]) -> bytes:
    """Return a request with the pictures as a form, or the bytes of one alone."""
    if len(files) == 1:
        kind, body = "image/jpeg", files[0]
    else:
        kind = "multipart/form-data; boundary=x"
        parts = (b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n' + data + b"\r\n" for data in files)
        body = b"".join(parts) + b"--x--\r\n"
    return f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Served:
    """A server on a free port, ended with the block."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        command = [sys.executable, "-m", "inceptions", "serve", f"model={folder}", "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def __enter__(self) -> Served:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if "Ctrl-C" in line:
                return self
        raise SystemExit("".join(self.lines))

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.stderr is not None
        self.lines += self.process.stderr.read().splitlines(keepends=True)
        self.process.wait()

    @property
    def children(self) -> list[int]:
        """The processes of its models."""
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def core_seconds(self) -> float:
        """Return what it and its processes have had of the cores."""
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in (self.process.pid, *self.children))
        return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")

    def mebibytes(self) -> float:
        """Return what it and its processes have in memory."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (self.process.pid, *self.children))
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def rate_of(step: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Return how many pictures a second a step does, which says how many it did, and the seconds of a core that one takes."""
    began, busy, done = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < seconds:
        done += step()
    return done / spent, (time.process_time() - busy) / done


def engine_steps(folder: Path, files: list[bytes]) -> tuple[Callable[[], int], Callable[[], int]]:
    """Return a step of the engine on pixels that are ready, and one from the bytes of files."""
    card = read_card(folder)
    engine = open_engine(folder, card)
    pixels = np.stack([read_pixels(Sent("a", data), card.preprocess).pixels for data in files])
    batches = [pixels[start : start + engine.batch_size] for start in range(0, len(pixels), engine.batch_size)]

    def ready() -> int:
        return sum(len(answers.logits) for answers in engine.stream(batches))

    def decoding() -> int:
        return sum(len(batch) for batch in iterate_predictions(engine, card, [Sent("a", data) for data in files]))

    return ready, decoding


def measure_throughput(folder: Path, files: list[bytes], rounds: int, seconds: float) -> float:
    """Print what the engine does alone and behind the server, in turns; return what the server bears, one picture a request."""
    ready, decoding = engine_steps(folder, files)
    kinds = {1: [form([data]) for data in files], 16: [form(files[start : start + 16]) for start in range(0, len(files) - 15, 16)]}
    found: dict[str, list[tuple[float, float]]] = {}
    with Served(folder, "--timeout-s", "60") as served:
        for _ in range(rounds + 1):  # the first warms up
            found.setdefault("engine on ready pixels", []).append(rate_of(ready, seconds))
            found.setdefault("engine with decoding", []).append(rate_of(decoding, seconds))
            for size, requests in kinds.items():
                busy = served.core_seconds()
                statuses = asyncio.run(closed_loop(served.port, requests, seconds, clients=CONNECTIONS if size == 1 else 6))
                assert set(statuses) == {200}, statuses
                images = size * statuses[200]
                found.setdefault(f"server, {size} a request", []).append((images / seconds, (served.core_seconds() - busy) / images))
    print(f"| median of {rounds} | images/s | of engine | of engine with decoding | ms of a core an image | engine's share of it |")
    print("|---|---:|---:|---:|---:|---:|")
    first, second = list(found)[:2]
    for name, rows in found.items():
        rate, cost = (statistics.median(row[place] for row in rows[1:]) for place in (0, 1))
        ratios = [statistics.median(a[0] / b[0] for a, b in zip(rows[1:], found[base][1:], strict=True)) for base in (first, second)]
        share = statistics.median(b[1] / a[1] for a, b in zip(rows[1:], found[first][1:], strict=True))
        print(f"| {name} | {rate:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} | {1e3 * cost:.1f} | {share:.2f} |", flush=True)
    return statistics.median(row[0] for row in found["server, 1 a request"][1:])


def measure_latency(folder: Path, requests: list[bytes], rate: float, seconds: float) -> None:
    """Print how long answers take at half of what the server bears."""
    with Served(folder) as served:
        asyncio.run(closed_loop(served.port, requests, 2))
        statuses, latencies = asyncio.run(open_loop(served.port, requests, rate / 2, seconds))
    p50, p95, p99 = (1e3 * np.percentile(latencies, p) for p in (50, 95, 99))
    print(f"at {rate / 2:.0f} requests/s: p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; {dict(statuses)}", flush=True)


def measure_overload(folder: Path, requests: list[bytes], rate: float, seconds: float) -> None:
    """Print what becomes of requests, and of memory, at three times of what the server bears."""
    memory: list[float] = []
    with Served(folder) as served:
        asyncio.run(open_loop(served.port, requests, 3 * rate, 10))  # what memory grows to
        statuses, latencies = asyncio.run(open_loop(served.port, requests, 3 * rate, seconds, lambda: memory.append(served.mebibytes())))
        after = asyncio.run(closed_loop(served.port, requests, 2))
    fifth = max(1, len(memory) // 5)
    begin, end = statistics.median(memory[:fifth]), statistics.median(memory[-fifth:])
    print(f"at {3 * rate:.0f} requests/s for {seconds:.0f} s: {dict(statuses)}, p99 of those answered {np.percentile(latencies, 99):.2f} s")
    print(
        f"  memory {begin:.0f} MiB in the first fifth, {end:.0f} in the last ({100 * (end / begin - 1):+.1f} %); then {dict(after)}",
        flush=True,
    )


def new_version(folder: Path) -> None:
    """Put another version of a model folder in its place, whole."""
    with whole_folder(folder) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        card = json.loads((fresh / CARD_NAME).read_text(encoding="utf-8"))
        card["metrics"]["version"] = time.time()
        (fresh / CARD_NAME).write_text(json.dumps(card), encoding="utf-8")


def measure_events(folder: Path, requests: list[bytes]) -> None:
    """Print what becomes of requests when the server is stopped, given a new version, and loses its process."""
    with Served(folder) as served:
        statuses = asyncio.run(closed_loop(served.port, requests, 6, lambda: served.process.send_signal(signal.SIGTERM)))
    told(f"SIGTERM (exit code {served.process.returncode})", statuses)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model"
        shutil.copytree(folder, copy)
        with Served(copy, "--watch-s", "0.2") as served:
            statuses = asyncio.run(closed_loop(served.port, requests, 15, lambda: new_version(copy)))
        told(f"new version ({sum('in place of' in line for line in served.lines)} taken)", statuses)
    with Served(folder) as served:
        found: list[float] = []

        def kill() -> None:
            os.kill(served.children[0], signal.SIGKILL)
            found.append(time.perf_counter())

        async def both() -> tuple[Counter, float]:
            loaded = asyncio.create_task(closed_loop(served.port, requests, 12, kill))
            while not found:
                await asyncio.sleep(0.01)
            client, status = Client(served.port), 0
            await asyncio.sleep(0.05)
            while status != 200:
                status = await client.ask(requests[0])
                await asyncio.sleep(0.01)
            back = time.perf_counter() - found[0]
            client.close()
            return await loaded, back

        statuses, back = asyncio.run(both())
    told(f"process killed (answers again after {back:.2f} s)", statuses)


def told(what: str, statuses: Counter) -> None:
    """Print what became of requests."""
    asked = sum(count for status, count in statuses.items() if status is not None)
    print(f"{what}: {asked} requests, {statuses[200]} answered, {statuses[503]} refused with 503, {statuses[0]} lost", flush=True)


def pictures_in(folder: str, count: int) -> Iterator[bytes]:
    """Yield the bytes of the first pictures."""
    for path, _ in zip(iterate_pictures([folder]), range(count), strict=False):
        assert isinstance(path, Path)
        yield path.read_bytes()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("pictures")
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--overload", type=float, default=60.0)
    parser.add_argument("--rate", type=float, help="what the server bears, where it isn't to be measured")
    given = parser.parse_args()
    folder, files = find_model(given.model), list(pictures_in(given.pictures, given.count))
    requests = [form([data]) for data in files]
    print(f"{given.model}: {len(files)} pictures of {sum(map(len, files)) / len(files) / 1e3:.0f} kB on average", flush=True)
    rate = given.rate or measure_throughput(folder, files, given.rounds, given.seconds)
    measure_latency(folder, requests, rate, 4 * given.seconds)
    measure_overload(folder, requests, rate, given.overload)
    measure_events(folder, requests)


if __name__ == "__main__":
    main()
