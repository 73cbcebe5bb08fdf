"""ONNX Runtime, on whatever processor it has providers for: enters the graph of a network, leaves an ONNX file, and an engine that runs it.

Running needs no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inceptions.extras import require
from inceptions.inference.engines.base import Answers, Engine, EngineName, Precision

if TYPE_CHECKING:
    from torch import Tensor

    from inceptions.inference.engines.graph import Reader

NAME: EngineName = "onnxruntime"
EXTRA = "export"
MODULES = ("onnxruntime",)
GRAPH = "model.onnx"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def precisions(device: str) -> tuple[Precision, ...]:
    """Return float32 on what there is a provider for."""
    import onnxruntime

    return ("float32",) if _PROVIDERS.get(device) in onnxruntime.get_available_providers() else ()


def prepare(classifier: Reader, example: Tensor, folder: Path, *, precision: Precision, device: str, source: Path) -> None:
    """Write the graph of a network that reads pixels like `example` (N, S, S, C). Raises UserError without what writes ONNX."""
    require(EXTRA, "onnx", "onnxscript", needed_for=f"preparing the engine {NAME!r}")
    from inceptions.inference.engines.graph import write_onnx

    write_onnx(classifier, example, folder / GRAPH)


def load(folder: Path, *, precision: Precision, device: str, source: Path, part: int | None = None) -> Engine:
    """Return the engine of what `prepare` wrote."""
    return OnnxRuntimeEngine(folder, device)


class OnnxRuntimeEngine(Engine):
    """All cores work on one batch."""

    name: EngineName = NAME
    precision: Precision = "float32"

    def __init__(self, folder: Path, device: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(folder / GRAPH, options, providers=[_PROVIDERS[device]])

    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images."""
        logits, vectors = self._session.run(None, {"pixels": pixels})
        return Answers(np.asarray(logits), np.asarray(vectors))
