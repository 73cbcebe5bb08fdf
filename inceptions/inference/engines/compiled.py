"""The network compiled by torch's Inductor ahead of time: enters its graph, leaves a package on disk, and an engine that runs it.

Compiling takes a C++ compiler and a minute, once; loading compiles nothing, but needs torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inceptions.inference.engines.base import Answers, Engine, EngineName, Precision

if TYPE_CHECKING:
    from torch import Tensor

    from inceptions.inference.engines.graph import Reader

NAME: EngineName = "compiled"
EXTRA = "fast"
MODULES = ("torch",)
PACKAGE = "model.pt2"


def precisions(device: str) -> tuple[Precision, ...]:
    """Return what is of use on the device, the fastest first: half precision where the processor has it."""
    import torch

    from inceptions.devices import pick_precision
    from inceptions.inference.engines.torch import precisions as of_torch

    if device != "cpu":
        return of_torch(device)
    return ("bfloat16", "float32") if pick_precision("auto", torch.device(device)) else ("float32",)


def prepare(classifier: Reader, example: Tensor, folder: Path, *, precision: Precision, device: str, source: Path) -> None:
    """Write the package of a network that reads pixels like `example` (N, S, S, C). Raises UserError without a compiler."""
    import torch
    from torch._inductor import aoti_compile_and_package

    from inceptions.devices import require_compiler
    from inceptions.inference.engines.graph import export_graph
    from inceptions.inference.engines.torch import at_precision

    require_compiler("the engine 'compiled'", instead="take another engine")
    program = export_graph(at_precision(classifier, precision, device), example.to(device))
    with torch.no_grad():
        aoti_compile_and_package(program, package_path=str(folder / PACKAGE), inductor_configs={"freezing": device == "cpu"})


def load(folder: Path, *, precision: Precision, device: str, source: Path, part: int | None = None) -> Engine:
    """Return the engine of what `prepare` wrote."""
    return CompiledEngine(folder, precision, device)


class CompiledEngine(Engine):
    """One batch at a time."""

    name: EngineName = NAME

    def __init__(self, folder: Path, precision: Precision, device: str) -> None:
        from torch._inductor import aoti_load_package

        self.precision, self._device = precision, device
        self._run = aoti_load_package(str(folder / PACKAGE))

    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images."""
        import torch

        with torch.inference_mode():
            logits, vectors = self._run(torch.from_numpy(pixels).to(self._device))
        return Answers(logits.float().cpu().numpy(), vectors.float().cpu().numpy())
