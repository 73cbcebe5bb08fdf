"""Predictions on image files: enters a `LoadedModel` and paths, leaves the likeliest classes of each, and a CSV file of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.files import write_whole
from inceptions.weights.folder import LoadedModel


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest classes of one file with their probabilities (softmax, 0 to 1), the likeliest first; or why it can't be read."""

    path: Path
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    error: str | None = None


def predict(
    model: LoadedModel,
    paths: Sequence[Path],
    *,
    top_k: int = 5,
    batch_size: int = 32,
    on_error: Literal["fail", "skip"] = "fail",
    device: torch.device | None = None,
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Yield a `Prediction` for each of `paths`, in their order.

    Raises ImageError on a file that can't be read, unless on_error is "skip"; UserError when the model has no classes.
    """
    names = model.card.classes
    if not names:
        raise UserError(f"{model.card.network.name} ends in features and has no classes; predict needs a classifier")
    if top_k < 1 or batch_size < 1:
        raise UserError(f"top_k is {top_k} and batch_size {batch_size}; both must be at least 1")
    device = device or torch.device("cpu")
    module = model.module.to(device).to(memory_format=torch.channels_last)
    dataset = ImageDataset(tuple(Sample(path, 0) for path in paths), model.card.preprocess, on_error=on_error)
    loader = image_loader(dataset, batch_size=batch_size, shuffle=False, workers=workers)
    for first, batch in zip(range(0, len(paths), batch_size), loader, strict=True):
        failed = {item.path: item.reason for item in batch.unreadable}
        found = iter(_likeliest(module, batch.images.to(device, memory_format=torch.channels_last), names, min(top_k, len(names))))
        for path in paths[first : first + batch_size]:
            yield Prediction(path, (), (), failed[path]) if path in failed else Prediction(path, *next(found))


@torch.inference_mode()
def _likeliest(
    module: torch.nn.Module, images: torch.Tensor, names: tuple[str, ...], k: int
) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
    if not len(images):
        return []
    probabilities, indices = module(images).float().softmax(1).topk(k)
    return [
        (tuple(names[i] for i in row_indices), tuple(row))
        for row_indices, row in zip(indices.tolist(), probabilities.tolist(), strict=True)
    ]


def write_csv(predictions: Iterable[Prediction], path: Path, *, top_k: int) -> None:
    """Write a row for each file: file, class, probability, class_2, probability_2 and so on, error. The file appears whole or not."""
    out = io.StringIO()
    writer = csv.writer(out)
    places = ["", *(f"_{place}" for place in range(2, top_k + 1))]
    writer.writerow(["file", *(f"{column}{place}" for place in places for column in ("class", "probability")), "error"])
    for item in predictions:
        cells = [cell for name, p in zip(item.classes, item.probabilities, strict=True) for cell in (name, f"{p:.6f}")]
        writer.writerow([item.path, *cells, *[""] * (2 * top_k - len(cells)), item.error or ""])
    write_whole(path, out.getvalue())
