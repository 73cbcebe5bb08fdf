from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, training_module
from inceptions.training.finetune import (
    Finetune,
    network_parts,
    parameter_groups,
    set_trainable,
    start_from,
)
from tests.training.trained import PAIR, RESNET, SMALL, V3

pytestmark = pytest.mark.usefixtures("plain_report")

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
    module = training_module(network)
    groups = parameter_groups(module, 1.0, weight_decay=0.1, lr=1.0)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters())
    assert all(0.1 * (p.ndim > 1) == group["weight_decay"] for group in groups for p in group["params"])


def test_each_part_has_the_decayed_rate_of_the_part_above():
    module = Classifier(reshape.without_aux(V3))
    parts = [part.name for part in network_parts(module)]
    assert parts[:3] == ["classifier", "7c", "7b"]
    with_weights = {name for name, stage in module.stages.named_children() if any(True for _ in stage.parameters())}
    assert set(parts) == {"classifier", *with_weights}  # pools are no step of the decay
    groups = parameter_groups(module, 0.5, weight_decay=0.1, lr=2.0)
    assert list(dict.fromkeys(group["lr"] for group in groups)) == [2 * 0.5**depth for depth in range(len(parts))]


def test_biases_of_batch_normalisation_have_their_multiple_of_the_rate_of_their_part():
    module = Classifier(SMALL)
    groups = parameter_groups(module, 0.5, weight_decay=0.1, lr=2.0, bias_lr=16)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for depth, part in enumerate(network_parts(module)):
        for layer in (layer for top in part.modules for layer in top.modules()):
            for name, parameter in layer.named_parameters(recurse=False):
                is_its_bias = isinstance(layer, nn.BatchNorm2d) and name == "bias"
                assert rates[id(parameter)] == 2 * 0.5**depth * (16 if is_its_bias else 1)
    assert groups[0]["lr"] == 2  # by which the learning rate is told


def test_groups_drive_an_optimizer():
    module = Classifier(SMALL)
    groups = parameter_groups(module, 0.5, weight_decay=1e-4, lr=0.1)
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
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
