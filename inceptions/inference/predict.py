"""Predictions on images: enters a model and pictures, leaves the likeliest classes of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.in_memory import Given, find_pictures
from inceptions.data.splits import Sample
from inceptions.data.stored import Stored
from inceptions.devices import memory_for, pick_device
from inceptions.errors import UserError
from inceptions.inference.prediction import Prediction
from inceptions.weights.folder import LoadedModel
from inceptions.weights.published import load_model


def predict(
    model: LoadedModel | str | Path,
    images: Given | Iterable[Given],
    *,
    top_k: int = 5,
    on_error: Literal["fail", "skip"] = "fail",
    batch_size: int = 32,
    workers: int | None = None,
    device: str | None = None,
) -> list[Prediction]:
    """Return a `Prediction` for each picture, in order.

    model: a folder, a tag, or what `load_model` returned.
    images: one or a sequence of a file, a folder, a picture of Pillow's, or an array of uint8, (H, W, 3); or an array (N, H, W, 3).
    on_error: "skip" gives a `Prediction` that says why a picture can't be read.
    workers: processes that read; None lets the machine decide.
    device: such as "cuda"; None is an accelerator, if there is one.

    Raises ImageError for what is no picture or can't be read; UserError when there is no such model, or it has no classes.
    """
    pictures = find_pictures(images)
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    found = iterate_predictions(
        loaded, pictures, top_k=top_k, on_error=on_error, batch_size=batch_size, workers=workers, device=pick_device(device)
    )
    return list(found)


def iterate_predictions(
    model: LoadedModel,
    pictures: Sequence[Path | Stored],
    *,
    top_k: int = 5,
    on_error: Literal["fail", "skip"] = "fail",
    batch_size: int = 32,
    workers: int | None = None,
    device: torch.device | None = None,
) -> Iterator[Prediction]:
    """Yield what `predict` returns, as it is computed."""
    names = model.card.classes
    if not names:
        raise UserError(f"{model.card.network.name} ends in features and has no classes; predict needs a classifier")
    if top_k < 1 or batch_size < 1:
        raise UserError(f"top_k is {top_k} and batch_size {batch_size}; both must be at least 1")
    if not pictures:  # the loader gives an empty batch where there is no image
        return
    device = device or torch.device("cpu")
    module = model.module.to(device).to(memory_format=torch.channels_last)
    dataset = ImageDataset([Sample(picture, 0) for picture in pictures], model.card.preprocess, on_error=on_error)
    loader = image_loader(dataset, batch_size=batch_size, shuffle=False, workers=workers)
    for first, batch in zip(range(0, len(pictures), batch_size), loader, strict=True):
        failed = {item.path: item.reason for item in batch.unreadable}
        found = iter(_likeliest(module, batch.images.to(device, memory_format=torch.channels_last), names, min(top_k, len(names))))
        for picture in pictures[first : first + batch_size]:
            yield Prediction(picture, (), (), failed[picture]) if picture in failed else Prediction(picture, *next(found))


@torch.inference_mode()
def _likeliest(
    module: torch.nn.Module, images: torch.Tensor, names: tuple[str, ...], k: int
) -> list[tuple[tuple[str, ...], tuple[float, ...]]]:
    if not len(images):
        return []
    with memory_for(len(images), images.device):
        probabilities, indices = module(images).float().softmax(1).topk(k)
    return [
        (tuple(names[i] for i in row_indices), tuple(row))
        for row_indices, row in zip(indices.tolist(), probabilities.tolist(), strict=True)
    ]
