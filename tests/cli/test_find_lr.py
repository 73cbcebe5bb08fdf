"""train --find-lr: what it writes, what it says, and that the command it ends with is the run that it tried."""

import shlex
from functools import partial

import pytest

from inceptions.training import range_test
from inceptions.training.range_test import LrRange, find_lr
from tests.test_docs import parse

SMALL = ("--epochs", "2", "--image-size", "16", "--precision", "float32", "--workers", "0")
RATES, LOSSES = (1e-4, 1e-3, 1e-2, 0.1, 1, 10, 20, 30, 40, 50), (5.0, 4.0, 3.5, 1.0, 0.9, 9, 9, 9, 9, 9)
FALLS = LrRange(RATES, LOSSES, LOSSES, 10)
RISES = LrRange((1e-3, 1e-2), (3.0, 9.0), (3.0, 9.0), 10)


@pytest.fixture
def found(monkeypatch):
    """Has the test find what is at hand, of setups that are kept."""
    setups = []

    def use(result):
        monkeypatch.setattr(range_test, "find_lr", lambda setup, **_: setups.append(setup) or result)
        return setups

    return use


def test_plot_numbers_and_the_command_to_go_on_with_come_out_and_no_run(inceptions, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(range_test, "find_lr", partial(find_lr, steps=10))
    result = inceptions("train", pictures, *SMALL, "--batch-size", "auto", "--find-lr")
    assert result.code == 0, result.err
    folder = f"runs/lr-inception_small-{pictures.name}"
    assert f"  {folder}/lr.png" in result.out
    assert {str(path) for path in tmp_path.glob("runs/*/*")} == {str(tmp_path / folder / name) for name in ("lr.png", "lr.csv")}
    assert "batch size 2: " in result.err


def test_the_next_command_is_that_of_the_run_at_the_rate_that_is_suggested(inceptions, pictures, tmp_path, found, monkeypatch):
    setups = found(FALLS)
    monkeypatch.setattr("inceptions.cli.train.heat_maps", lambda: lambda _: None)  # which need captum
    given = ("--recipe", "inception_v3_2015", "--model", "inception_small", "--set", "mixup=0.2", "--set", "lr=3", "--batch-size", "8")
    given += ("--checkpoint-minutes", "2", "--explain")
    result = inceptions("train", pictures, *SMALL, *given, "--output", tmp_path / "lr", "--find-lr")
    assert result.code == 0, result.err
    assert "the learning rate that is given changes nothing" in result.err
    assert "suggested: 0.01, the lower of two rules (it falls most steeply at 0.01 and a tenth of where it is lowest is 0.1)" in result.out
    (line,) = [line for line in result.err.splitlines() if line.startswith("Next: ")]
    command = line.removeprefix("Next: ")
    parsed = parse(command).params
    assert parsed["output"] is None  # which is taken now
    assert (parsed["lr"], parsed["checkpoint_minutes"], parsed["workers"], parsed["explain"]) == (0.01, 2, 0, True)
    assert inceptions(*shlex.split(command)[1:], "--find-lr", "--output", tmp_path / "again").code == 0
    first, second = setups
    assert second.recipe.lr == pytest.approx(0.01)
    assert second.to_dict() == {**first.to_dict(), "recipe": {**first.recipe.to_dict(), "lr": second.recipe.lr}}


def test_a_loss_that_never_falls_suggests_nothing(inceptions, pictures, tmp_path, found):
    found(RISES)
    own = ("--recipe", "inception_v3_2015", "--model", "inception_small")
    result = inceptions("train", pictures, *SMALL, *own, "--output", tmp_path / "lr", "--find-lr")
    assert "changes nothing" not in result.err
    assert "no rate is suggested, for the loss never fell; the run as it is has 0.045" in result.out
    assert "Next" not in result.err


def test_what_it_cannot_go_with_is_one_line_and_leaves_nothing(inceptions, pictures, tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine").touch()
    refused = {
        ("--dry-run",): "leave out one of --find-lr and --dry-run",
        ("--resume", run): "leave out one of --find-lr and --resume",
        ("--output", run): "exists already",
        ("--set", "asynchronous=2", "--output", tmp_path / "new"): "trains asynchronously",
    }
    for given, message in refused.items():
        result = inceptions("train", pictures, "--find-lr", *given)
        assert result.code == 2
        assert message in result.err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in inceptions("train", pictures, "--find-lr").err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "run"]
