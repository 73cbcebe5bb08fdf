"""What a step asks of a device: how many operations, what the host waits for, and what is compiled."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.loop import prepare
from inceptions.training.processes import Processes
from inceptions.training.recipe import AdamW, Average, Muon, RMSProp, Sgd
from inceptions.training.recipes import QUICK
from inceptions.training.schedules import lr_factor

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
RECIPE = replace(QUICK, batch_size=20, precision="float32", average=Average(), lookahead=True)
READ = "aten::_local_scalar_dense"


def begun(pictures, recipe=RECIPE, *, device="cpu", network=TINY):
    """A learner and the batches of an epoch."""
    setup = prepare(network, load_splits(pictures), recipe, source=str(pictures), image_size=16, device=device)
    learner = Learner(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
    learner.begin_epoch(1)
    dataset = ImageDataset(setup.splits.train, setup.preprocess)
    return learner, list(image_loader(dataset, batch_size=20, shuffle=False, even=True, workers=0))


@pytest.mark.parametrize(("optimizer", "operation"), [(Sgd(nesterov=True), "aten::_fused_sgd_"), (AdamW(), "aten::_fused_adamw_")])
def test_a_fused_step_is_one_operation_for_each_group(optimizer, operation, pictures):
    learner, (first, second, _) = begun(pictures, replace(RECIPE, optimizer=optimizer))
    learner.learn(first)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        learner.learn(second)
    assert Counter(event.name for event in profiled.events())[operation] == len(learner.optimizer.param_groups) == 2


def test_a_step_reads_one_number_beside_its_result_and_that_lies_on_the_host(pictures):
    """It is the average's count of steps; the result is read by a copy, which the CPU does not count."""
    learner, (first, second, _) = begun(pictures, replace(RECIPE, optimizer=RMSProp()))
    learner.learn(first)
    assert learner.average.n_averaged.device.type == "cpu"
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        learner.learn(second)
    assert Counter(event.name for event in profiled.events())[READ] == 1


def test_gradients_lie_in_memory_as_their_kernels_do(pictures):
    """torch's fused kernels for CPUs take that for granted, and would mix the numbers up."""
    learner, (batch, *_) = begun(pictures)
    learner.learn(batch)
    kernels = [p for p in learner.module.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    for tensors in (kernels, [p.grad for p in kernels], [learner.optimizer.state[p]["momentum_buffer"] for p in kernels]):
        assert tensors
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA")
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("changes", [{}, {"class_weights": "balanced"}, {"mixup": 0.2, "cutmix": 1.0}], ids=["plain", "weighed", "mixed"])
@pytest.mark.parametrize("optimizer", [Sgd(nesterov=True), RMSProp(), AdamW(), Muon()], ids=lambda optimizer: optimizer.kind)
def test_the_host_waits_for_the_card_once_a_step(optimizer, changes, precision, pictures):
    """That is for the loss, as it is read; a copy from memory that isn't pinned would be another."""
    recipe = replace(RECIPE, optimizer=optimizer, precision=precision, **changes)
    learner, (first, second, third) = begun(pictures, recipe, device="cuda")
    for batch in (first, second):  # which bring over what stays there
        learner.learn(batch)
    third = third._replace(pixels=third.pixels.pin_memory(), labels=third.labels.pin_memory())
    with pytest.warns(UserWarning, match="synchronizing CUDA operation") as told:  # beside them, that this mode is a prototype
        torch.cuda.set_sync_debug_mode("warn")
        try:
            learner.learn(third)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(warning.message) for warning in told if "synchronizing CUDA operation" in str(warning.message)]
    assert len(waits) == 1, waits


def test_the_learning_rate_that_is_told_is_the_recipes_whatever_multiples_groups_have(pictures):
    recipe = replace(RECIPE, optimizer=Muon(rest_lr=10.0), lr=0.05, layer_decay=0.9)  # whose first group is the classifier
    learner, (batch, *_) = begun(pictures, recipe)
    learner.learn(batch)
    assert learner.optimizer.param_groups[0]["lr"] > learner.lr
    assert learner.lr == pytest.approx(0.05 * lr_factor(recipe.schedule, 0, steps_per_epoch=3, epochs=recipe.epochs))
