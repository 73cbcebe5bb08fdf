import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from inceptions.serving.settings import Settings
from inceptions.serving.worker import Order, version_name
from inceptions.weights.card import read_card
from tests.conftest import IS_WORKER
from tests.serving.processes import FakeProcess
from tests.tiny import save_tiny

for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "openvino", "httpx2"):
    pytest.importorskip(module)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of servers: engines are kept where all tests keep them, and prepared once."""
    base = tmp_path_factory.getbasetemp()
    return os.environ | {"INCEPTIONS_CACHE": str((base.parent if IS_WORKER else base) / "engine-cache"), "INCEPTIONS_ENGINE": "openvino"}


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Make a client of an application whose processes are fakes: settings in, the client and the list of processes out."""
    from starlette.testclient import TestClient

    from inceptions.serving.app import create_app
    from inceptions.serving.models import Models

    processes, clients = [], []

    def make(names=("tiny",), *, classes=("amber", "blue", "green"), held=False, settings=None, **options):
        folders = {name: save_tiny(tmp_path / name, classes=classes) for name in names}

        async def start(order):
            folder = Path(order.folder)
            processes.append(FakeProcess(len(read_card(folder).classes), version=version_name(folder), is_held=held))
            return processes[-1]

        monkeypatch.setattr("inceptions.serving.models.start_process", start)
        models = Models(folders, Order("answer", "", None, 2.0, 50.0), settings=settings or Settings())
        client = TestClient(create_app(models, **options))
        clients.append(client.__enter__())
        return client, processes

    yield make
    for client in clients:
        client.__exit__(None, None, None)


PATIENT = ("--timeout-s", "300", "--body-timeout-s", "300", "--head-timeout-s", "300")


class Live:
    """A server of its own process."""

    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=300) as answer:
            return answer.read()

    def raw(self, request: bytes, *, timeout: float = 300) -> bytes:
        """Send bytes, and return what comes until the server closes or an answer is whole."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all of it was sent
            found = b""
            try:
                while part := connection.recv(65536):
                    found += part
                    head, end, body = found.partition(b"\r\n\r\n")
                    if end and b"content-length: " in head and len(body) >= int(head.partition(b"content-length: ")[2].split(b"\r")[0]):
                        break
            except ConnectionResetError:
                pass
            return found

    def children(self) -> list[int]:
        return children_of(self.process.pid)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def start_live(environment, tmp_path_factory):
    """Start a server: arguments of `inceptions serve` in, `Live` out; all are stopped in the end."""
    begun = []

    def start(*arguments, **variables) -> Live:
        log = tmp_path_factory.mktemp("live") / "log"
        command = [sys.executable, "-m", "inceptions", "serve", *map(str, arguments), "--port", "0"]
        with log.open("wb") as file:
            process = subprocess.Popen(command, stderr=file, stdout=file, env=environment | variables)
        begun.append(process)
        while "Ctrl-C" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        address = re.search(r" at http://127.0.0.1:(\d+)", log.read_text())
        assert address, log.read_text()
        return Live(process, int(address[1]), log)

    yield start
    for process in begun:
        if process.poll() is None:
            process.terminate()
    for process in begun:
        process.wait()


@pytest.fixture(scope="module")
def live(start_live, tmp_path_factory):
    """A server of one small model, under the name of the one that the documentation has."""
    folder = save_tiny(tmp_path_factory.mktemp("served") / "model")
    return start_live(f"inception_small.cifar10={folder}", *PATIENT)


@pytest.fixture(scope="module")
def impatient(start_live, tmp_path_factory):
    """The same, which soon refuses what comes slowly; who asks it anything else depends on how fast the machine is."""
    folder = save_tiny(tmp_path_factory.mktemp("served") / "model")
    return start_live(f"inception_small.cifar10={folder}", "--body-timeout-s", "1.5", "--head-timeout-s", "1.5")
