"""Which images models are measured on: what they were trained on is known again, whatever the seed; where it isn't, that is said."""

import shutil
from dataclasses import replace

import pytest

from inceptions.data.folders import load_splits
from inceptions.data.preprocess import for_training
from inceptions.errors import UserError
from inceptions.evaluation.measured import choose_images
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.weights.card import ModelCard
from tests.pictures import COLOURS, paint

NETWORK = reshape.with_classes(get_network("inception_small"), len(COLOURS))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Class folders of 40 pictures each, without parts."""
    return paint(tmp_path_factory.mktemp("measured") / "photos", each=40)


def card_of(record=None, **provenance):
    return ModelCard(NETWORK, for_training(32), tuple(COLOURS), provenance=provenance, split=record)


def trained_on(source, *, seed=0):
    return card_of(load_splits(source, seed=seed).record(str(source)), made_by="inceptions train")


def choose(source, *cards, **asked):
    splits = load_splits(source, seed=asked.get("split_seed") or 0)
    return choose_images(str(source), splits, {f"m{number}": card for number, card in enumerate(cards)}, **asked)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_is_measured_on_its_own_test_part(photos, seed):
    """With one seed for weights and split, 92 of 100 test images of seed 0 had been trained on with seed 1."""
    found = choose(photos, trained_on(photos, seed=seed))
    assert set(found.samples) == set(load_splits(photos, seed=seed).test)
    assert (found.part, found.split_seeds, found.total, found.trained_on) == ("test", (seed,), 120, {"m0": 0})
    assert found.said == f"12 test images of 120, set aside by split seed {seed}"
    assert found.notes == ()


def test_images_that_have_moved_are_the_same_images(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "elsewhere")
    found = choose(tmp_path / "elsewhere", trained_on(photos, seed=3))
    assert found.trained_on == {"m0": 0}
    assert {sample.path.name for sample in found.samples} == {sample.path.name for sample in load_splits(photos, seed=3).test}


def test_another_seed_or_part_is_taken_where_it_is_asked_for_and_what_leaks_is_counted(photos):
    mine = set(load_splits(photos, seed=1).train)
    found = choose(photos, trained_on(photos, seed=1), split_seed=2)
    leaked = len(mine & set(load_splits(photos, seed=2).test))
    assert found.trained_on == {"m0": leaked}
    assert leaked > 0
    assert found.notes == (f"m0 was trained on {leaked} of these images",)
    assert choose(photos, trained_on(photos), part="all").trained_on == {"m0": 96}
    assert choose(photos, trained_on(photos), part="train").trained_on == {"m0": 96}


def test_models_of_several_splits_are_measured_on_images_that_are_test_images_of_all(photos):
    first, second = (load_splits(photos, seed=seed) for seed in (0, 1))
    both = set(first.test) & set(second.test)
    assert both
    found = choose(photos, trained_on(photos), trained_on(photos, seed=1))
    assert set(found.samples) == both
    assert found.split_seeds == (0, 1)
    assert found.trained_on == {"m0": 0, "m1": 0}
    assert "split seeds 0, 1; these are in the test part of each" in found.notes[0]
    with pytest.raises(UserError, match=r"no image is in the test part of each; measure the models one by one"):
        choose(photos, *(trained_on(photos, seed=seed) for seed in range(6)))


def test_val_images_that_trained_too_are_counted(photos):
    card = trained_on(photos)
    card = replace(card, split=replace(card.split, images={"train": 108, "val": 0, "test": 12}))
    assert choose(photos, card, part="val").trained_on == {"m0": 12}


def test_of_changed_images_the_models_own_test_part_is_taken_and_not_vouched_for(photos, tmp_path):
    changed = shutil.copytree(photos, tmp_path / "photos")
    shutil.copy(changed / "blue" / "000.png", changed / "blue" / "new.png")
    found = choose(changed, trained_on(photos, seed=1))
    assert (found.part, found.split_seeds, found.trained_on) == ("test", (1,), {"m0": None})
    assert "isn't known: m0 was trained on other images, or these have changed since" in found.notes[0]


def test_a_folder_that_no_model_comes_from_is_measured_whole(photos, tmp_path):
    """Of imagenet/val, a tenth was measured, with a word on the terminal alone."""
    val = paint(tmp_path / "others" / "val", each=12, seed=5)
    for card in (card_of(tag="inception_v3.tf_in1k"), trained_on(photos), card_of(made_by="inceptions train")):
        found = choose(val, card)
        assert (found.part, len(found.samples), found.said) == ("all", 36, "all 36 images")
        assert found.trained_on == {"m0": None}
        assert "isn't known" in found.notes[0]
    assert choose(photos, card_of(tag="inception_v3.tf_in1k")).part == "all"


def test_a_folder_within_or_around_the_images_of_training_may_have_been_trained_on(photos):
    parts = photos.parent / "parts"
    paint(parts / "train", each=20)
    paint(parts / "test", each=5, seed=1)
    assert choose(parts / "train", trained_on(parts)).part == "test"
    assert choose(parts / "test", trained_on(parts)).part == "all"
    assert choose(parts, trained_on(parts)).said == "15 test images of 75, given as such"
    assert choose(parts, trained_on(parts)).trained_on == {"m0": 0}


def test_a_model_without_a_record_is_measured_on_the_test_part_and_not_vouched_for(photos):
    found = choose(photos, card_of(made_by="inceptions train"), trained_on(photos))
    assert (found.part, found.split_seeds, found.trained_on) == ("test", (0,), {"m0": None, "m1": 0})
    assert found.notes == ("whether these images were trained on isn't known: the model folder doesn't say of m0",)


def test_a_part_that_is_not_there_is_refused(tmp_path):
    paint(tmp_path / "d" / "train", each=5)
    paint(tmp_path / "d" / "val", each=5)
    assert choose(tmp_path / "d", card_of()).part == "val"
    with pytest.raises(UserError, match="no test images; there are 15 train, 15 val"):
        choose(tmp_path / "d", card_of(), part="test")
