import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = """
import gc, json, multiprocessing, sys
from pathlib import Path
from inceptions.data import Augment, Sample, for_training
from inceptions.data.dataset import ImageDataset, image_loader

def private_bytes(process):  # what no other process shares
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
samples = tuple(Sample(path, number % 2) for number, path in enumerate(sorted(folder.iterdir())))
dataset = ImageDataset(samples, for_training(8), augment=Augment(), seed=1)
loader = image_loader(dataset, batch_size=len(samples) // 20, shuffle=True, workers=2)
for dataset.epoch in range(epochs):
    batches = iter(loader)
    for number in range(len(loader)):
        next(batches)
        if number == len(loader) - 5:  # the workers have read nearly all, and are there still
            workers = sorted(private_bytes(child.pid) for child in multiprocessing.active_children())
    assert next(batches, None) is None
    gc.collect()
    print(json.dumps({"blocks": sys.getallocatedblocks(), "private_bytes": [private_bytes("self"), *workers]}), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel doesn't say what memory is whose")
@pytest.mark.exhaustive
def test_memory_stays_flat_over_epochs(tmp_path):
    """From the second epoch to the last, neither the process that trains nor its workers keep anything of the images they have read.

    They have 72 pixels, for smaller ones are kept until there are enough of them.

    In Python's own blocks, of which each image that is kept has one or more, that is exact but for what Python caches. Pages of memory
    come and go by the MiB; over 180,000 images they would show 20 bytes kept of each, less than a path or a number has.
    """
    count, epochs = 10_000, 20
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    for number in range(count):
        Image.fromarray(np.tile(pixels[number], (9, 9))).save(tmp_path / f"{number:05}.png")
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(each["private_bytes"]) for each in found] == [3] * epochs
    read = count * (epochs - 2)
    assert found[-1]["blocks"] - found[1]["blocks"] < 0.1 * read
    growth = np.array(found[-1]["private_bytes"]) - np.array(found[1]["private_bytes"])
    assert (growth < max(2**20, 20 * read)).all(), growth
