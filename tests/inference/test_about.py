"""What is said of a model: what its card knows, and nothing that it doesn't."""

from dataclasses import replace

from inceptions.data.splits import SplitRecord
from inceptions.inference.about import describe_model
from inceptions.weights.card import read_card
from inceptions.weights.shipped import shipped_models
from tests.tiny import CLASSES


def test_the_shipped_model_tells_its_training_its_error_and_its_mistakes():
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


def test_it_is_not_told_where_images_and_weights_lay(tiny):
    split = SplitRecord(0, "0" * 64, {"train": 70, "val": 10, "test": 12}, "/home/somebody/photos")
    made = {"data": "/home/somebody/photos", "recipe": "quick", "weights": "runs/old/best"}
    measured = {"val_accuracy": 0.5, "val_images": 12}
    card = replace(read_card(tiny), provenance=made, split=split, metrics=measured, confusions=(("blue\n", "green", 2),))
    told = describe_model(card, "run")
    images = {"train": 70, "val": 10, "test": 12}
    assert told["trained_on"] == {"data": "photos", "recipe": "quick", "weights": "runs-old-best", "images": images}
    assert told["confusions"] == [{"truth": r"blue\n", "predicted": "green", "count": 2}]
    assert (told["accuracy"]["value"], told["accuracy"]["part"]) == (0.5, "val")
    assert "somebody" not in repr(told)


def test_what_is_not_known_is_none(tiny):
    told = describe_model(read_card(tiny), "a\nname")
    assert (told["name"], told["trained_on"], told["accuracy"], told["confusions"], told["licence"]) == (r"a\nname", None, None, None, None)
    assert told["class_names"] == list(CLASSES)
