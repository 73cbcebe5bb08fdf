"""A network whose body is frozen, in two: enters a classifier, leaves what is fixed, and the end that trains on what the fixed part gives.

And features in memory: enters what the body made of each picture, leaves batches that the learner takes as it takes those of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from inceptions.data.dataset import Asked, Batch, EpochOrder, Unreadable
from inceptions.networks.modules.models import Classifier
from inceptions.networks.spec import Network
from inceptions.training.recipe import Recipe

Part = tuple[Tensor, Tensor, Tensor]  # features (N, F), labels (N,), places in the data set (N,)


class FeatureBatch(NamedTuple):
    """A `Batch` of features (N, F) in place of pictures. read: returns that of the pictures, of batches that are learned from."""

    features: Tensor
    labels: Tensor
    indices: Tensor
    read: Callable[[], Batch] | None = None
    unreadable: tuple[Unreadable, ...] = ()

    def images(self, device: torch.device | str = "cpu", *, count: int | None = None) -> Tensor:
        """Return the features, or the first `count`, on the device: what the end of the network reads."""
        return self.features[:count].to(device, non_blocking=True)


def keeps_features(recipe: Recipe, network: Network) -> bool:
    """Return whether a frozen body makes the same of a picture in every epoch, and is asked once, in the epochs in which it is frozen."""
    finetune = recipe.finetune
    if finetune is None or not finetune.cache_features or finetune.open_parts(epoch=1) > 1:
        return False
    varied = recipe.augment is not None or recipe.mixup or recipe.cutmix or recipe.progressive
    return not varied and not network.aux  # auxiliary heads read within the body


class FixedBody(nn.Module):
    """The part of a network that gives the same for a picture each time: images (N, C, S, S) to features, pooled where pooling is fixed."""

    def __init__(self, module: Classifier) -> None:
        super().__init__()
        self.module, self.fixed = module, nn.Sequential(*_split(module.head)[0])

    def forward(self, images: Tensor) -> Tensor:
        """Give the features."""
        return self.fixed(self.module.forward_features(images))


class OpenEnd(nn.Module):
    """What comes behind `FixedBody`: features to logits (N, classes). Its parameters are the classifier's."""

    def __init__(self, module: Classifier) -> None:
        super().__init__()
        self.rest, self.classifier = nn.Sequential(*_split(module.head)[1]), module.classifier

    def forward(self, features: Tensor) -> Tensor:
        """Give the logits."""
        return self.classifier(self.rest(features).flatten(1))


def has_fixed_body(module: Classifier) -> bool:
    """Return whether nothing but the classifier trains, and no chance is drawn in the stages, in the mode that the module is in."""
    body = (module.stages, module.head)
    varying = any(layer.training and isinstance(layer, _DropoutNd | _BatchNorm) for layer in module.stages.modules())
    return not varying and not any(parameter.requires_grad for part in body for parameter in part.parameters())


def _split(head: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the layers before dropout, and those from it on; whatever their mode, for a copy of the network has one of its own."""
    layers = list(head.children()) if isinstance(head, nn.Sequential) else [head]
    fixed = list(takewhile(lambda layer: not any(isinstance(part, _DropoutNd) for part in layer.modules()), layers))
    return fixed, layers[len(fixed) :]


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a data set's pictures but for those that can't be read: (N, F), as they came; labels (N,) and places in the set (N,).

    read: returns the pictures' batch.
    """

    values: Tensor
    labels: Tensor
    indices: Tensor
    read: Callable[[Asked], Batch]

    def batches(self, order: EpochOrder) -> Iterator[FeatureBatch]:
        """Yield the batches of a pass, those that the pictures' loader has in this order."""
        rows = {index: row for row, index in enumerate(self.indices.tolist())}
        for asked in order:  # in which a place beyond the last stands for a picture that comes once more
            indices = [place % len(order.dataset) for place in asked.indices]
            found = [rows[index] for index in indices if index in rows]
            yield FeatureBatch(self.values[found], self.labels[found], self.indices[found], partial(self.read, asked))


def join_features(shares: Sequence[Part], read: Callable[[Asked], Batch]) -> Features:
    """Return the features of all pictures, from those of shares of them."""
    none = (torch.zeros(0, 0), *(torch.zeros(0, dtype=torch.int64),) * 2)
    values, labels, indices = (torch.cat(parts) for parts in zip(*(shares or [none]), strict=True))
    return Features(values, labels, indices, read)
