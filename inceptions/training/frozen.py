"""Training on what a frozen body makes of each picture, computed once: enters a `Run` and its loader, leaves batches and validation.

It is done where the body is a fixed function of the picture and nothing varies the picture; else the batches are the loader's own. The body
is the same in every epoch, and so are the features, also in a run that goes on: they are computed anew there, in the same batches.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import closing

import torch
from torch import Tensor, nn

from inceptions.data.dataset import Batch, ImageDataset, ImageLoader, image_loader
from inceptions.devices import available_memory, memory_for
from inceptions.errors import UserError
from inceptions.evaluation.score import Score
from inceptions.training.features import FeatureBatch, Features, FixedBody, OpenEnd, Part, has_fixed_body, join_features, keeps_features
from inceptions.training.run import Run

log = logging.getLogger("inceptions")


class FrozenBody:
    """The batches of a run's epochs: features, for as long as the body is frozen and they may be kept, and pictures else."""

    def __init__(self, run: Run, loader: ImageLoader) -> None:
        self.run, self.loader = run, loader
        self.train: Features | None = None
        self.val: list[FeatureBatch] = []

    def batches(self) -> Iterable[Batch | FeatureBatch]:
        """Return the batches of the epoch that the learner has begun; the first time, compute the features that they are of."""
        learner = self.run.learner
        if not self._may_be_kept():
            self.train, self.val = None, []
            return self.loader
        if self.train is None:
            self._compute(FixedBody(learner.module))
        assert self.train is not None
        learner.learn_from_features(OpenEnd(learner.module))
        return self.train.batches(self.loader.order)

    def score(self) -> Score:
        """Return how the weights that are kept do on the validation images."""
        run = self.run
        if self.train is None:
            return run.score(run.learner.kept, run.setup.splits.val, run.setup.autocast)
        return run.score_batches(OpenEnd(run.learner.kept), self.val, run.setup.autocast)  # pyright: ignore[reportArgumentType]

    def _may_be_kept(self) -> bool:
        setup = self.run.setup
        return keeps_features(setup.recipe, setup.network) and has_fixed_body(self.run.learner.module)

    def _compute(self, body: nn.Module) -> None:
        """Compute the features of the training images, which every process gets all of, and of its share of those for validation."""
        run, splits, recipe = self.run, self.run.setup.splits, self.run.setup.recipe
        one = self._features(body, torch.zeros(1, run.setup.network.in_channels, *(run.setup.preprocess.image_size,) * 2))
        run.processes.together(lambda: _check_memory((len(splits.train) + len(splits.val)) * one.nbytes))
        dataset = ImageDataset(splits.train, run.setup.preprocess, on_error=recipe.on_error)
        how = {"workers": run.pace.workers, "part": run.processes.part}
        with closing(image_loader(dataset, batch_size=2 * recipe.batch_size, shuffle=False, **how)) as loader:
            found = self._run_through(body, self._until_stopped(run.processes.iterate(loader)))
        self.train = join_features([part for share in run.processes.gather(found) for part in share], dataset.__getitems__)
        held, size = self.train.values, self.train.values.nbytes / 2**20
        log.info("the body's features of %d training images are kept: %s numbers each, %.0f MiB", len(held), tuple(held.shape[1:]), size)
        found = run.processes.together(lambda: self._run_through(body, run.loader(splits.val)) if splits.val else [])
        self.val = [FeatureBatch(*part) for part in found]

    def _until_stopped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, of which every process has as many; raises StoppedError where the run was asked to stop."""
        for batch in batches:
            if any(self.run.processes.sum([self.run.stop.is_set])):
                raise self.run.stop_here(f"epoch {self.run.at.epoch}, while features were computed")
            yield batch

    def _run_through(self, body: nn.Module, batches: Iterable[Batch]) -> list[Part]:
        """Return the features, labels and places of the batches' pictures."""
        device, found = self.run.setup.device, []
        for batch in batches:
            self.run.note(batch.unreadable)
            if len(batch.labels):
                with memory_for(len(batch.labels), device):
                    values = self._features(body, batch.images(device))
                found.append((values, batch.labels, batch.indices))
        return found

    @torch.no_grad()
    def _features(self, body: nn.Module, images: Tensor) -> Tensor:
        device, autocast = self.run.setup.device, self.run.setup.autocast
        with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
            return body(images.to(device)).cpu()


def _check_memory(size: int) -> None:
    free = available_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 2 * size > free:  # they are there twice while they are put together
        raise UserError(
            f"features of {2 * size / 2**30:.1f} GiB don't fit into the {free / 2**30:.1f} GiB of memory that are free; train with "
            "finetune.cache_features=false, which computes them in every epoch"
        )
