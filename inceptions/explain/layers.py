"""Parts of a network by the names in its table: enters a torch module and a name, leaves the module of a stage or of a branch."""

from __future__ import annotations

from torch import nn

from inceptions.errors import UserError
from inceptions.networks.modules.layers import Concat
from inceptions.networks.modules.models import Body
from inceptions.networks.spec import Network
from inceptions.networks.trace import stage_shapes


def last_grid(network: Network, image_size: int) -> str:
    """Return the last stage that leaves more than one cell of an image of `image_size` pixels: the one before all places are as one."""
    rows = list(stage_shapes(network, image_size))
    grids = [row.name for row in rows if row.cost.output.height * row.cost.output.width > 1]
    return grids[-1] if grids else rows[-1].name


def find_stage(module: Body, stage: str) -> nn.Module:
    """Return the module of a stage; NetworkError lists the stages where there is none of that name."""
    return module.stages.get_submodule(module.network.stage(stage).name)


def find_branches(module: Body, stage: str) -> dict[str, nn.Module]:
    """Return the branches of a stage by name; of a stage that repeats a block those of the last, of one that has no branches none."""
    splits = _splits(find_stage(module, stage))
    return dict(splits[-1].items()) if splits else {}


def find_branch(module: Body, stage: str, branch: str | None) -> nn.Module:
    """Return one branch of a stage, or all of the stage for None; UserError lists the branches where there is none of that name."""
    if branch is None:
        return find_stage(module, stage)
    branches = find_branches(module, stage)
    if branch not in branches:
        there = f"branches are {', '.join(branches)}" if branches else "it has no branches; leave out the branch"
        raise UserError(f"stage {stage!r} of {module.network.name} has no branch {branch!r}; {there}")
    return branches[branch]


def _splits(module: nn.Module) -> list[Concat]:
    """Return what splits into branches, but for splits within a branch."""
    if isinstance(module, Concat):
        return [module]
    return [split for child in module.children() for split in _splits(child)]
