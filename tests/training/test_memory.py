from dataclasses import replace

import pytest
import torch

from inceptions.data.folders import load_splits
from inceptions.devices import available_memory, memory_for
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.plan import find_batch_size
from inceptions.training.recipes import QUICK

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which …")


def setup_of(pictures, **changes):
    recipe = replace(QUICK, **{"epochs": 1, "batch_size": 8, "precision": "float32", **changes})
    return prepare(TINY, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu")


class FullAbove:
    """The batches that are computed, and no memory for more than `most` images."""

    def __init__(self, monkeypatch, most):
        self.tried = []
        real = torch.nn.Conv2d.forward

        def forward(layer, images):
            if layer.in_channels == 3:
                self.tried.append(len(images))
            if len(images) > most:
                raise FULL
            return real(layer, images)

        monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)


def allocate():
    torch.empty(2**50, dtype=torch.uint8)


def run_out():
    raise FULL


@pytest.mark.parametrize(("fill", "asked"), [(run_out, "2.00 GiB"), (allocate, f"{2**50} bytes")])
def test_full_memory_is_said_in_one_line_with_what_was_asked_for_and_what_to_do(fill, asked):
    what = rf"64 images at a time are too many for the memory of cpu \({asked} more were asked for\); lower the batch size"
    with pytest.raises(UserError, match=what) as caught, memory_for(64, torch.device("cpu")):
        fill()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_another_error_is_left_as_it_is():
    with pytest.raises(RuntimeError, match="shapes"), memory_for(64, torch.device("cpu")):
        raise RuntimeError("shapes don't match")


def test_a_run_that_fills_the_memory_ends_with_what_to_do_and_leaves_nothing(pictures, tmp_path, monkeypatch):
    setup = setup_of(pictures)
    FullAbove(monkeypatch, 0)
    with pytest.raises(UserError, match=r"[78] images at a time are too many for the memory of cpu \(2.00 GiB"):
        fit(setup, tmp_path / "run", pace=Pace(workers=0))
    assert not (tmp_path / "run").exists()


def test_largest_batch_that_fits_is_found_by_doubling(pictures, monkeypatch):
    setup = setup_of(pictures)
    many = replace(setup, splits=replace(setup.splits, train=tuple(setup.splits.train) * 20))
    monkeypatch.setattr("inceptions.training.plan.available_memory", lambda: 2**60)
    full = FullAbove(monkeypatch, 20)
    assert find_batch_size(many) == 16
    assert full.tried == [2, 4, 8, 16, 32]
    full.tried.clear()
    assert find_batch_size(replace(many, recipe=replace(setup.recipe, accumulate=2))) == 32  # in parts of 16
    assert full.tried == [2, 2, 4, 4, 8, 8, 16, 16, 32]


def test_an_epoch_keeps_sixteen_steps(pictures, monkeypatch):
    full = FullAbove(monkeypatch, 1000)
    assert find_batch_size(setup_of(pictures)) == 2  # of 60 images
    assert full.tried == [2]


def test_on_the_cpu_no_step_is_tried_that_would_take_more_than_is_free(pictures, monkeypatch):
    setup = setup_of(pictures)
    many = replace(setup, splits=replace(setup.splits, train=tuple(setup.splits.train) * 20))
    peaks = iter([100, 110, 120, 140, 180])
    monkeypatch.setattr("inceptions.training.plan._peak_memory", lambda device: next(peaks))
    assert find_batch_size(many, limit=100) == 16  # which took 80; the next would take 160
    assert available_memory() > 0


def test_memory_that_not_even_two_images_fit_into_is_said(pictures, monkeypatch):
    FullAbove(monkeypatch, 1)
    with pytest.raises(UserError, match="2 images at a time are too many"):
        find_batch_size(setup_of(pictures))


def test_batch_size_is_not_found_for_several_processes_at_once(pictures):
    with pytest.raises(UserError, match="can't be found for several processes"):
        find_batch_size(setup_of(pictures, asynchronous=2))
