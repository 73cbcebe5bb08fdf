"""The network as every engine takes it: enters a module with its `Preprocess`, leaves one that reads pixels as pictures have them.

Scaling the pixels, and the order of the channels, are part of the graph: what is handed over is a quarter of the size, and no engine can do
it another way. What is decoded and resized before it is the same for all (`data.preprocess.Preprocess.crop`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inceptions.data.preprocess import Preprocess
from inceptions.networks.modules.models import Classifier


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

    A network without classes gives its vectors twice.
    """

    def __init__(self, module: Classifier, preprocess: Preprocess) -> None:
        super().__init__()
        self.normalize = Normalize(preprocess)
        self.module = module

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and vectors, float32."""
        features = self.module.forward_features(self.normalize(pixels))
        vectors = self.module.forward_head(features, pre_logits=True)
        return self.module.classifier(vectors), vectors


def export_graph(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Return the program of `module`, whose one input is like `example` (two images or more), for any number of images."""
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    with torch.no_grad():
        return torch.export.export(module.eval(), (example,), dynamic_shapes=dynamic)
