"""What every engine is: a network ready to run, that enters pixels and leaves answers. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

EngineName = Literal["torch", "compiled", "openvino", "onnxruntime"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)


class Answers(NamedTuple):
    """What a network makes of N images: logits (N, K), and the vectors (N, F) that the classifier reads; both float32."""

    logits: np.ndarray
    vectors: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits (N, K), float32, worked out in float64: the same wherever the logits are."""
        return softmax(self.logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis, float32, worked out in float64."""
    values = logits.astype(np.float64)
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return (values / values.sum(axis=-1, keepdims=True)).astype(np.float32)


class Engine(ABC):
    """A network ready to run on pixels as `Preprocess.crop` leaves them: uint8 (N, S, S, C), RGB where there are three channels.

    Where it is one of the later parts of a network that is cut, it reads what the part before left, float32 (N, F, h, w).
    name, precision: as it was asked for; the precision is that of the convolutions. batch_size: how many images at a time it runs fastest
    with. What it gives for an image doesn't depend on the images beside it, but for float rounding with some engines.
    """

    name: EngineName
    precision: Precision
    batch_size: int = 16

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}"

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its answers, beside the model, in JSON's types."""
        return {"engine": self.name, "precision": self.precision}

    @property
    def share_of_cost(self) -> float:
        """What its answers took so far, in parts of the multiply-adds of the whole network."""
        return 1.0

    @property
    def conclusion(self) -> str:
        """What is to be said when it has answered all, if anything."""
        return ""

    @abstractmethod
    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images, N from 1."""

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[Answers]:
        """Yield the answers of each batch, in order; an engine that can has several on the way at a time."""
        yield from map(self.run, batches)
