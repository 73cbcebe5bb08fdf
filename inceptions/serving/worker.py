"""The process that runs a model: enters pictures on standard input, leaves answers on standard output, as `frames` says.

    python -m inceptions.serving.worker ORDER        ORDER is JSON: see `Order`

The first frame that it sends says that it is ready, or why it can't be. It ends when its input does. Where a picture makes a library
crash, or the engine fails, this process ends alone: the server answers for it, and starts another.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from inceptions.children import command_of
from inceptions.errors import UserError
from inceptions.serving.frames import pack, read_frame


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is to do: answer pictures of a model folder, or explain what it answers. engine, device: as for `open_engine`."""

    work: Literal["answer", "explain"]
    folder: str
    batch_size: int | None
    batch_wait_ms: float
    megapixels: float
    engine: str | None = None
    device: str | None = None

    def to_json(self) -> str:
        """Return what `from_json` takes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Return what `to_json` wrote."""
        return cls(**json.loads(text))


def version_name(folder: Path) -> str:
    """Return what changes with all that the card of a model folder says, the SHA-256 of its weights included. Raises OSError."""
    return hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()[:12]


class Pipe:
    """Where frames go; threads may send at the same time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, threading.Lock()

    def fileno(self) -> int:
        """Return the file's descriptor."""
        return self._file.fileno()

    def send(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Send a frame."""
        with self._lock:
            self._file.write(pack(head, body))
            self._file.flush()


def main() -> None:
    """Do what the order says until the input ends."""
    for name in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and service managers reach all processes: the server says when this one ends
        signal.signal(name, signal.SIG_IGN)
    order = Order.from_json(sys.argv[1])
    pipe = Pipe(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what a library prints is no frame
    try:
        (_answer if order.work == "answer" else _explain)(order, sys.stdin.buffer, pipe)
    except UserError as error:
        pipe.send({"error": str(error)})
    except BrokenPipeError:  # the server is gone
        pass
    except Exception as error:  # an engine that fails, say: this process ends, and the server starts another
        _give_up(error)
    os._exit(0)  # threads that decode have nobody to answer to


def _answer(order: Order, source: BinaryIO, pipe: Pipe) -> None:
    from inceptions.inference.engines.choose import open_engine
    from inceptions.serving.batches import Batches, Job, Sent
    from inceptions.weights.card import read_card

    folder = Path(order.folder)
    card, version = read_card(folder), version_name(folder)
    engine = open_engine(folder, card, engine=order.engine, device=order.device, tell=lambda line: print(line, file=sys.stderr, flush=True))
    if "torch" in sys.modules and engine.name in ("openvino", "onnxruntime") and os.name == "posix":
        os.dup2(pipe.fileno(), 1)
        os.execv(sys.executable, command_of("inceptions.serving.worker", order.to_json()))  # torch was needed to prepare it

    def answer(numbers: list[int], answers: Any) -> None:
        probabilities = answers.probabilities if card.classes else np.empty((len(numbers), 0), np.float32)
        vectors = np.ascontiguousarray(answers.vectors, np.float32)
        head = {"numbers": numbers, "classes": probabilities.shape[1], "features": vectors.shape[1]}
        pipe.send(head, probabilities.tobytes() + vectors.tobytes())

    size = order.batch_size or engine.batch_size
    batches = Batches(
        engine,
        card.preprocess,
        batch_size=size,
        wait_s=order.batch_wait_ms / 1e3,
        max_pixels=int(1e6 * order.megapixels),
        answer=answer,
        refuse=lambda refused: pipe.send(refused._asdict()),
    )
    side, channels = card.preprocess.image_size, card.preprocess.channels
    engine.run(np.zeros((min(size, 4), side, side, channels), np.uint8))  # the first is the slowest
    pipe.send({"engine": engine.name, "precision": engine.precision, "batch_size": size, "version": version})

    def receive() -> None:
        while frame := read_frame(source):
            head, body = frame
            batches.add(Job(head["number"], Sent(head["name"], body), head["is_pixels"], head["deadline"]))
        batches.finish()

    _beside(receive)
    batches.run()


def _beside(function: Callable[[], None]) -> None:
    """Run it in a thread of its own; a failure in it ends the process."""

    def run() -> None:
        try:
            function()
        except Exception as error:
            _give_up(error)

    threading.Thread(target=run, name="receiver", daemon=True).start()


def _give_up(error: Exception) -> None:
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _explain(order: Order, source: BinaryIO, pipe: Pipe) -> None:
    from inceptions.explain import explain_image
    from inceptions.serving.batches import Sent
    from inceptions.weights.folder import load_model

    model = load_model(order.folder)
    pipe.send({})
    failed = None  # the request of which a picture couldn't be explained: nobody waits for its others, which come right behind
    while frame := read_frame(source):
        head, body = frame
        if time.monotonic() > head["deadline"] or head["request"] == failed:
            pipe.send({"number": head["number"], "reason": "deadline", "detail": "nobody waits for this heat map any more"})
            continue
        try:
            found = explain_image(model, Sent(head["name"], body), method=head["method"], target=head["target"])
            file = io.BytesIO()
            found.layer(max_side=head["max_side"]).save(file, "PNG")
        except UserError as error:
            failed = head["request"]
            pipe.send({"number": head["number"], "reason": "unreadable", "detail": str(error)})
        else:
            pipe.send({"numbers": [head["number"]]}, file.getvalue())


if __name__ == "__main__":
    main()
