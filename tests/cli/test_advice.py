"""`train` says what trained weights would give, where there are few images."""

import pytest

from inceptions.networks.registry import NETWORKS, get_network
from inceptions.weights.shipped import shipped_models
from inceptions.weights.tags import best_tag, get_tag

pytestmark = pytest.mark.usefixtures("plain_report")

SHORT = ("--epochs", "1", "--image-size", "16", "--precision", "float32", "--workers", "0")


def test_few_images_and_random_weights_bring_a_word_of_trained_ones(inceptions, pictures, tmp_path):
    err = inceptions("train", pictures, "--output", tmp_path / "run", *SHORT).err
    assert "note: 60 images are few to learn everything from, for the weights begin at random" in err
    assert f"inceptions train {pictures} --weights inception_small.cifar10" in err


def test_trained_weights_and_many_images_bring_none(inceptions, pictures, tmp_path, monkeypatch):
    settings = ("--weights", "inception_small.cifar10", "--set", "finetune.head_only=true", "--set", "finetune.freeze_epochs=0")
    begun = inceptions("train", pictures, "--output", tmp_path / "a", *SHORT, *settings, "--set", "finetune.layer_decay=1")
    assert begun.code == 0, begun.err
    monkeypatch.setattr("inceptions.cli.train.FEW_IMAGES", 60)
    many = inceptions("train", pictures, "--output", tmp_path / "b", *SHORT)
    assert many.code == 0, many.err
    assert "--weights" not in begun.err + many.err


@pytest.mark.parametrize("name", NETWORKS)
def test_the_best_tag_is_of_the_network_itself(name):
    tag = best_tag(name)
    if tag is not None and tag not in shipped_models():
        assert get_tag(tag).network == get_network(name).name == name
        assert get_tag(tag).class_list.startswith("imagenet")


def test_the_best_tag_is_the_most_accurate():
    assert best_tag("inception_v3") == "inception_v3.gluon_in1k"
    assert best_tag("inception_small") == "inception_small.cifar10"
    assert best_tag("googlenet_naive") is None
