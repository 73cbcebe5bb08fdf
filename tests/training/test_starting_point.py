from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from inceptions.data.preprocess import CAFFE, IMAGENET_MEAN, IMAGENET_STD, Preprocess, for_training
from inceptions.errors import ModelFolderError, UserError, WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.spec import NetworkError, SeparableConv
from inceptions.training.finetune import (
    fit_kernels,
    fit_size,
    fit_statistics,
    network_parts,
    start_from,
)
from inceptions.weights.folder import load_model, save_model
from tests.training.trained import GOOGLENET, PAIR, RESNET, SMALL, TEN, V3, trained

# ---- what it begins with


def test_new_classes_get_a_new_classifier_on_the_old_features(saved):
    folder = saved(SMALL)
    start, old = start_from(folder, class_names=PAIR), load_model(folder).module
    x = torch.randn(2, 3, 28, 28)
    assert start.module.eval()(x).shape == (2, 2)
    assert torch.equal(start.module.forward_features(x), old.forward_features(x))
    assert start.network == start.module.network == reshape.with_classes(SMALL, 2)
    assert start.notes == ("a new classifier for 2 classes in place of 10",)


def test_the_same_classes_in_the_same_order_keep_the_classifier(saved):
    folder = saved(SMALL, classes=TEN)
    start, x = start_from(folder, class_names=TEN), torch.randn(2, 3, 28, 28)
    assert torch.equal(start.module.eval()(x), load_model(folder).module(x))
    assert start.notes == ("the classifier is kept: its 10 classes are those of the images",)


def test_the_same_classes_in_another_order_get_a_new_classifier(saved):
    folder = saved(SMALL, classes=TEN)
    start = start_from(folder, class_names=TEN[::-1])
    assert not torch.equal(start.module.state_dict()["classifier.weight"], load_model(folder).module.state_dict()["classifier.weight"])
    assert "another order" in start.notes[0]


def test_a_body_without_classes_gets_a_classifier(saved):
    start = start_from(saved(reshape.with_classes(SMALL, 0)), class_names=PAIR)
    assert start.module.eval()(torch.randn(1, 3, 28, 28)).shape == (1, 2)
    assert start.notes == ("a new classifier for 2 classes in place of none",)


def test_an_embedding_makes_room_for_the_classifier(saved):
    start = start_from(saved(reshape.with_image_size(RESNET, 80)), class_names=PAIR)
    assert start.module.eval()(torch.randn(1, 3, 80, 80)).shape == (1, 2)
    assert [part.name for part in network_parts(start.module)][:3] == ["classifier", "head", "block8_last"]


def test_the_new_classifier_is_drawn_with_the_seed_and_leaves_other_draws_alone(saved):
    folder = saved(SMALL)
    before = torch.get_rng_state()
    one, two, other = (start_from(folder, class_names=PAIR, seed=seed).module.state_dict()["classifier.weight"] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_old_card_comes_along_with_its_licence(tmp_path):
    save_model(trained(SMALL), tmp_path / "model", preprocess=for_training(28), classes=TEN, licence="CC-BY-4.0")
    assert start_from(tmp_path / "model", class_names=PAIR).card.licence == "CC-BY-4.0"


# ---- image size


def test_another_image_size_keeps_the_features(v3_75):
    start = start_from(v3_75, class_names=PAIR, image_size=107)
    x = torch.randn(1, 3, 107, 107)
    assert torch.equal(start.module.eval().forward_features(x), load_model(v3_75).module.forward_features(x))
    assert start.network.image_size == start.preprocess.image_size == 107
    assert "images of 107 pixels in place of 75" in start.notes


def test_another_image_size_cuts_the_same_part_of_the_picture():
    assert fit_size(CAFFE, image_size=112) == replace(CAFFE, image_size=112, resize_size=128)
    assert fit_size(Preprocess(299, crop_fraction=0.9), image_size=150) == Preprocess(150, crop_fraction=0.9)


def test_too_small_an_image_size_says_the_smallest(v3_75):
    with pytest.raises(NetworkError, match="75x75"):
        start_from(v3_75, class_names=PAIR, image_size=40)


# ---- auxiliary heads


@pytest.fixture(scope="module")
def with_aux(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "aux"
    network = reshape.with_classes(reshape.with_image_size(GOOGLENET, 96), 3)
    save_model(trained(network), folder, preprocess=for_training(96), classes=("a", "b", "c"))
    return folder


def test_auxiliary_heads_come_along_with_new_classifiers(with_aux):
    start, old = start_from(with_aux, class_names=PAIR, aux=True), load_model(with_aux, aux=True).module
    assert isinstance(start.module, ClassifierWithAux)
    out = start.module(torch.randn(2, 3, 96, 96))
    assert [logits.shape for logits in (out.logits, *out.aux)] == [(2, 2)] * 3
    kept = [key for key in old.state_dict() if key.startswith("aux.") and ".layers." in key]
    assert kept
    assert all(torch.equal(start.module.state_dict()[key], old.state_dict()[key]) for key in kept)


def test_kept_classes_keep_the_classifiers_of_auxiliary_heads(with_aux):
    start, old = start_from(with_aux, class_names=("a", "b", "c"), aux=True), load_model(with_aux, aux=True).module
    assert all(torch.equal(value, old.state_dict()[key]) for key, value in start.module.state_dict().items())


def test_auxiliary_heads_are_left_out_where_not_wanted_or_not_there_or_not_fitting(with_aux, v3_75):
    assert start_from(with_aux, class_names=PAIR).network.aux == ()
    absent = start_from(v3_75, class_names=PAIR, aux=True)
    assert (type(absent.module), absent.notes[-1]) == (Classifier, "without auxiliary heads: the weights have none")
    misfit = start_from(with_aux, class_names=PAIR, aux=True, image_size=64)
    assert (type(misfit.module), misfit.notes[-1]) == (Classifier, "without auxiliary heads: they don't fit images of 64 pixels")


def test_a_folder_that_lacks_the_auxiliary_heads_of_its_network_is_trained_without(tmp_path):
    save_model(Classifier(GOOGLENET), tmp_path / "model", preprocess=for_training(224))
    assert start_from(tmp_path / "model", class_names=PAIR, aux=True).notes[-1] == "without auxiliary heads: the weights have none"


def test_an_auxiliary_layer_that_depends_on_the_grid_is_made_anew(with_aux):
    start = start_from(with_aux, class_names=PAIR, aux=True, image_size=128)
    assert isinstance(start.module, ClassifierWithAux)
    assert start.notes[-1].startswith("made anew, for the image size differs: aux.4a.layers.")
    assert [logits.shape for logits in start.module(torch.randn(2, 3, 128, 128)).aux] == [(2, 2), (2, 2)]


# ---- channels


def feed(pixels, preprocess):
    """Pixels (N, C, H, W), 0 to 255, as the network reads them."""
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std))
    return (pixels - mean) / std


# relative to logits of order 1: float32 sums over some hundred layers' worth of terms in another order
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize(
    "preprocess",
    [
        for_training(75),
        Preprocess(75, mean=IMAGENET_MEAN, std=IMAGENET_STD),
        Preprocess(75, mean=(104.0, 117.0, 123.0), std=(50.0, 60.0, 70.0), channel_order="bgr"),
    ],
    ids=["one mean", "three means", "bgr"],
)
def test_a_grey_picture_in_one_channel_gives_what_it_gave_in_three(saved, preprocess):
    folder = saved(
        reshape.with_classes(reshape.with_image_size(reshape.without_aux(V3), 75), 3), preprocess=preprocess, classes=tuple("abc")
    )
    start, old = start_from(folder, class_names=tuple("abc"), channels=1), load_model(folder)
    grey = torch.randint(256, (4, 1, 75, 75)).float()
    with torch.no_grad():
        ours, theirs = start.module.eval()(feed(grey, start.preprocess)), old.module(feed(grey.expand(-1, 3, -1, -1), preprocess))
    torch.testing.assert_close(ours, theirs, **CLOSE)
    assert start.preprocess.channels == start.network.in_channels == 1


def test_a_grey_picture_gives_what_it_gave_where_the_first_convolution_pads(saved):
    folder = saved(SMALL, classes=TEN)
    start, grey = start_from(folder, class_names=TEN, channels=1), torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(start.module.eval()(grey), load_model(folder).module(grey.expand(-1, 3, -1, -1)), **CLOSE)


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
def test_a_picture_that_is_alike_in_all_channels_gives_what_it_gave_in_three(channels):
    preprocess = Preprocess(75, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3)
    state, shapes = {f"stages.1a.conv.{name}": value.detach() for name, value in conv.state_dict().items()}, {}
    shapes["stages.1a.conv.weight"] = torch.Size((8, channels, 3, 3))
    fitted = fit_kernels(state, shapes, preprocess=preprocess, channels=channels)
    mean, std = (torch.tensor(ours)[:, None, None] for ours in extended(channels))
    grey = torch.randint(256, (1, 16, 16)).float()
    ours = functional.conv2d((grey - mean) / std, fitted["stages.1a.conv.weight"], fitted["stages.1a.conv.bias"])
    torch.testing.assert_close(ours, conv(feed(grey.expand(1, 3, -1, -1), preprocess))[0], **CLOSE)


def extended(channels):
    def values(of):
        average = sum(of) / 3
        return [*of, *[average] * (channels - 3)] if channels >= 3 else [average] * channels

    return values(IMAGENET_MEAN), values(IMAGENET_STD)


def test_further_bands_get_the_average_kernel_and_colours_keep_their_place():
    torch.manual_seed(0)
    weight = torch.randn(8, 3, 3, 3)
    shapes = {"stages.1a.conv.weight": torch.Size((8, 4, 3, 3))}
    for order, expected in (("rgb", weight), ("bgr", weight.flip(1))):
        preprocess = Preprocess(75, channel_order=order)
        fitted = fit_kernels({"stages.1a.conv.weight": weight}, shapes, preprocess=preprocess, channels=4)["stages.1a.conv.weight"]
        torch.testing.assert_close(fitted[:, :3], 0.75 * expected)
        torch.testing.assert_close(fitted[:, 3], 0.75 * weight.mean(1))


def accepts_bands():
    try:
        Preprocess(28, mean=(0.0,) * 4, std=(1.0,) * 4)
    except UserError:
        return False
    return True


@pytest.mark.skipif(not accepts_bands(), reason="Preprocess takes pictures of one or three channels")
def test_four_bands_alike_give_what_three_gave(saved):
    folder = saved(SMALL, classes=TEN)
    start, grey = start_from(folder, class_names=TEN, channels=4), torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        ours = start.module.eval()(grey.expand(-1, 4, -1, -1))
        torch.testing.assert_close(ours, load_model(folder).module(grey.expand(-1, 3, -1, -1)), **CLOSE)


def test_statistics_of_one_channel_are_the_average(saved):
    grey = fit_statistics(CAFFE, channels=1)
    assert (grey.mean, grey.std, grey.channel_order) == ((pytest.approx(344 / 3),), (1.0,), "rgb")
    assert fit_statistics(CAFFE, channels=3) == CAFFE


def test_grey_weights_read_colour(saved):
    folder = saved(reshape.with_in_channels(SMALL, 1), preprocess=for_training(28, channels=1), classes=TEN)
    start, grey = start_from(folder, class_names=TEN, channels=3), torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(start.module.eval()(grey.expand(-1, 3, -1, -1)), load_model(folder).module(grey), **CLOSE)


def test_a_first_layer_that_can_not_be_fitted_is_an_error(saved):
    first = replace(SMALL.stages[0], node=SeparableConv(24, 3))
    network = reshape.declare(replace(SMALL, stages=(first, *SMALL.stages[1:])))
    with pytest.raises(WeightsError, match="can't be fitted to 1 channels"):
        start_from(saved(network), class_names=PAIR, channels=1)


def test_what_is_no_model_or_no_class_is_an_error(tmp_path, saved):
    with pytest.raises(ModelFolderError):
        start_from(tmp_path / "nothing", class_names=PAIR)
    with pytest.raises(UserError, match="class_names is empty"):
        start_from(tmp_path / "nothing", class_names=())
    folder = saved(SMALL)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelFolderError):
        start_from(folder, class_names=PAIR, aux=True)
