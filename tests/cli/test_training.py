"""What `train` and `recipes` say and do beyond a plain run."""

import json
import signal

import pytest
import yaml

pytestmark = pytest.mark.usefixtures("plain_report")

SMALL = ("--batch-size", "8", "--image-size", "16", "--precision", "float32", "--workers", "0")


def test_recipes_are_listed_with_their_sources(inceptions):
    table = inceptions("recipes")
    assert "inception_v3_2015" in table.out
    listed = json.loads(inceptions("recipes", "--json").out)
    assert {"quick", "finetune", "cifar10", "googlenet_2014"} <= {recipe["name"] for recipe in listed}


def test_dry_run_tells_the_recipe_and_the_cost_and_trains_nothing(inceptions, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = inceptions("train", pictures, *SMALL, "--dry-run", "--set", "optimizer.momentum=0.8")
    assert result.code == 0, result.err
    told, cost = result.out.split("\ncost: ")
    assert yaml.safe_load(told)["recipe"]["optimizer"]["momentum"] == 0.8
    assert cost.startswith("1,648,755 parameters, ")
    assert "MiB" in cost
    assert "images/s; all epochs in about" in cost
    assert not (tmp_path / "runs").exists()


def test_the_batch_size_that_fits_is_found_and_written_into_the_recipe(inceptions, pictures):
    result = inceptions("train", pictures, *SMALL, "--batch-size", "auto", "--dry-run")
    assert result.code == 0, result.err
    settings = yaml.safe_load(result.out.split("\ncost: ")[0])
    assert settings["recipe"]["batch_size"] == 2  # 60 images, in sixteen steps or more
    assert settings["peak_lr"] == pytest.approx(0.05 * 2 / 64)
    refused = inceptions("train", pictures, "--batch-size", "many", "--dry-run")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "batch_size is 'many'" in refused.err
    refused = inceptions("train", pictures, *SMALL, "--batch-size", "auto", "--set", "batch_size=8", "--dry-run")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "leave one of them out" in refused.err


def test_what_bounds_the_batch_that_is_found_is_told(inceptions, pictures, tmp_path):
    result = inceptions("train", pictures, *SMALL, "--batch-size", "auto", "--epochs", "1", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    assert "batch size 2: with twice as many, an epoch of 60 images would have fewer than 16 steps" in result.err


def test_misspelt_settings_are_named(inceptions, pictures):
    result = inceptions("train", pictures, "--set", "optimizer.momentun=0.8")
    assert (result.code, result.out) == (2, "")
    assert "did you mean optimizer.momentum?" in result.err


def test_a_tracker_is_told_of_the_run(inceptions, pictures, tmp_path):
    pytest.importorskip("tensorboard")
    result = inceptions("train", pictures, *SMALL, "--epochs", "1", "--output", tmp_path / "run", "--log-with", "tensorboard")
    assert result.code == 0, result.err
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    assert f"{tmp_path / 'run' / 'tensorboard'}" in result.out
    refused = inceptions("train", pictures, "--log-with", "tensorbord")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "did you mean tensorboard?" in refused.err


def test_a_stopped_run_says_how_to_go_on_and_does(inceptions, pictures, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def stop(self, epoch, step, *_):
        if (epoch, step) == (1, 2):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("inceptions.cli.train.Terminal.stepped", stop)
        stopped = inceptions("train", pictures, *SMALL, "--epochs", "2", "--output", run)
    assert stopped.code == 130
    assert f"go on with: inceptions train --resume {run}" in stopped.err
    mixed = inceptions("train", "--resume", run, "--lr", "0.1")
    assert mixed.code == 2
    assert "--resume takes its settings from the run, but for --epochs" in mixed.err
    resumed = inceptions("train", "--resume", run, "--workers", "0")
    assert resumed.code == 0, resumed.err
    assert "going on at epoch 1, after step 2" in resumed.err
    assert "test accuracy" in resumed.out
    again = inceptions("train", "--resume", run)
    assert again.code == 2
    assert "finished already" in again.err
    assert "or go on with it for more epochs: --epochs N" in again.err
    longer = inceptions("train", "--resume", run, "--epochs", "3", "--workers", "0")
    assert longer.code == 0, longer.err
    assert "note: 3 epochs in all, in place of 2" in longer.err
    assert "going on at epoch 3, after step 0" in longer.err


def test_training_goes_further_from_a_model_folder(inceptions, pictures, tmp_path):
    first = inceptions("train", pictures, *SMALL, "--epochs", "2", "--output", tmp_path / "first")
    assert first.code == 0, first.err
    weights = ("--weights", tmp_path / "first" / "best", "--output", tmp_path / "second", "--epochs", "1", "--workers", "0")
    other = inceptions("train", pictures, *weights, "--model", "inception_v3")
    assert other.code == 2
    assert "holds inception_small, not inception_v3; leave out --model" in other.err
    second = inceptions("train", pictures, *weights, "--batch-size", "8")
    assert second.code == 0, second.err
    assert "the classifier is kept" in second.err
    assert "only the head trains" in second.err
    card = json.loads((tmp_path / "second" / "best" / "model.json").read_text())
    assert card["provenance"]["weights"] == str(tmp_path / "first" / "best")


ASYNCHRONOUS = ("--recipe", "googlenet_2014", "--model", "inception_small", "--epochs", "2", "--batch-size", "8", "--image-size", "16")


def test_asynchronous_training_says_what_it_does_not_know(inceptions, pictures):
    pytest.importorskip("ray")
    refused = inceptions("train", pictures, *ASYNCHRONOUS, "--set", "mixup=0.2")
    assert "asynchronous training knows no mixup" in refused.err


@pytest.mark.exhaustive  # Ray and its processes take half a minute to start
@pytest.mark.filterwarnings("ignore")  # Ray's own, of files that it leaves open
def test_an_asynchronous_recipe_trains_and_tells_staleness(inceptions, pictures, tmp_path):
    pytest.importorskip("ray")
    result = inceptions("train", pictures, *ASYNCHRONOUS, "--workers", "2", "--precision", "float32", "--output", tmp_path / "run")
    assert result.code == 0, result.err
    lines = (tmp_path / "run" / "staleness.csv").read_text().splitlines()
    assert lines[0] == "update,staleness"
    assert len(lines) - 1 == 2 * 8  # 60 images in batches of 7 and 8
    assert (tmp_path / "run" / "staleness.png").is_file()
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["recipe"]["asynchronous"] == 2
