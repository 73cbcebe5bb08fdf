"""What a million pictures take: rate, and memory at a tenth and at the end; `python scripts/measure_rows.py [COUNT]`.

The pictures are links to a few small files, and the engine only adds up pixels, so that what is measured is all that stands around it.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.engines.prepare import photograph
from inceptions.inference.pipeline import iterate_predictions
from inceptions.inference.rows import open_rows
from inceptions.inference.sources import iterate_pictures
from inceptions.weights.card import read_card
from inceptions.weights.shipped import shipped_models


class Sums(Engine):
    """Answers by sums of pixels."""

    name, precision, batch_size = "openvino", "float32", 64

    def run(self, pixels: np.ndarray) -> Answers:
        """Return logits that have something to do with the pixels."""
        sums = pixels.reshape(len(pixels), -1).sum(1, dtype=np.float32)[:, None]
        logits = np.sin(sums + np.arange(10, dtype=np.float32))
        return Answers(logits, logits)


def mebibytes() -> float:
    """Return what this process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measure(count: int, scratch: Path) -> None:
    """Predict `count` links, and print what it took."""
    folder = scratch / "pictures"
    photo = photograph()
    for number in range(8):
        photo.crop((40 * number, 0, 40 * number + 64, 64)).save(scratch / f"{number}.jpg")
    for number in range(count):
        if number % 10_000 == 0:
            here = folder / f"{number // 10_000:04}"
            here.mkdir(parents=True)
        (here / f"{number:07}.jpg").symlink_to(scratch / f"{number % 8}.jpg")
    card = read_card(shipped_models()["inception_small.cifar10"])
    began, done = time.perf_counter(), 0
    with open_rows(scratch / "rows.csv", {}, top_k=5, batch_size=64) as rows:
        for batch in iterate_predictions(Sums(), card, iterate_pictures([str(folder)]), on_error="skip"):
            rows.add(batch)
            if done < count // 10 <= done + len(batch):
                print(f"at a tenth: {mebibytes():.0f} MiB")
            done += len(batch)
        print(f"at the end: {mebibytes():.0f} MiB")
    seconds = time.perf_counter() - began
    lines = sum(1 for _ in (scratch / "rows.csv").open("rb"))
    print(f"{lines - 1:,} rows in {seconds:.0f} s, {count / seconds:,.0f} a second; {(scratch / 'rows.csv').stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, Path(scratch))
