"""One model or several, one crop or many, on small images, against softmaxes averaged by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data.decode import read_image
from inceptions.data.preprocess import CAFFE, INCEPTION, for_training
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation.crops import multi_crop, places_among
from inceptions.evaluation.evaluate import evaluate
from inceptions.evaluation.protocols import with_protocol
from inceptions.networks import reshape
from inceptions.networks.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

NAMES = ("ant", "bee", "cat")


def make_model(classes=NAMES, *, seed=0, size=28, **pixels):
    torch.manual_seed(seed)
    network = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.125), len(classes))
    module = Classifier(network).eval()
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return LoadedModel(module, ModelCard(network, replace(for_training(size), **pixels), classes))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    found = []
    for number in range(7):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40 + 9 * number, 70 - 5 * number, 3), dtype=np.uint8)).save(path)
        found.append(Sample(path, number % 3))
    return found


def by_hand(model, samples, crops):
    found = []
    for sample in samples:
        image, prep = read_image(sample.path), model.card.preprocess
        views = multi_crop(image, crops=crops, image_size=prep.image_size, interpolation=prep.interpolation)
        pixels = np.stack([prep.normalize(Image.fromarray(view.permute(1, 2, 0).numpy())) for view in views])
        with torch.inference_mode():
            found.append(model.module(torch.from_numpy(pixels)).softmax(1).mean(0))
    return torch.stack(found)


def test_softmaxes_are_averaged_over_crops_and_one_pass_gives_all(samples):
    model = make_model(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0), channel_order="bgr")
    found = evaluate({"m": model}, samples, NAMES, crops=(144, 1, 10, 12), batch_size=50)
    assert [row.crops for row in found.rows] == [1, 10, 12, 144]
    for row in found.rows:
        expected = by_hand(model, samples, row.crops)
        losses = -expected.log()[range(7), [sample.label for sample in samples]]
        assert row.score.losses == pytest.approx(losses.numpy(), abs=1e-4)
        assert row.score.predicted.tolist() == expected.argmax(1).tolist()


def test_fewer_crops_are_among_more(samples):
    image = read_image(samples[0].path)
    all_of_them = multi_crop(image, crops=144, image_size=28)
    for crops in (1, 10, 12):
        assert torch.equal(all_of_them[places_among(crops, 144)], multi_crop(image, crops=crops, image_size=28))


def test_models_of_other_order_size_and_pixels_are_averaged_by_class_name(samples):
    first, second = make_model(), make_model(("cat", "ant", "bee"), seed=1, size=32, mean=(0.0,) * 3, std=(255.0,) * 3)
    found = evaluate({"a": first, "b": second}, samples, NAMES, crops=(10,))
    assert [row.models for row in found.rows] == [("a",), ("b",), ("a", "b")]
    expected = (by_hand(first, samples, 10) + by_hand(second, samples, 10)[:, [1, 2, 0]]) / 2
    losses = -expected.log()[range(7), [sample.label for sample in samples]]
    assert found.rows[2].score.losses == pytest.approx(losses.numpy(), abs=1e-4)
    assert found.rows[2].multiply_adds == found.rows[0].multiply_adds + found.rows[1].multiply_adds


def test_one_crop_is_the_models_own_unless_a_protocol_is_asked_for(samples):
    model = make_model()
    for protocol in ("model", "tensorflow", "torchvision", "timm", "caffe"):
        found = evaluate({"m": model}, samples, NAMES, protocol=protocol)
        prep = with_protocol(model.card.preprocess, protocol)
        pixels = np.stack([prep(read_image(sample.path)) for sample in samples])
        with torch.inference_mode():
            expected = model.module(torch.from_numpy(pixels)).log_softmax(1)
        assert found.rows[0].score.losses == pytest.approx(-expected[range(7), [s.label for s in samples]].numpy(), abs=1e-4)
    with pytest.raises(UserError, match="for one crop"):
        evaluate({"m": model}, samples, NAMES, protocol="timm", crops=(10,))


def test_protocols_are_the_publishers():
    assert with_protocol(CAFFE, "caffe") == CAFFE
    assert with_protocol(INCEPTION, "tensorflow").resize == "central"
    assert with_protocol(INCEPTION, "torchvision").resize_size == 342
    assert with_protocol(INCEPTION, "timm").resize_size == 341
    with pytest.raises(UserError, match="did you mean torchvision"):
        with_protocol(INCEPTION, "torchvison")


def test_classes_that_one_side_does_not_have_are_said(samples):
    model = make_model(("ant", "bee", "dog"))
    found = evaluate({"m": model}, samples, NAMES)
    assert found.rows[0].score.count == 5
    assert any("2 images of cat" in note for note in found.notes)
    assert any("no images of 1 of the model's 3 classes: dog" in note for note in found.notes)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": model}, samples, ("x", "y", "z"))
    with pytest.raises(UserError, match="differ in their classes"):
        evaluate({"m": model, "n": make_model()}, samples, NAMES)


def test_background_may_be_missing_from_some(samples):
    tensorflow = make_model(("background", *NAMES))
    found = evaluate({"a": tensorflow, "b": make_model(seed=1)}, samples, NAMES)
    assert found.classes == NAMES


def test_an_unreadable_image_is_left_out_of_every_row(samples, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = evaluate({"a": make_model(), "b": make_model(seed=1)}, [*samples, Sample(tmp_path / "bad.png", 0)], NAMES, crops=(1, 10))
    for row in found.rows:
        assert row.score.count == 7
        assert [item.path for item in row.score.unreadable] == [tmp_path / "bad.png"]
