"""What is said of a model: what its folder and its run know, and nothing that they don't."""

from dataclasses import replace

import pytest

from inceptions.data.splits import SplitRecord
from inceptions.inference.about import describe_model
from inceptions.weights.card import read_card
from inceptions.weights.shipped import shipped_models
from tests.page.fake_server import card
from tests.tiny import CLASSES, save_tiny


def test_the_shipped_model_tells_its_training_and_its_error():
    told = describe_model(read_card(shipped_models()["inception_small.cifar10"]), "small")
    assert (told["name"], told["network"], told["classes"], told["image_size"]) == ("small", "inception_small", 10, 28)
    assert told["trained_on"]["data"] == "CIFAR-10, the small JPEGs of the CIFAR-10-images mirror"
    accuracy = told["accuracy"]
    assert (accuracy["value"], accuracy["images"], accuracy["part"]) == (0.8928, 10000, "test")
    assert 0.886 < accuracy["low"] < 0.8928 < accuracy["high"] < 0.899
    assert told["confusions"][:2] == [
        {"truth": "cat", "predicted": "dog", "count": 92},
        {"truth": "dog", "predicted": "cat", "count": 92},
    ]


def test_a_model_tells_its_commonest_mistakes_and_not_where_its_images_lay(tmp_path):
    best = save_tiny(tmp_path / "run" / "best", classes=("amber", "a<b>", "green"))
    split = SplitRecord(0, "0" * 64, {"train": 70, "val": 10, "test": 12}, "/home/somebody/photos")
    made = {"data": "/home/somebody/photos", "recipe": "quick", "weights": "runs/old/best"}
    confusions = (("amber", "a<b>", 2), ("a<b>", "green", 1))
    card = replace(read_card(best), provenance=made, split=split, metrics={"val_accuracy": 0.5, "val_images": 12}, confusions=confusions)
    told = describe_model(card, "run")
    assert told["trained_on"] == {"data": "photos", "recipe": "quick", "weights": "best", "images": split.images}
    assert told["confusions"] == [
        {"truth": "amber", "predicted": "a<b>", "count": 2},
        {"truth": "a<b>", "predicted": "green", "count": 1},
    ]
    assert (told["accuracy"]["value"], told["accuracy"]["part"]) == (0.5, "val")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/home/alice/photos", "photos"),
        ("../../clients/acme/photos/", "photos"),
        ("~/private/photos", "photos"),
        ("~nosuch", "~nosuch"),
        ("~nosuch/photos", "photos"),
        (r"C:\Users\alice\photos", "photos"),
        ("s3/x/shards-{0..9}.tar", "shards-{0..9}.tar"),
        ("https://user:secret@host/x-{000..009}.tar", "x-{000..009}.tar"),
        ("https://host/a/b.tar?X-Amz-Signature=SE/CRET#x/y", "b.tar"),
        ("https://user:secret@host", "https"),
        ("hf:/home/alice/secret", "secret"),
        ("hf:~/secret", "secret"),
        ("hf:../clients/acme", "acme"),
        (r"hf:C:\Users\alice", "alice"),
        *((name, name) for name in ("digits", "hf:mnist", "hf:owner/name", "hf:owner/name@refs/pr/1:plain", "xception.keras_in1k")),
        ("CIFAR-10, the small JPEGs of a mirror", "CIFAR-10, the small JPEGs of a mirror"),
        ("/", ""),
    ],
)
def test_no_path_and_no_password_goes_out(tiny, given, told):
    """Of images and of the weights that training began from; none of the paths is there."""
    made = replace(read_card(tiny), provenance={"data": given, "weights": given})
    assert describe_model(made, "a")["trained_on"] == {"data": told, "weights": told}


def test_the_page_is_tested_with_a_card_of_the_same_make():
    """What the page reads of it is what servers and exported pages say."""
    split = SplitRecord(0, "0" * 64, {"train": 70, "val": 10, "test": 12}, "photos")
    whole = replace(read_card(shipped_models()["inception_small.cifar10"]), split=split)
    told, fake = describe_model(whole, "small"), card("small")
    assert fake.keys() - {"engine", "precision"} <= told.keys()
    for part in ("trained_on", "accuracy"):
        assert {key: type(value) for key, value in fake[part].items()} == {key: type(told[part][key]) for key in fake[part]}
    assert fake["trained_on"]["images"].keys() == told["trained_on"]["images"].keys()
    assert fake["confusions"][0].keys() == told["confusions"][0].keys()


@pytest.mark.parametrize("metrics", [{"test_images": 0}, {"test_images": 20}, {}])
def test_an_accuracy_that_was_not_measured_is_none_and_not_nothing(tiny, metrics):
    told = describe_model(replace(read_card(tiny), metrics=metrics), "a")
    assert told["accuracy"] is None


def test_what_is_not_known_is_none(tiny):
    told = describe_model(read_card(tiny), "a\nname")
    assert (told["name"], told["trained_on"], told["accuracy"], told["confusions"], told["licence"]) == (r"a\nname", None, None, None, None)
    assert told["class_names"] == list(CLASSES)
