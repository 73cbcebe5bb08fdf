import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COUNT = 10_000
EPOCHS = 20
PROGRAM = """
import json, multiprocessing, sys
from pathlib import Path
from inceptions.data import Augment, Sample, for_training
from inceptions.data.dataset import ImageDataset, image_loader

def private_kb(process):  # what no other process shares
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))

folder, epochs = Path(sys.argv[1]), int(sys.argv[2])
samples = tuple(Sample(path, number % 2) for number, path in enumerate(sorted(folder.iterdir())))
dataset = ImageDataset(samples, for_training(8), augment=Augment(), seed=1)
loader = image_loader(dataset, batch_size=250, shuffle=True, workers=2)
for dataset.epoch in range(epochs):
    batches = iter(loader)
    for number in range(len(loader)):
        next(batches)
        if number == len(loader) - 5:  # the workers have read nearly all, and are there still
            workers = sorted(private_kb(child.pid) for child in multiprocessing.active_children())
    assert next(batches, None) is None
    print(json.dumps([private_kb("self"), *workers]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel doesn't say what memory is whose")
def test_memory_stays_flat_over_epochs(tmp_path):
    """Of the process that trains and of its two workers, between the second epoch and the twentieth: two hundredths at most."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
    for number in range(COUNT):
        Image.fromarray(pixels[number]).save(tmp_path / f"{number:05}.png")
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), str(EPOCHS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    memory = np.array([json.loads(line) for line in done.stdout.splitlines()])
    assert memory.shape == (EPOCHS, 3)
    assert (memory[-1] < 1.02 * memory[1]).all(), memory.tolist()
