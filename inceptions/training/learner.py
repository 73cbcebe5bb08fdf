"""One network as it learns: enters batches, leaves better weights. Module, optimiser, learning rate, average and chance, as one state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inceptions.data.dataset import Batch, ImageDataset, image_loader
from inceptions.devices import prefer_speed
from inceptions.training.compiled import Compiled
from inceptions.training.features import FeatureBatch
from inceptions.training.finetune import parameter_groups, set_trainable
from inceptions.training.followers import Lookahead, make_average
from inceptions.training.gradients import Gradients, Loss, LossScale, balanced_weights, split
from inceptions.training.head_start import IMAGES, start_ahead
from inceptions.training.optimizers import kernel_groups, make_optimizer
from inceptions.training.processes import Processes
from inceptions.training.schedules import lr_factor, statistics_share
from inceptions.training.setup import Setup, make_module
from inceptions.training.side_by_side import can_gain

if TYPE_CHECKING:
    from torchvision.transforms import v2  # which takes two seconds to import


class StepResult(NamedTuple):
    """How a step went, over all processes: mean loss, how many images were right, and how many there were."""

    loss: float
    right: int
    images: int


class Learner:
    """A network, and everything that changes as it trains. step: optimiser steps done."""

    def __init__(self, setup: Setup, processes: Processes, *, steps_per_epoch: int) -> None:
        recipe = setup.recipe
        torch.manual_seed(recipe.seed)
        self.setup, self.processes, self.steps_per_epoch, self.step = setup, processes, steps_per_epoch, 0
        self.module = make_module(setup)
        if recipe.whiten:
            start_ahead(self.module, _some_images(setup))
        self.optimizer = make_optimizer(recipe.optimizer, self._groups(), lr=setup.peak_lr, fused_on=setup.device)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.average = make_average(self.module, recipe.average) if recipe.average else None
        self.lookahead = Lookahead(self.module.parameters(), steps=steps_per_epoch * recipe.epochs) if recipe.lookahead else None
        if recipe.sync_bn:  # after the optimizer, whose groups go by the kind of layer
            processes.share_batch_norm(self.module, setup.device)
        # statistics that nobody has measured yet move faster at first; those of trained weights are measured
        norms = [] if setup.weights else [layer for layer in self.module.modules() if isinstance(layer, _BatchNorm)]
        self.fresh = [(layer, layer.momentum) for layer in norms if layer.momentum is not None]
        self.compiled = Compiled(self.module, recipe.compile, [layer for layer, _ in self.fresh]) if recipe.compile != "none" else None
        prefer_speed(setup.device)
        self.whole: nn.Module = self.compiled or self.module
        self.model = self.whole
        self.scale = LossScale(self.optimizer, setup.device) if setup.autocast is torch.float16 else None
        beside = self.compiled is None and can_gain(setup.device, setup.autocast)
        self.gradients = Gradients(make_loss(setup), setup.autocast, recipe.clip_norm, self.scale, side_by_side=beside)
        self.mixing = _mixing(setup)
        if processes.world > 1:  # the same weights everywhere, but not the same dropout
            torch.manual_seed(recipe.seed * processes.world + processes.rank)

    def begin_epoch(self, epoch: int) -> None:
        """Put the network in training mode, or those parts of it that train in `epoch`, counted from 1."""
        finetune = self.setup.recipe.finetune
        if finetune is None:
            self.module.train()
        else:
            set_trainable(self.module, finetune, epoch=epoch)
        if finetune is not None or self.model is self.whole:
            self.model = self.processes.wrap(self.whole)

    def learn_from_features(self, head: nn.Module) -> None:
        """Until the next epoch begins, take batches for what `head` reads, which is the end of the network and all of it that trains."""
        self.model = self.processes.wrap(head)

    def learn(self, batch: Batch | FeatureBatch) -> StepResult:
        """Take one step on a batch, of which each process has its share; return how it went over all of them.

        A share of fewer than two images counts as none, for batch normalisation can't learn from one. A loss that
        is no number moves nothing.
        """
        device, recipe, processes = self.setup.device, self.setup.recipe, self.processes
        count = len(batch.labels) if len(batch.labels) > 1 else 0
        images, labels = batch.images(device, count=count), batch.labels[:count]
        targets = labels.to(device, non_blocking=True)
        if self.mixing is not None and count:
            images, targets = self.mixing(images, targets)
        total, seen = processes.sum([self.gradients.loss.weight(labels if targets.ndim == 1 else targets), count])
        if not seen:
            return StepResult(0.0, 0, 0)
        self._pace_statistics()
        parts = split(images, targets, labels, count=recipe.accumulate, pad=processes.world > 1)
        self.optimizer.zero_grad()
        done = self.gradients.compute(self.model, parts, total=total, world=processes.world)
        loss, right = processes.sum([done.loss, done.right])
        if math.isfinite(loss):
            self._move(is_passed_over=not done.is_finite)
        return StepResult(loss, int(right), int(seen))

    def _pace_statistics(self) -> None:
        if self.compiled is not None:
            self.compiled.share = statistics_share(self.fresh[0][1], self.step) if self.fresh else 1.0
            return
        for layer, momentum in self.fresh:
            layer.momentum = statistics_share(momentum, self.step)

    def _move(self, *, is_passed_over: bool) -> None:
        """Take the step; of one that is passed over, nothing stays but the statistics of batch normalisation and the lower scale.

        Learning rate, lookahead and average go by the steps that moved the weights: these alone are counted.
        """
        factor = self.lr_factor()
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        if self.scale is not None:
            self.scale.note(not is_passed_over)
        if is_passed_over:
            return
        self.optimizer.step()
        self.step += 1
        if self.lookahead is not None:
            self.lookahead.follow(self.step)
        if self.average is not None:
            self.average.update_parameters(self.module)

    def lr_factor(self) -> float:
        """Return the factor on the peak learning rate of the step to come."""
        recipe = self.setup.recipe
        return lr_factor(recipe.schedule, self.step, steps_per_epoch=self.steps_per_epoch, epochs=recipe.epochs)

    @property
    def lr(self) -> float:
        """The learning rate of the last step: that which groups have in multiples, of `bias_lr`, `layer_decay` and the optimiser's own."""
        return self.setup.peak_lr * (self.optimizer.param_groups[0]["lr"] / self.peaks[0])

    @property
    def kept(self) -> nn.Module:
        """The module that is validated and saved: the running average where there is one."""
        return self.average.module if self.average is not None else self.module

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on; with several processes, call it in all of them."""
        chance = {"cpu": torch.get_rng_state()}
        if self.setup.device.type == "cuda":
            chance["cuda"] = torch.cuda.get_rng_state(self.setup.device)
        return {
            "step": self.step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "lookahead": self.lookahead.state_dict() if self.lookahead is not None else None,
            "scale": self.scale.state_dict() if self.scale is not None else None,
            "chance": self.processes.gather(chance),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` gave; with another number of processes, dropout draws anew."""
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.lookahead is not None:
            self.lookahead.load_state_dict(state["lookahead"])
        if self.scale is not None and state.get("scale") is not None:
            self.scale.load_state_dict(state["scale"])
        if len(state["chance"]) == self.processes.world:
            chance = state["chance"][self.processes.rank]
            torch.set_rng_state(chance["cpu"])
            if "cuda" in chance and self.setup.device.type == "cuda":
                torch.cuda.set_rng_state(chance["cuda"], self.setup.device)

    def _groups(self) -> list[dict[str, Any]]:
        recipe = self.setup.recipe
        rates = {"weight_decay": recipe.weight_decay, "lr": self.setup.peak_lr, "bias_lr": recipe.bias_lr}
        if recipe.finetune is None and recipe.layer_decay == 1:
            return kernel_groups(self.module, **rates)
        return parameter_groups(self.module, recipe.finetune.layer_decay if recipe.finetune else recipe.layer_decay, **rates)


def make_loss(setup: Setup) -> Loss:
    """Return the loss that the recipe and the network ask for."""
    recipe, splits = setup.recipe, setup.splits
    weights = None
    if recipe.class_weights == "balanced":
        weights = balanced_weights([sample.label for sample in splits.train], classes=len(splits.classes))
    return Loss(recipe.label_smoothing, tuple(side.weight for side in setup.network.aux), weights)


def _some_images(setup: Setup) -> Tensor:
    """Return images of the training set, as the network reads them unvaried, on its device."""
    samples = setup.splits.train
    dataset = ImageDataset(samples[:: -(-len(samples) // IMAGES)], setup.preprocess, on_error="skip")
    batches = image_loader(dataset, batch_size=IMAGES, shuffle=False)
    return torch.cat([batch.images(setup.device) for batch in batches])


def _mixing(setup: Setup) -> v2.Transform | None:
    recipe, classes = setup.recipe, len(setup.splits.classes)
    if not recipe.mixup and not recipe.cutmix:
        return None
    from torchvision.transforms import v2

    mixing: list[v2.Transform] = []
    if recipe.mixup:
        mixing.append(v2.MixUp(alpha=recipe.mixup, num_classes=classes))
    if recipe.cutmix:
        mixing.append(v2.CutMix(alpha=recipe.cutmix, num_classes=classes))
    return v2.RandomChoice(mixing)
