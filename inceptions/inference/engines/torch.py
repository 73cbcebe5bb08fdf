"""The network as torch runs it, layer by layer: on every device that torch has, and what the other engines are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch

from inceptions.devices import memory_for
from inceptions.inference.engines.base import Answers, Engine, EngineName, Precision
from inceptions.inference.engines.graph import PixelClassifier, Reader, cut
from inceptions.networks.modules.models import ClassifierWithAux
from inceptions.weights.folder import LoadedModel, load_model

NAME: EngineName = "torch"
EXTRA = "fast"
MODULES = ("torch",)


def precisions(device: str) -> tuple[Precision, ...]:
    """Return what is of use on the device, the fastest first: half precision on CUDA.

    float16 is as fast as bfloat16 there, and rounds an eighth as much; a network that leaves its range doesn't agree, and takes the next.
    """
    if not device.startswith("cuda"):
        return ("float32",)
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("float16", "bfloat16", "float32") if has_bfloat16 else ("float16", "float32")


def at_precision(classifier: Reader, precision: Precision, device: str | torch.device) -> Reader:
    """Return the classifier, or a part of one, on the device, channels last and in the precision; pixels are scaled in float32."""
    classifier = classifier.to(device)
    classifier.module.to(dtype=getattr(torch, precision), memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return classifier.eval()


class TorchEngine(Engine):
    """One batch at a time; batches of CUDA's are on the way while the next is read."""

    name: EngineName = NAME

    def __init__(self, reader: Reader, *, precision: Precision = "float32", device: str | torch.device = "cpu") -> None:
        self.precision, self.device = precision, torch.device(device)
        self.batch_size = 16 if self.device.type == "cpu" else 128
        self._classifier = at_precision(reader, precision, self.device)

    @torch.inference_mode()
    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images. Raises UserError where they are too many for the memory."""
        with memory_for(len(pixels), self.device):
            logits, vectors = self._classifier(torch.from_numpy(pixels).to(self.device))
            return Answers(logits.float().cpu().numpy(), vectors.float().cpu().numpy())


def whole(model: LoadedModel) -> PixelClassifier:
    """Return the model as an engine takes it."""
    return PixelClassifier(model.module, model.card.preprocess)


def read_part(source: Path, part: int | None) -> Reader:
    """Return the model in the folder `source` as an engine takes it; a number is one of the parts that it is `cut` into."""
    if part is None:
        return whole(load_model(source))
    model = load_model(source, aux=True)
    return cut(cast("ClassifierWithAux", model.module), model.card.preprocess)[part]


def load(folder: Path, *, precision: Precision, device: str, source: Path, part: int | None = None) -> Engine:
    """Return the engine of the model folder `source`, or of one of its parts; nothing but the comparison is kept in `folder`."""
    return TorchEngine(read_part(source, part), precision=precision, device=device)
