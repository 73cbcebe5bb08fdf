"""Images a second that one worker process gives the training loop: `python scripts/measure_input.py [SIZE...]`.

The loader that training has, on JPEGs of 500x375 pixels, varied as by the recipe quick; one process reads, this one does what comes between
the loader and the network. Prints the median of five epochs and their range, for each image size.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inceptions.data.augment import Augment
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.preprocess import for_training
from inceptions.data.splits import Sample

COUNT, BATCH, EPOCHS = 480, 16, 5


def paint(folder: Path) -> list[Sample]:
    """Write pictures with detail of every size, as photographs have it."""
    rng, found = np.random.default_rng(0), []
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(500), np.fft.fftfreq(375)))
    wave[0, 0] = 1
    for number in range(COUNT // 8):
        planes = [np.fft.ifft2(np.fft.fft2(rng.normal(size=wave.shape)) / wave).real for _ in range(3)]
        pixels = np.stack([np.clip(128 + 50 * plane / plane.std(), 0, 255) for plane in planes], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
        found.append(Sample(folder / f"{number}.jpg", number % 2))
    return found * 8


def measure(samples: list[Sample], side: int) -> list[float]:
    """Return images a second of each epoch but the first."""
    dataset, rates = ImageDataset(samples, for_training(side), augment=Augment()), []
    loader = image_loader(dataset, batch_size=BATCH, shuffle=True, workers=1)
    for dataset.epoch in range(EPOCHS + 1):
        began, count = time.perf_counter(), 0
        for batch in loader:
            images = batch.images() if callable(getattr(batch, "images", None)) else batch.images
            images = images.to("cpu", memory_format=torch.channels_last)
            count += len(images)
        rates.append(count / (time.perf_counter() - began))
    return rates[1:]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        samples = paint(Path(scratch))
        for side in map(int, sys.argv[1:] or ["299", "224"]):
            rates = measure(samples, side)
            print(f"{side}: {statistics.median(rates):.0f} images/s ({min(rates):.0f} to {max(rates):.0f})", flush=True)
