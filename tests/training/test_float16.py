"""Training in float16: losses are scaled, and a step whose gradients are infinite is passed over. On the CPU, which has all of it."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.devices import pick_precision
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.followers import Lookahead
from inceptions.training.gradients import PASSED_OVER, Gradients, Loss, LossScale
from inceptions.training.learner import Learner
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.processes import Processes
from inceptions.training.recipe import Average
from inceptions.training.recipes import QUICK
from inceptions.training.setup import make_module, restore

TINY = reshape.scale_width(get_network("inception_small"), 0.125)
RECIPE = replace(QUICK, batch_size=20, precision="float16", average=Average(decay=0.5), lookahead=True)


@pytest.fixture
def setup(pictures):
    return prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), image_size=16, device="cpu")


def begun(setup, *, scale=None):
    learner = Learner(setup, Processes(), steps_per_epoch=3)
    learner.begin_epoch(1)
    if scale is not None:
        learner.scale.load_state_dict({**learner.scale.state_dict(), "scale": scale})
    return learner


def batches(setup):
    dataset = ImageDataset(setup.splits.train, setup.preprocess)
    return list(image_loader(dataset, batch_size=3, shuffle=False, workers=0))[:3]  # few: CPUs without float16 take long


def copies(tensors):
    return [tensor.detach().clone() for tensor in tensors]


def same(tensors, others):
    return all(torch.equal(one, other) for one, other in zip(tensors, others, strict=True))


def test_a_step_whose_gradients_are_infinite_is_passed_over_and_the_next_scale_is_half(setup):
    """2^100 times a loss is beyond float16 in all of its gradients; the loss itself is a number, and no error."""
    learner = begun(setup, scale=2.0**100)
    learner.step = Lookahead.EVERY - 1  # behind the next step, weights go back to the slow copy
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter.add_(0.01)
    weights, statistics = copies(learner.module.parameters()), copies(learner.module.buffers())
    slow, factor = copies(learner.lookahead.slow), learner.lr_factor()
    done = learner.learn(batches(setup)[0])
    assert 0 < done.loss < 10
    assert same(weights, learner.module.parameters())
    assert same(slow, learner.lookahead.slow)
    assert not same(statistics, learner.module.buffers())  # images have been seen
    assert not learner.optimizer.state
    assert (learner.step, learner.average.n_averaged.item()) == (Lookahead.EVERY - 1, 0)
    assert learner.lr == setup.peak_lr * factor  # which is that of the next step
    assert learner.lr_factor() == factor
    assert learner.scale.scaler.get_scale() == 2.0**99
    learner.scale.load_state_dict({**learner.scale.state_dict(), "scale": 1.0})
    learner.learn(batches(setup)[1])
    assert not same(weights, learner.module.parameters())
    assert not same(slow, learner.lookahead.slow)
    assert (learner.step, learner.average.n_averaged.item(), learner.scale.passed_over) == (Lookahead.EVERY, 1, 0)
    assert learner.lr == setup.peak_lr * factor


def test_a_loss_that_is_no_number_ends_the_run_at_once_whatever_the_scale(setup, tmp_path, monkeypatch):
    def spoilt(setup):
        module = make_module(setup)
        nn.init.constant_(module.classifier.weight, torch.nan)
        return module

    monkeypatch.setattr("inceptions.training.learner.make_module", spoilt)
    recipe = replace(setup.recipe, batch_size=4)
    with pytest.raises(UserError, match=r"the loss is nan at epoch 1, step 1 .*; train with precision=float32, or a lower lr"):
        fit(replace(setup, recipe=recipe), tmp_path / "run", pace=Pace(workers=0))


def test_gradients_that_are_never_numbers_end_the_run_though_the_loss_is_one(setup):
    learner, (batch, *_) = begun(setup), batches(setup)
    learner.module.stages.requires_grad_(False)  # the way back through them takes CPUs long
    learner.module.classifier.weight.register_hook(lambda gradient: gradient * torch.inf)
    for _ in range(PASSED_OVER - 1):
        assert 0 < learner.learn(batch).loss < 10
    with pytest.raises(UserError, match="gradients are no numbers in float16"):
        learner.learn(batch)
    assert learner.scale.scaler.get_scale() == 2.0 ** (16 - PASSED_OVER)
    assert learner.step == 0


def gradient_of_two_layers(*, total, autocast=torch.float16, is_scaled=True, clip_norm=None):
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    scale = LossScale(torch.optim.SGD(model.parameters(), lr=1.0), torch.device("cpu")) if is_scaled else None
    assert Gradients(Loss(), autocast, clip_norm, scale).compute(model, [(images, labels, labels)], total=total).is_finite
    return model[0].weight.grad, nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()]).item()


def test_gradients_too_small_for_float16_arrive():
    """The way back between the layers is in float16, whose least number is 6e-8: unscaled, the first layer gets nothing."""
    expected, _ = gradient_of_two_layers(total=4e8, autocast=None, is_scaled=False)  # as if there were many other images
    vanished, _ = gradient_of_two_layers(total=4e8, is_scaled=False)
    assert (expected.any().item(), vanished.any().item()) == (True, False)
    torch.testing.assert_close(gradient_of_two_layers(total=4e8)[0], expected, rtol=1e-2, atol=1e-11)  # float16 has three digits


def test_gradients_are_clipped_to_the_norm_that_they_have_unscaled():
    _, norm = gradient_of_two_layers(total=4)
    assert norm > 0.2
    assert gradient_of_two_layers(total=4, clip_norm=0.1)[1] == pytest.approx(0.1, rel=1e-4)
    assert gradient_of_two_layers(total=4, clip_norm=10.0)[1] == norm


def test_the_scale_comes_back_and_the_next_step_is_the_same_to_the_bit(setup):
    learner = begun(setup, scale=2.0**100)
    first, second, third = batches(setup)
    learner.learn(first)
    learner.scale.load_state_dict({**learner.scale.state_dict(), "scale": 256.0})
    learner.learn(second)
    other = begun(setup)
    other.load_state_dict(deepcopy(learner.state_dict()))
    assert other.scale.state_dict() == learner.scale.state_dict() == {**other.scale.state_dict(), "scale": 256.0, "_growth_tracker": 1}
    before = copies(learner.module.parameters())
    results = [each.learn(third) for each in (learner, other)]
    assert results[0] == results[1]
    assert same(learner.module.parameters(), other.module.parameters())
    assert not same(before, other.module.parameters())


def test_gradients_that_no_scale_helps_end_the_run_with_what_to_do():
    scale = LossScale(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0), torch.device("cpu"))
    for _ in range(PASSED_OVER - 1):
        scale.note(False)
    scale.note(True)
    for _ in range(PASSED_OVER - 1):
        scale.note(False)
    with pytest.raises(UserError, match=f"no numbers in float16, {PASSED_OVER} steps in a row; train with precision=float32"):
        scale.note(False)


def test_a_run_in_another_arithmetic_has_no_scale(pictures):
    setup = prepare(TINY, load_splits(pictures), replace(RECIPE, precision="float32"), source="x", image_size=16, device="cpu")
    assert Learner(setup, Processes(), steps_per_epoch=3).scale is None


@pytest.mark.parametrize(
    ("has_bfloat16", "capability", "expected"),
    [(True, (8, 0), torch.bfloat16), (False, (7, 5), torch.float16), (False, (7, 0), torch.float16), (False, (6, 1), None)],
    ids=["A100", "T4", "V100", "GTX 1080"],
)
def test_auto_is_what_the_card_is_fast_in(has_bfloat16, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_precision("auto", torch.device("cuda")) is expected
    assert pick_precision("float16", torch.device("cuda")) is torch.float16


def test_auto_leaves_networks_that_nothing_keeps_in_range_in_float32(pictures, monkeypatch):
    monkeypatch.setattr("inceptions.devices._has_fast_bfloat16", lambda device: False)
    monkeypatch.setattr("inceptions.devices._has_tensor_cores", lambda device: True)
    bare = reshape.without_batch_norm(TINY)
    for network, precision, expected in (*((TINY, "auto", torch.float16), (bare, "auto", None), (bare, "float16", torch.float16)),):
        recipe = replace(RECIPE, precision=precision)
        setup = prepare(network, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
        assert setup.autocast is restore(setup.to_dict()).autocast is expected
    setup = prepare(TINY, load_splits(pictures), replace(QUICK, asynchronous=2), source=str(pictures), image_size=16, device="cpu")
    assert setup.autocast is None


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, torch.bfloat16), ({"avx512_fp16": True}, None)],
)
def test_auto_is_float32_on_a_cpu_without_bfloat16(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_precision("auto", torch.device("cpu")) is expected


def test_who_asks_for_float16_on_a_cpu_is_told_what_it_takes(pictures, caplog):
    for recipe, told in ((replace(RECIPE, precision="auto"), 0), (RECIPE, 1)):
        prepare(TINY, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
        assert caplog.text.count("float16 on a CPU may take a hundred times as long") == told


@pytest.mark.parametrize("changes", [{"precision": "float16"}, {"compile": "default"}])
def test_asynchronous_training_knows_neither_float16_nor_the_compiler(changes, pictures):
    with pytest.raises(UserError, match=r"asynchronous training knows no (precision=float16|compile); leave it out"):
        prepare(TINY, load_splits(pictures), replace(QUICK, asynchronous=2, **changes), source="x", image_size=16, device="cpu")
