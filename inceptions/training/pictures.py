"""Batches to look at: enters a `Batch`, leaves a picture of what the network sees, or the tensors that broke a run."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torchvision.utils import make_grid, save_image

from inceptions.data.dataset import Batch
from inceptions.training.setup import Setup

MOST = 32
SIDE_PX = 96  # smaller images are shown in larger pixels


def save_batch_picture(batch: Batch, setup: Setup, path: Path) -> None:
    """Write a PNG of the first images of a batch as the network reads them, in rows of eight."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (setup.preprocess.mean, setup.preprocess.std))
    pixels = (batch.images[:MOST] * std + mean) / 255
    pixels = pixels.flip(1) if setup.preprocess.channel_order == "bgr" else pixels
    pixels = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1]
    enlarge = max(1, SIDE_PX // pixels.shape[-1])
    pixels = pixels.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    save_image(make_grid(pixels.clamp(0, 1), nrow=8, padding=2, pad_value=1.0), path)


def save_batch(batch: Batch, path: Path) -> Path:
    """Write images, labels and their places in the training set."""
    safetensors.torch.save_file({"images": batch.images, "labels": batch.labels, "indices": batch.indices}, path)
    return path
