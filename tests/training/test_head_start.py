"""Whitened first filters, partial identities, rates of biases and lookahead, against what their papers say they are."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network
from inceptions.training.followers import Lookahead
from inceptions.training.head_start import principal_directions, start_ahead
from inceptions.training.learner import Learner
from inceptions.training.loop import prepare
from inceptions.training.optimizers import kernel_groups
from inceptions.training.processes import Processes
from inceptions.training.recipe import Recipe


@pytest.fixture
def images():
    """Images whose pixels depend on each other, as those of photos do."""
    torch.manual_seed(0)
    return nn.functional.avg_pool2d(torch.randn(40, 3, 34, 34), 3, stride=1) @ torch.randn(32, 32) / 6


def test_patches_have_variance_1_along_each_direction_and_no_covariance(images):
    filters = principal_directions(images, (3, 3))
    answers = nn.functional.conv2d(images, filters).transpose(0, 1).flatten(1)
    covariance = answers @ answers.T / answers.shape[1]
    variance = covariance.diagonal()
    assert torch.allclose(covariance, torch.diag(variance), atol=2e-3)
    assert (variance[:9] > 0.95).all()  # epsilon holds down the faintest
    assert (variance < 1.001).all()


def test_first_filters_are_directions_with_their_negatives_and_the_rest_hand_on(images):
    module = create_model("inception_small")
    start_ahead(module, images)
    first, *others = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    assert torch.equal(first.weight[:27], principal_directions(images, (3, 3)))
    assert torch.equal(first.weight[27:54], -first.weight[:27])
    assert not first.weight.requires_grad
    for layer in others:
        values = torch.rand(1, layer.in_channels, 5, 5)
        handed = nn.functional.conv2d(values, layer.weight, padding=layer.kernel_size[0] // 2)
        count = min(layer.in_channels, layer.out_channels)
        assert torch.allclose(handed[:, :count], values[:, :count], atol=1e-6)


def test_fewer_filters_take_the_strongest_directions(images):
    module = nn.Sequential(nn.Conv2d(3, 16, 3))
    start_ahead(module, images)
    assert torch.equal(module[0].weight, principal_directions(images, (3, 3))[:16])


def test_lookahead_goes_back_by_the_formula_of_the_paper():
    weight = nn.Parameter(torch.zeros(1))
    lookahead, slow = Lookahead([weight], steps=20), 0.0
    for step in range(1, 41):
        with torch.no_grad():
            weight += 1
        before = weight.item()
        lookahead.follow(step)
        if step % 5 == 0:
            kept = 0.95**5 * min(1, step / 20) ** 3  # beyond the last step it is that of the last
            slow = kept * slow + (1 - kept) * before
            assert weight.item() == pytest.approx(slow)
        else:
            assert weight.item() == before


def test_biases_of_batch_normalisation_have_their_own_rate():
    module = create_model("inception_small")
    kernels, others, biases = kernel_groups(module, weight_decay=0.1, lr=0.5, bias_lr=16)
    assert biases["lr"] == 8
    assert {id(p) for p in biases["params"]} == {id(m.bias) for m in module.modules() if isinstance(m, nn.BatchNorm2d)}
    assert sum(len(group["params"]) for group in (kernels, others, biases)) == len(list(module.parameters()))


RECIPE = Recipe(epochs=2, batch_size=16, whiten=True, lookahead=True, bias_lr=4)


def test_first_filters_stay_as_a_network_trains_and_the_state_comes_back(pictures):
    setup = prepare(get_network("inception_small"), load_splits(pictures), RECIPE, source=str(pictures))
    learner = Learner(setup, Processes(), steps_per_epoch=4)
    learner.begin_epoch(1)
    before = learner.module.state_dict()["stages.conv1.conv.weight"].clone()
    for batch in image_loader(ImageDataset(setup.splits.train, setup.preprocess), batch_size=20, shuffle=False, workers=0):
        learner.learn(batch)
    assert torch.equal(learner.module.state_dict()["stages.conv1.conv.weight"], before)
    other = Learner(replace(setup, recipe=replace(RECIPE, seed=5)), Processes(), steps_per_epoch=4)
    other.load_state_dict(learner.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other.lookahead.slow, learner.lookahead.slow, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(other.module.parameters(), learner.module.parameters(), strict=True))


@pytest.mark.parametrize("change", [{"whiten": True}, {"lookahead": True}, {"bias_lr": 2.0}])
def test_asynchronous_training_refuses_what_it_does_not_do(pictures, change):
    with pytest.raises(UserError, match=next(iter(change))):
        prepare(get_network("inception_small"), load_splits(pictures), Recipe(asynchronous=2, **change), source=str(pictures))
