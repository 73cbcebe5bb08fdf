"""What a dry run says of speed: whether steps or reading is the slower, and the time by that."""

from dataclasses import replace

import pytest

from inceptions.cli.train import show_plan
from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training import plan
from inceptions.training.learner import Learner
from inceptions.training.loop import prepare, set_epoch, training_loader
from inceptions.training.plan import measure_plan
from inceptions.training.recipe import Finetune
from inceptions.training.recipes import QUICK

TINY = reshape.scale_width(get_network("inception_small"), 0.25)


@pytest.fixture
def setup(pictures):
    recipe = replace(QUICK, epochs=4, batch_size=16, precision="float32", progressive=((0.5, 0.5),))
    return prepare(TINY, load_splits(pictures), recipe, source="pictures", image_size=32, device="cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 0.5 s at each look."""
    looks = iter(range(1000))
    monkeypatch.setattr(plan.time, "perf_counter", lambda: next(looks) / 2)
    monkeypatch.setattr(Learner, "learn", lambda *_: None)


@pytest.mark.parametrize(
    ("readers", "read", "together", "seconds", "said"),
    [
        (2, 10.0, 10.0, 4 * 6.0, "10 in reading by 2 processes, each alone; reading is slower"),
        (1, 60.0, 30.0, 2 * 1.0 + 2 * 2.0, "60 in reading by 1 process, each alone; the step is slower"),
        (0, 60.0, 20.0, 2 * (1.0 + 0.5) + 2 * (1.0 + 2.0), "60 in reading, which is done in between; the step is slower"),
    ],
)
def test_the_slower_of_steps_and_reading_decides_the_time(setup, clock, monkeypatch, capsys, readers, read, together, seconds, said):
    """A step of 15 images is half a second, of smaller ones an eighth; the 60 images are two seconds of steps, in two epochs half of one.

    With nobody else to read, reading comes on top.
    """
    monkeypatch.setattr(plan, "_reading_rate", lambda *_, **__: (readers, read))
    found = measure_plan(setup)
    assert (found.step_images_per_second, found.images_per_second) == pytest.approx((30, together))
    assert found.seconds == pytest.approx(seconds)
    assert found.is_slower_to_read == (read < 30)
    show_plan(setup)
    out = capsys.readouterr().out
    assert f"speed: 30 images/s in steps, {said}\n" in out
    assert ("longer, as steps and reading share the cores" in out) == (readers > 0)


def test_reading_is_timed_after_the_first_batches_with_the_runs_own_workers(setup, clock, monkeypatch):
    """Of the third batch on, and then so many until a second is over: two looks at the clock."""
    loader = training_loader(setup, workers=0)
    asked = []
    real = type(loader.order.dataset).__getitems__
    monkeypatch.setattr(type(loader.order.dataset), "__getitems__", lambda data, which: asked.append(which) or real(data, which))
    readers, rate = plan._reading_rate(setup, workers=0, part=(0, 1))
    assert readers == 0
    assert len(asked) == 1 + plan.READ_BATCHES + 1
    assert rate == pytest.approx(15 * (plan.READ_BATCHES + 1) / 1.5)
    assert {batch.preprocess.image_size for batch in asked} == {32}  # the last epoch's
    assert plan._reading_rate(setup, workers=0, part=(1, 2))[1] == pytest.approx((7 + 7 + 7) * 2 / 1.5)


@pytest.mark.parametrize(
    ("finetune", "seconds"),
    [(Finetune(head_only=True), 2.0), (Finetune(freeze_epochs=3), 2 * 2.0), (Finetune(head_only=True, cache_features=False), 4 * 2.0)],
)
def test_epochs_on_features_that_are_kept_take_no_time(setup, clock, monkeypatch, finetune, seconds):
    """Of four epochs, each of two seconds."""
    monkeypatch.setattr(plan, "_reading_rate", lambda *_, **__: (1, 60.0))
    setup = replace(setup, recipe=replace(setup.recipe, progressive=(), augment=None, finetune=finetune))
    assert measure_plan(setup).seconds == pytest.approx(seconds)


def test_reading_of_asynchronous_workers_is_not_timed(setup, clock):
    setup = replace(setup, recipe=replace(setup.recipe, progressive=(), asynchronous=2))
    found = measure_plan(setup)
    assert (found.read_images_per_second, found.readers, found.is_slower_to_read) == (None, 0, False)
    assert found.images_per_second == found.step_images_per_second


def test_an_epochs_images_are_of_its_size_and_order(setup):
    loader = training_loader(setup, workers=0)
    orders = []
    for epoch, side in ((1, 16), (3, 32)):
        set_epoch(loader, setup, epoch=epoch)
        batches = list(loader)
        assert {batch.pixels.shape[-1] for batch in batches} == {side}
        orders.append([int(index) for batch in batches for index in batch.indices])
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]
