from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from inceptions.data.preprocess import CAFFE, IMAGENET_MEAN, IMAGENET_STD, Preprocess, for_training
from inceptions.errors import ModelFolderError, UserError, WeightsError
from inceptions.networks import reshape
from inceptions.networks.models import Classifier, ClassifierWithAux
from inceptions.networks.registry import get_network
from inceptions.networks.spec import NetworkError, SeparableConv
from inceptions.training.finetune import (
    Finetune,
    fit_kernels,
    fit_size,
    fit_statistics,
    network_parts,
    parameter_groups,
    set_trainable,
    start_from,
)
from inceptions.weights.folder import load_model, save_model

SMALL = reshape.scale_width(get_network("inception_small"), 0.25)  # 11 stages with weights, 28 pixels, the first convolution pads
V3 = reshape.scale_width(get_network("inception_v3"), 0.125)  # the first convolution is VALID
GOOGLENET = reshape.scale_width(get_network("googlenet"), 0.125)  # auxiliary heads with layers that depend on the grid, from 80 pixels
RESNET = reshape.scale_width(get_network("inception_resnet_v1_facenet"), 0.125)  # its head has a layer with weights
PAIR = ("ant", "bee")
TEN = tuple("abcdefghij")


def trained(network):
    """The network as if it had been trained: its statistics of batch normalisation are of pictures."""
    torch.manual_seed(5)
    module = ClassifierWithAux(network) if network.aux and network.classes else Classifier(network)
    size = network.image_size
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, network.in_channels, size, size))
    return module


@pytest.fixture
def saved(tmp_path):
    def save(network, *, preprocess=None, classes=None):
        module = trained(network)
        classes = tuple(str(n) for n in range(network.classes)) if classes is None else classes
        save_model(module, tmp_path / "model", preprocess=preprocess or for_training(network.image_size), classes=classes)
        return tmp_path / "model"

    return save


@pytest.fixture(scope="module")
def v3_75(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "v3"
    network = reshape.with_classes(reshape.with_image_size(reshape.without_aux(V3), 75), 3)
    save_model(trained(network), folder, preprocess=for_training(75), classes=("a", "b", "c"))
    return folder


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


# ---- what trains


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("freeze_epochs", -1),
        ("freeze_epochs", 1.5),
        ("unfreeze_per_epoch", True),
        ("head_only", 1),
        ("layer_decay", 0),
        ("layer_decay", 1.1),
        ("layer_decay", float("nan")),
        ("layer_decay", "0.9"),
        ("batch_norm", "eval"),
    ],
)
def test_a_wrong_setting_is_an_error_that_names_it(setting, value):
    with pytest.raises(UserError, match=f"{setting} is .*; it must be"):
        Finetune(**{setting: value})


@pytest.mark.parametrize("other", [{"freeze_epochs": 1}, {"unfreeze_per_epoch": 1}, {"layer_decay": 0.9}])
def test_head_only_and_what_opens_the_body_exclude_each_other(other):
    with pytest.raises(UserError, match="leave out one of the two"):
        Finetune(head_only=True, **other)


@pytest.mark.parametrize(
    ("finetune", "open_parts"),
    [
        #                                                   epoch 1  2   3   4   5
        (Finetune(), [12, 12, 12, 12, 12]),
        (Finetune(freeze_epochs=2), [1, 1, 12, 12, 12]),
        (Finetune(unfreeze_per_epoch=1), [2, 3, 4, 5, 6]),
        (Finetune(freeze_epochs=2, unfreeze_per_epoch=4), [1, 1, 5, 9, 12]),
        (Finetune(head_only=True), [1, 1, 1, 1, 1]),
    ],
)
def test_parts_open_from_the_top_as_the_schedule_says(finetune, open_parts):
    module = Classifier(SMALL)
    names = ["classifier", *(stage.name for stage in reversed(SMALL.stages))]
    for epoch, count in enumerate(open_parts, start=1):
        assert list(set_trainable(module, finetune, epoch=epoch)) == names[:count]
        for part in network_parts(module):
            parameters = [p for layer in part.modules for p in layer.parameters()]
            assert {p.requires_grad for p in parameters} == {part.name in names[:count]}


@pytest.mark.parametrize(("mode", "training"), [("frozen", False), ("train", True)])
def test_open_parts_keep_or_follow_the_statistics(mode, training):
    module = Classifier(SMALL)
    set_trainable(module, Finetune(unfreeze_per_epoch=1, batch_norm=mode), epoch=1)
    norms = {name: layer.training for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert {value for name, value in norms.items() if name.startswith("stages.4b.")} == {training}
    assert {value for name, value in norms.items() if not name.startswith("stages.4b.")} == {False}


def test_dropout_before_the_classifier_works_on_a_frozen_body():
    module = Classifier(reshape.with_drop_rate(SMALL, 0.5))
    set_trainable(module, Finetune(head_only=True), epoch=1)
    assert [layer.training for layer in module.modules() if isinstance(layer, nn.Dropout)] == [True]


@pytest.mark.parametrize("network", [SMALL, V3, RESNET])
def test_groups_hold_every_parameter_once_and_decay_kernels_alone(network):
    network = reshape.with_classes(network, 3)
    module = ClassifierWithAux(network) if network.aux else Classifier(network)
    groups = parameter_groups(module, Finetune())
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters())
    assert all((p.ndim > 1) == group["decay"] for group in groups for p in group["params"])


def test_each_part_has_the_decayed_rate_of_the_part_above():
    groups = parameter_groups(Classifier(reshape.without_aux(V3)), Finetune(layer_decay=0.5))
    scales = {group["stage"]: group["lr_scale"] for group in groups}
    assert list(scales)[:3] == ["classifier", "7c", "7b"]
    assert list(scales.values()) == [0.5**depth for depth in range(len(scales))]
    with_weights = {name for name, stage in Classifier(V3).stages.named_children() if any(True for _ in stage.parameters())}
    assert set(scales) == {"classifier", *with_weights}  # pools are no step of the decay


def test_groups_drive_an_optimizer():
    module = Classifier(SMALL)
    groups = parameter_groups(module, Finetune(layer_decay=0.5))
    settings = [{**group, "lr": 0.1 * group["lr_scale"], "weight_decay": 1e-4 * group["decay"]} for group in groups]
    optimizer = torch.optim.SGD(settings, lr=0.1, momentum=0.9)
    set_trainable(module, Finetune(head_only=True), epoch=1)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    step(module, optimizer, torch.randn(4, 3, 28, 28), torch.tensor([0, 1, 2, 3]))
    changed = {key.split(".")[0] for key, value in module.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"classifier"}


# ---- the trap of frozen batch normalisation: keras#9214, keras#10045


def step(module, optimizer, images, labels):
    loss = functional.cross_entropy(module(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def two_classes():
    """Pictures unlike those that the weights have seen: darker and of less contrast, told apart by a faint tint."""
    torch.manual_seed(1)
    labels = torch.arange(32) % 2
    images = 0.3 * torch.randn(32, 3, 28, 28) - 2.0
    images[:, 0] += 0.3 * labels[:, None, None]
    return images, labels


def accuracy(module, images, labels):
    with torch.no_grad():
        return (module(images).argmax(1) == labels).float().mean().item()


def train(module, images, labels, *, prepare, epochs=60):
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5, momentum=0.9)
    for epoch in range(1, epochs + 1):
        prepare(epoch)
        step(module, optimizer, images, labels)


def test_a_frozen_body_gives_the_same_in_training_and_in_evaluation(saved):
    module, finetune = start_from(saved(SMALL), class_names=PAIR).module, Finetune(head_only=True)
    images, labels = two_classes()
    before = module.eval().forward_features(images)
    set_trainable(module, finetune, epoch=1)
    train(module, images, labels, prepare=lambda epoch: (module.train(), set_trainable(module, finetune, epoch=epoch)))
    in_training, fit = module.forward_features(images), accuracy(module, images, labels)
    module.eval()
    assert torch.equal(in_training, before)
    assert torch.equal(module.forward_features(images), before)
    assert accuracy(module, images, labels) == fit > 0.9


def test_freezing_weights_alone_falls_into_the_trap(saved):
    module = start_from(saved(SMALL), class_names=PAIR).module
    images, labels = two_classes()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0  # as Keras had it: normalised by the batch, the old statistics kept
    module.stages.requires_grad_(False)
    train(module, images, labels, prepare=lambda epoch: module.train())
    fit = accuracy(module, images, labels)
    assert fit > 0.9
    assert accuracy(module.eval(), images, labels) < 0.6


def test_statistics_follow_the_new_images_where_they_are_to(saved):
    module, finetune = start_from(saved(SMALL), class_names=PAIR).module, Finetune(batch_norm="train")
    images, labels = two_classes()
    mean = module.state_dict()["stages.conv1.bn.running_mean"].clone()
    train(module, images, labels, prepare=lambda epoch: set_trainable(module, finetune, epoch=epoch), epochs=2)
    assert not torch.equal(module.state_dict()["stages.conv1.bn.running_mean"], mean)


def test_frozen_statistics_stay_while_their_part_trains(saved):
    module, finetune = start_from(saved(SMALL), class_names=PAIR).module, Finetune(batch_norm="frozen")
    images, labels = two_classes()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    train(module, images, labels, prepare=lambda epoch: set_trainable(module, finetune, epoch=epoch), epochs=2)
    after = module.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in after if "running" in key or "tracked" in key)
    assert not torch.equal(after["stages.conv1.bn.weight"], before["stages.conv1.bn.weight"])
