"""No image that a model was trained on is one that it is tested on: from training to evaluation and to training further."""

import json

import pytest

from inceptions.data.folders import load_splits
from inceptions.weights.card import read_card
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = ("--epochs", "1", "--image-size", "16", "--workers", "0", "--device", "cpu")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Class folders without parts: 20 of each class, of which training sets aside 2 for val and 2 for test."""
    monkeypatch.chdir(tmp_path)
    return paint(tmp_path / "photos", each=20)


def test_the_seed_of_weights_is_not_that_of_the_split_and_a_model_is_tested_on_its_own_test_part(inceptions, photos, tmp_path):
    """`train --seed 1`, then `evaluate`: most of the "test" images had been trained on."""
    done = inceptions("train", "photos", "--seed", "1", "--output", "run", *TINY)
    assert done.code == 0, done.err
    record = read_card(tmp_path / "run" / "best").split
    assert (record.seed, record.source, record.images) == (0, "photos", {"train": 48, "val": 6, "test": 6})
    measured = json.loads(inceptions("evaluate", "run/best", "--data", "photos", "--json").out)["measured"]
    assert measured == {"part": "test", "images": 6, "of": 60, "split_seeds": [0], "trained_on": {"run/best": 0}, "notes": []}
    leaking = inceptions("evaluate", "run/best", "--data", "photos", "--split-seed", "1").err
    assert "note: run/best was trained on" in leaking


def test_weights_that_are_trained_further_keep_their_split_and_another_is_warned_of(inceptions, photos, tmp_path):
    inceptions("train", "photos", "--split-seed", "4", "--output", "run", *TINY)
    assert read_card(tmp_path / "run" / "last").split.seed == 4
    further = inceptions("train", "photos", "--weights", "run/best", "--seed", "2", "--output", "further", *TINY)
    assert "run/best was trained on these images" in " ".join(further.err.split())
    assert read_card(tmp_path / "further" / "best").split.seed == 4
    assert "its own test images" not in further.err
    leaking = inceptions("train", "photos", "--weights", "run/best", "--split-seed", "5", "--output", "leaking", *TINY)
    both = set(load_splits("photos", seed=4).train) & set(load_splits("photos", seed=5).test)
    assert f"run/best was trained on {len(both)} of the 6 test images" in " ".join(leaking.err.split())
    assert both


def test_averages_of_several_seeds_are_measured_on_images_that_none_was_trained_on(inceptions, photos):
    for seed in ("1", "2"):
        inceptions("train", "photos", "--seed", seed, "--output", f"run-{seed}", *TINY)
    found = json.loads(inceptions("evaluate", "run-1/best", "run-2/best", "--data", "photos", "--json").out)
    assert found["measured"]["trained_on"] == {"run-1/best": 0, "run-2/best": 0}
    assert found["rows"][2]["images"] == 6
