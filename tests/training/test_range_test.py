"""The learning rate range test: its rates, its smoothing, where it stops, what it suggests."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training import range_test
from inceptions.training.learner import StepResult
from inceptions.training.loop import prepare
from inceptions.training.range_test import LrRange, find_lr, plot_range, write_range
from inceptions.training.recipe import Finetune
from inceptions.training.recipes import QUICK

TINY = reshape.scale_width(get_network("inception_small"), 0.25)


def setup_of(pictures, *, weights=None, **changes):
    recipe = replace(QUICK, **{"epochs": 3, "batch_size": 16, "precision": "float32", **changes})
    return prepare(TINY, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu", weights=weights)


@pytest.fixture
def stand_in(monkeypatch):
    """Has steps give losses that are at hand; returns those of their rates that were asked for."""

    def use(losses):
        asked, given = [], iter(losses)

        def learn(learner, batch):
            asked.append(learner.lr_factor() * learner.setup.peak_lr)
            loss = next(given)
            learner.step += 1
            return StepResult(loss, 0, len(batch.labels))

        monkeypatch.setattr(range_test._RisingLearner, "learn", learn)
        return asked

    return use


def test_rates_rise_evenly_in_their_logarithm_and_losses_are_a_running_mean(pictures, stand_in):
    losses = [2.0, 2.5, 1.5, 2.2, 1.8, 1.0, 0.9, 1.1, 0.8, 0.7, 0.9, 1.2]
    asked = stand_in(losses)
    told = []
    found = find_lr(setup_of(pictures), lowest=1e-6, highest=1.0, steps=12, workers=0, stepped=told.append)
    assert found.rates == pytest.approx(np.geomspace(1e-6, 1, 12))
    assert asked == pytest.approx(found.rates)
    assert found.losses == tuple(losses)
    weights = [0.98 ** np.arange(n, -1, -1) for n in range(12)]  # fastai's: an exponential mean that doesn't begin at zero
    assert found.smoothed == pytest.approx([np.average(losses[: n + 1], weights=weights[n]) for n in range(12)])
    assert told == [1] * 12  # of more than two epochs
    assert not found.has_diverged


@pytest.mark.parametrize(("after", "kept"), [((1000.0, 1.0), 1), ((math.nan, 1.0), 0), ((math.inf, 1.0), 0)])
def test_it_stops_where_the_loss_diverges(pictures, stand_in, after, kept):
    """A thousand after ten ones is a smoothed loss of about ninety, and four are enough."""
    asked = stand_in([1.0] * 10 + list(after) + [1.0] * 20)
    found = find_lr(setup_of(pictures), steps=30, workers=0)
    assert len(asked) == 11
    assert len(found.losses) == 10 + kept
    assert found.has_diverged
    assert all(map(math.isfinite, found.smoothed))


def test_a_rate_whose_step_is_passed_over_is_tried_again(pictures, monkeypatch):
    """In float16; the loss is a number, but it says nothing of the rate before."""
    asked = []

    def learn(learner, batch):
        asked.append(learner.lr_factor() * learner.setup.peak_lr)
        learner.step += len(asked) > 2  # the first two are passed over
        return StepResult(float(len(asked)), 0, len(batch.labels))

    monkeypatch.setattr(range_test._RisingLearner, "learn", learn)
    found = find_lr(setup_of(pictures), steps=10, workers=0)
    assert asked == pytest.approx([found.rates[0]] * 2 + list(found.rates))
    assert found.losses[0] == 3.0


def test_lookahead_goes_by_the_steps_of_the_test_where_the_run_has_fewer(pictures):
    short, long = (range_test._RisingLearner(setup_of(pictures, lookahead=True, epochs=epochs), [0.1] * 50) for epochs in (1, 40))
    assert (short.lookahead.steps, long.lookahead.steps) == (50, 160)


def test_steps_are_the_runs_own_in_rates_of_layers_parts_that_train_and_batches_and_leave_nothing(pictures, saved, monkeypatch):
    finetune = Finetune(freeze_epochs=2, layer_decay=0.5)
    setup = setup_of(pictures, weights=saved(reshape.with_image_size(TINY, 16)), finetune=finetune, label_smoothing=0.0)
    before = {key: value.clone() for key, value in setup.start.state_dict().items()}
    seen = []
    real = range_test._RisingLearner.learn

    def learn(learner, batch):
        done = real(learner, batch)
        seen.append(([group["lr"] for group in learner.optimizer.param_groups], len(batch.labels)))
        open_ = [parameter.requires_grad for parameter in learner.module.parameters()]
        assert all(open_)  # as after the epochs that are frozen
        return done

    monkeypatch.setattr(range_test._RisingLearner, "learn", learn)
    found = find_lr(setup, highest=1e-3, steps=10, workers=0)
    assert all(rates[0] == pytest.approx(rate) for (rates, _), rate in zip(seen, found.rates, strict=True))
    assert all(rates[2] == pytest.approx(rates[0] / 2) for rates, _ in seen)
    assert [count for _, count in seen[:4]] == [15] * 4  # 60 images
    assert all(torch.equal(value, before[key]) for key, value in setup.start.state_dict().items())
    assert find_lr(setup, highest=1e-3, steps=10, workers=0) == found


def curve(losses):
    rates = tuple(np.geomspace(1e-7, 10, len(losses)))
    return LrRange(rates, tuple(losses), tuple(losses), len(losses))


def test_the_steepest_fall_and_a_tenth_of_the_lowest_are_suggested():
    """A step down of a half at 20, and a lowest point at 30 of 41; the loss of the last five, lower still, is not looked at."""
    losses = [3.0 - 0.01 * place - 0.5 * (place > 20) for place in range(31)] + [4.0] * 5 + [0.1] * 5
    found = curve(losses)
    assert found.steepest == pytest.approx(found.rates[20])
    assert found.tenth_of_lowest == pytest.approx(found.rates[30] / 10)
    assert found.suggested == min(found.steepest, found.tenth_of_lowest)


@pytest.mark.parametrize("losses", [[1.0 + 0.1 * place for place in range(40)], [1.0] * 40, [1.0] * 6, []])
def test_nothing_is_suggested_where_the_loss_never_falls_or_there_are_few_steps(losses):
    assert curve(losses).suggested is None


def test_numbers_and_plot_are_written(tmp_path):
    found = curve([2.0 + 0.1 * math.cos(place / 5) for place in range(40)])
    assert write_range(found, tmp_path) == [tmp_path / "lr.png", tmp_path / "lr.csv"]
    rows = list(csv.DictReader((tmp_path / "lr.csv").read_text().splitlines()))
    assert [float(row["lr"]) for row in rows] == pytest.approx(found.rates, rel=1e-5)
    assert [float(row["smoothed_loss"]) for row in rows] == pytest.approx(found.smoothed, rel=1e-5)
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("lowest", "suggested"), [(24, "a tenth of the lowest"), (30, "steepest")])
def test_the_plot_shows_which_rule_is_followed(lowest, suggested):
    """A step down of a half at 20; the rate is ten times as high six places on."""
    losses = [3.0 - 0.01 * min(place, 2 * lowest - place) - 0.5 * (place > 20) for place in range(46)]
    lines = plot_range(curve(losses)).axes[0].get_lines()
    drawn = {str(line.get_label()).partition(":")[0]: line for line in lines if ":" in str(line.get_label())}
    assert set(drawn) == {"steepest", "a tenth of the lowest"}
    assert [name for name, line in drawn.items() if str(line.get_label()).endswith(", suggested")] == [suggested]
    assert [name for name, line in drawn.items() if line.get_linestyle() == "-"] == [suggested]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lowest": 1.0, "highest": 0.1}, "rates from 1 to 0.1 can't be tried"),
        ({"lowest": 0.0}, "must be numbers above 0"),
        ({"steps": 3}, "steps is 3; it must be a whole number of at least 10"),
    ],
)
def test_what_cannot_be_tried_is_said(pictures, given, message):
    with pytest.raises(UserError, match=message):
        find_lr(setup_of(pictures), **given)


def test_several_processes_and_asynchronous_recipes_are_refused(pictures, monkeypatch):
    with pytest.raises(UserError, match="trains asynchronously, and its learning rate can't be looked for"):
        find_lr(setup_of(pictures, asynchronous=2))
    setup = setup_of(pictures)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="looked for by one process; start it without torchrun"):
        find_lr(setup)


@pytest.mark.parametrize(("left", "message"), [(0, "no training image could be read"), (1, "one training image is too few")])
def test_images_of_which_none_or_one_can_be_read_end_it(pictures, left, message):
    setup = setup_of(pictures, on_error="skip")
    for path in sorted((pictures / "train").rglob("*.png"))[left:]:
        path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=message):
        find_lr(setup, steps=10, workers=0)
