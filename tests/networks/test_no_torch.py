"""Tables, traces and reshaping come without torch, so that `list`, `describe` and `draw` answer at once."""

import subprocess
import sys

import pytest

TABLES = """
from inceptions.networks import registry, reshape, trace
network = reshape.dilate(reshape.with_classes(registry.get_network("inception_v3"), 10), 16)
print(trace.trace(network).total.parameters)
"""
MODELS = "import inceptions.networks.modules.models"
LOADED = "\nimport sys\nprint(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'torchvision', 'numpy', 'PIL', 'timm'}))"


def run(code: str) -> list[str]:
    finished = subprocess.run([sys.executable, "-W", "error", "-c", code + LOADED], capture_output=True, text=True, check=True)
    return finished.stdout.splitlines()


def test_tables_are_traced_and_reshaped_without_torch_or_any_other_package() -> None:
    assert run(TABLES) == ["21806058", "[]"]


@pytest.mark.parametrize("module", ["inceptions", "inceptions.networks", "inceptions.networks.spec", "inceptions.networks.registry"])
def test_import_brings_in_no_other_package(module: str) -> None:
    assert run(f"import {module}") == ["[]"]


def test_the_same_look_finds_torch_where_it_is_imported() -> None:
    assert "torch" in run(MODELS)[0]
