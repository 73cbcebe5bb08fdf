"""What the studies have alike: the recipe of most, networks made small by `reshape`, and arms made of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from inceptions.data.augment import Augment
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, Conv, Network
from inceptions.studies.study import Arm
from inceptions.training.recipe import Recipe

BASE = Recipe(
    name="study",
    source="ours: SGD on images that are moved and mirrored in turns, for a few epochs",
    model="googlenet",
    epochs=5,
    batch_size=128,
    lr=0.2,
    weight_decay=5e-4,
    label_smoothing=0.0,
    clip_norm=None,
    drop_rate=0.0,
    augment=Augment(area=(1.0, 1.0), aspect=(1.0, 1.0), move=2, alternate=True),
)
PLAIN_LR = 0.02  # for networks without batch normalisation, and those that are compared with them


def shrink(name: str, *, width: float, steps: int) -> Network:
    """Return a network of the family for images of 32 pixels, narrower: its first `steps` layers that halve the grid keep it."""
    return reshape.without_aux(reshape.scale_width(reshape.small_stem(get_network(name), image_size=32, steps=steps), width))


def shrink_googlenet(name: str = "googlenet") -> Network:
    """Return a small GoogLeNet of five modules with batch normalisation, the network of most studies.

    Half as wide, and without the rows that Table 1 repeats: 3a and 3b on a grid of 8, 4a, 4d and 5b on one of 4. A step takes half as long
    as with all nine modules at a quarter of the width on grids of 16, 8 and 4, for the work is in fewer and wider layers.
    """
    network = shrink(name, width=0.5, steps=1)
    return reshape.with_batch_norm(reshape.without_stages(network, "4b", "4c", "4e", "pool4", "5a"))


def with_sides(network: Network, *after: str, norm: bool) -> Network:
    """Return `network` with auxiliary heads after the stages of these names."""
    layers = (AdaptiveAvgPool(4), Conv(32, 1, norm=norm))
    return replace(network, aux=tuple(AuxHead(name, weight=0.3, layers=layers) for name in after))


def compare_networks(networks: Mapping[str, Network]) -> tuple[Arm, ...]:
    """Return an arm of each network, by name, all with the recipe of most studies."""
    return tuple(Arm(name, network, BASE) for name, network in networks.items())


def compare_recipes(recipes: Mapping[str, Recipe]) -> tuple[Arm, ...]:
    """Return an arm of each recipe, by name, all with the network of most studies."""
    return tuple(Arm(name, shrink_googlenet(), recipe) for name, recipe in recipes.items())
