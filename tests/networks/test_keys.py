"""State-dict keys and shapes are frozen, for saved weights must load for ever. The golden file is written anew by

    python -m tests.networks.test_keys

One line a layer: its place, its tensors, and `bn` for the five tensors of a batch normalisation of so many channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff
from itertools import groupby
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network, list_models

GOLDEN = Path(__file__).with_name("state_dict_keys.txt")
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def layer_lines(state: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return `place name[shape] ...` for each layer, in the order of the state dict; nothing but the writing of a BN is shortened."""
    lines = []
    for place, entries in groupby(state, key=lambda entry: entry[0].rpartition(".")[0]):
        shapes = {key.rpartition(".")[2]: tuple(tensor.shape) for key, tensor in entries}
        channels = shapes.get("running_mean", ())
        if shapes == dict.fromkeys(BATCH_NORM, channels) | {"num_batches_tracked": ()}:
            lines.append(f"{place} bn[{channels[0]}]")
        else:
            lines.append(" ".join([place, *(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())]))
    return lines


def keys_of(name: str) -> list[str]:
    """Return the lines of one network, with its auxiliary heads where it has some."""
    with torch.device("meta"):
        model = create_model(name, aux=bool(get_network(name).aux))
    return layer_lines(model.state_dict().items())


def read_golden() -> dict[str, list[str]]:
    """Return the lines of each network in the golden file."""
    networks: dict[str, list[str]] = {}
    for line in GOLDEN.read_text().splitlines():
        if line.startswith("# "):
            networks[line[2:]] = []
        else:
            networks[next(reversed(networks))].append(line)
    return networks


@pytest.mark.parametrize("name", list_models())
def test_keys_and_shapes_are_those_of_the_golden_file(name: str) -> None:
    golden, found = read_golden().get(name, []), keys_of(name)
    difference = "\n".join(unified_diff(golden, found, "golden file", "this code", n=0, lineterm=""))
    if difference:
        pytest.fail(
            f"{name}: state-dict keys changed, and weights saved before won't load:\n{difference}\n"
            "If that is meant: python -m tests.networks.test_keys",
            pytrace=False,
        )


def test_golden_file_holds_every_network_and_no_other() -> None:
    assert list(read_golden()) == list_models()


def test_lines_show_each_key_and_shape() -> None:
    layers = nn.ModuleDict({"a": nn.Conv2d(3, 4, (1, 7), bias=False), "b": nn.BatchNorm2d(4), "c": nn.Linear(2, 5)})
    assert layer_lines(layers.state_dict().items()) == ["a weight[4,3,1,7]", "b bn[4]", "c weight[5,2] bias[5]"]
    untracked = nn.ModuleDict({"b": nn.BatchNorm2d(4, track_running_stats=False)})
    assert layer_lines(untracked.state_dict().items()) == ["b weight[4] bias[4]"]


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"# {name}\n" + "".join(f"{line}\n" for line in keys_of(name)) for name in list_models()))
