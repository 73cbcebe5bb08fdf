"""What several network tests compare with: noise, sizes, shapes, models that share weights without drawing their own, a relative error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar
from unittest import mock

import torch
from torch import Tensor, nn

from inceptions.networks.spec import Network, Node
from inceptions.networks.trace import reduction, smallest_image

M = TypeVar("M", bound=nn.Module)


def shortened(network: Network) -> Network:
    """Return the network with two blocks where more that are alike follow each other: what goes through two goes through twenty."""

    def cut(node: Node) -> Node:
        if not isinstance(node, tuple):
            return node
        kept: list[Node] = []
        for part in map(cut, node):
            if kept[-2:] != [part, part]:
                kept.append(part)
        return tuple(kept)

    return replace(network, stages=tuple(replace(stage, node=cut(stage.node)) for stage in network.stages))


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return numbers uniform in [-1, 1), as the networks' own preprocessing gives."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def small(network: Network) -> int:
    """The side of a small image whose last grid is 2x2: kernels and padding matter there, as they don't on 1x1."""
    return smallest_image(network) + reduction(network)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Build and run networks with meta tensors, which have shapes and no values.

    Batch normalisation leaves shapes as they are; to find that out, torch takes ten times as long as for all other layers.
    """

    def same(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
        assert x.shape[1] == norm.num_features
        return x

    with torch.device("meta"), mock.patch.object(nn.BatchNorm2d, "forward", same):
        yield


def twin(make: Callable[[], M], like: nn.Module) -> M:
    """Return what `make` makes, in inference mode, with the weights of `like` under the same keys.

    Every tensor of the new module must be there in `like`, with the same shape.
    """
    with torch.device("meta"):
        module = make()
    weights = like.state_dict()
    module.load_state_dict({key: weights[key] for key in module.state_dict()}, assign=True)
    return module.eval()


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference in terms of the largest value; not a number where all values are zero."""
    assert ours.shape == theirs.shape
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()
