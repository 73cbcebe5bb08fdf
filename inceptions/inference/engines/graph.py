"""The network as every engine takes it: enters a module with its `Preprocess`, leaves one that reads pixels as pictures have them.

Scaling the pixels, and the order of the channels, are part of the graph: what is handed over is a quarter of the size, and no engine can do
it another way. What is decoded and resized before it is the same for all (`data.preprocess.Preprocess.crop`).
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from inceptions.data.preprocess import Preprocess
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.spec import pair
from inceptions.networks.trace import stage_shapes


class Normalize(nn.Module):
    """`Preprocess.normalize_pixels` in torch: uint8 pixels (N, S, S, C), RGB, to float32 (N, C, S, S) as the network reads them."""

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.reverse = preprocess.channel_order == "bgr"
        mean, std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (preprocess.mean, preprocess.std))
        self.mean, self.std = nn.Buffer(mean, persistent=False), nn.Buffer(std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (pixel - mean) / std."""
        x = pixels.permute(0, 3, 1, 2)
        if self.reverse:
            x = x.flip(1)
        return (x.float() - self.mean) / self.std


class PixelClassifier(nn.Module):
    """A classifier that reads uint8 pixels (N, S, S, C) and gives logits (N, K) and the vectors (N, F) that they are worked out from.

    A network without classes gives its embedding twice. The module may be of another precision than float32, in which pixels are scaled.
    """

    def __init__(self, module: Classifier, preprocess: Preprocess) -> None:
        super().__init__()
        self.normalize = Normalize(preprocess)
        self.module = module

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and vectors, float32."""
        x = self.normalize(pixels).to(next(self.module.parameters()).dtype)
        vectors = self.module.forward_head(self.module.forward_features(x), pre_logits=True)
        logits = self.module.classifier(vectors)
        if not self.module.num_classes:
            vectors = logits + 0  # a tensor of its own: OpenVINO takes no graph that gives one twice
        return logits.float(), vectors.float()


class Part(nn.Module):
    """Some stages of a network, and a head on the last of them: to logits (N, K) and the features that the next part reads.

    It reads uint8 pixels (N, S, S, C) where `preprocess` is given, else the features of the part before, float32 (N, F, h, w). Of the last
    part, features are the vectors (N, F) that the classifier reads.
    """

    def __init__(self, stages: nn.Module, head: nn.Module, preprocess: Preprocess | None = None) -> None:
        super().__init__()
        self.normalize = Normalize(preprocess) if preprocess else nn.Identity()
        self.module = nn.ModuleDict({"stages": stages, "head": head})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features, float32."""
        features = self.module["stages"](self.normalize(x).to(next(self.module.parameters()).dtype))
        return self.module["head"](features).float(), features.float()


Reader = PixelClassifier | Part
"""What engines are made of."""


class FixedAvgPool(nn.Module):
    """`AdaptiveAvgPool2d` on a grid whose size is known, as two products: half of the time that OpenVINO takes for the layer itself."""

    def __init__(self, grid: tuple[int, int], cells: tuple[int, int]) -> None:
        super().__init__()
        rows, columns = (nn.functional.adaptive_avg_pool1d(torch.eye(size), count) for size, count in zip(grid, cells, strict=True))
        self.rows, self.columns = nn.Buffer(rows.T.contiguous(), persistent=False), nn.Buffer(columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means (N, C, cells) of x (N, C, grid)."""
        return self.rows @ x @ self.columns


def _with_fixed_pools(head: nn.Module, x: Tensor) -> nn.Module:
    """Return a copy of an auxiliary head that reads features like x (N, F, h, w) alone, its pools to several cells made for that size."""
    head = copy.deepcopy(head)
    grids: dict[nn.Module, tuple[int, int]] = {}

    def see(pool: nn.Module, given: tuple[Tensor, ...], _: Tensor) -> None:
        grids[pool] = (given[0].shape[2], given[0].shape[3])

    pools = [layer for layer in head.modules() if isinstance(layer, nn.AdaptiveAvgPool2d)]
    hooks = [layer.register_forward_hook(see) for layer in pools]
    with torch.no_grad():
        head(x)
    for hook in hooks:
        hook.remove()
    for parent in list(head.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.AdaptiveAvgPool2d) and (cells := pair(cast("int", layer.output_size))) != (1, 1):
                parent.add_module(name, FixedAvgPool(grids[layer], cells))
    return head


def cut(model: ClassifierWithAux, preprocess: Preprocess) -> list[Part]:
    """Return the network in parts: to its first auxiliary head, from there to the next, and from the last of them to the end.

    For images of the size that `preprocess` leaves.
    """
    parts: list[Part] = []
    shapes = {row.name: row.cost.output for row in stage_shapes(model.network, preprocess.image_size)}
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    for name, stage in model.stages.named_children():
        stages[name] = stage
        if name in model.aux:
            head = _with_fixed_pools(model.aux[name], torch.zeros(1, *shapes[name]))
            parts.append(Part(nn.Sequential(stages), head, None if parts else preprocess))
            stages = OrderedDict()
    rest = nn.Sequential(OrderedDict(stages=nn.Sequential(stages), head=model.head, flatten=nn.Flatten()))
    return [*parts, Part(rest, model.classifier)]


def export_graph(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Return the program of `module`, whose one input is like `example` (two images or more), for any number of images."""
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    with torch.no_grad(), _quietly():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=dynamic)


def write_onnx(module: nn.Module, example: Tensor, file: Path, *, names: tuple[str, ...] = ("pixels", "logits", "vectors")) -> None:
    """Write `module`, whose one input is like `example`, as an ONNX file for any number of images; `names`: of input and outputs.

    The file stands alone, for no network of the family has the two gigabytes that protobuf ends at.
    """
    program = export_graph(module, example)
    with torch.no_grad(), _quietly():
        written = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[names[0]], output_names=list(names[1:]), external_data=False, optimize=True
        )
        assert written is not None
        written.save(str(file), external_data=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence what torch's exporters say of themselves, and of what we don't use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
