"""What the README says is what happens."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from inceptions.cli.app import app
from inceptions.data.preprocess import for_training
from inceptions.networks.models import create_model
from inceptions.networks.registry import NETWORKS
from inceptions.networks.trace import trace
from inceptions.weights.folder import save_model

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = create_model("inception_small", num_classes=2)
    save_model(small, "runs/photos/best", preprocess=for_training(28), classes=("cat", "dog"))
    (code,) = blocks("python")
    names: dict = {}
    exec(code, names)
    assert names["model"].num_classes == 10
    assert names["loaded"].card.classes == ("cat", "dog")
    with torch.inference_mode():
        assert [tuple(level.shape[2:]) for level in names["levels"].eval()(torch.zeros(1, 3, 139, 139))][-1] == (3, 3)


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("inceptions ")])
def test_every_command_has_the_options_that_are_shown(line):
    verb, *options = shlex.split(line.split("#")[0])[1:]
    shown = CliRunner().invoke(app, [verb, "--help"]).output
    assert all(option in shown for option in options if option.startswith("--"))


def test_table_of_networks_is_what_trace_counts():
    rows = {cells[1].strip(" `"): cells for cells in (line.split("|") for line in README.splitlines() if line.startswith("| `"))}
    assert list(rows) == list(NETWORKS)
    for name, network in NETWORKS.items():
        counted = trace(network)
        with_aux = f"{counted.total_with_aux.parameters:,}" if network.aux else ""
        pixels, parameters, aux, multiply_adds = (cell.strip() for cell in rows[name][3:7])
        assert (int(pixels), parameters, aux) == (network.image_size, f"{counted.total.parameters:,}", with_aux), name
        assert multiply_adds == f"{counted.total.multiply_adds / 1e9:.2f}", name


def test_picture_is_the_one_that_draw_makes():
    from inceptions.networks.draw import draw

    path = re.search(r"!\[.*?\]\((.*?)\)", README)
    assert path is not None
    assert (Path(__file__).parents[1] / path[1]).read_text(encoding="utf-8") == draw(NETWORKS["inception_v3"], stage="5b")
