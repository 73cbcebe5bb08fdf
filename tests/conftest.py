"""Where xdist runs workers side by side, each computes with one thread; set before torch is imported, and inherited by subprocesses."""

import os

import pytest

from tests.pictures import paint

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def pictures(tmp_path):
    """A folder of small pictures in three classes, with `train` (66, of which 6 become validation) and `test` (12) inside."""
    folder = tmp_path / "pictures"
    paint(folder / "train", each=22, seed=1)
    paint(folder / "test", each=4, seed=2)
    return folder
