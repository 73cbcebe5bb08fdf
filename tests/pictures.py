"""Small pictures that a network learns in seconds: each class has its colour, with noise."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"amber": (220, 150, 30), "blue": (40, 70, 220), "green": (40, 180, 60)}


def paint(folder: Path, *, each: int, seed: int = 0, size: tuple[int, int] = (20, 16)) -> Path:
    """Write `each` pictures of every colour in class folders below `folder`, and return it."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + rng.normal(0, 40, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder
