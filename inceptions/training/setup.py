"""What a run is made of: enters a network or trained weights, splits and a recipe, leaves a checked `Setup`; and its JSON, to resume by."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from inceptions.data.augment import Augment
from inceptions.data.dataset import split_evenly
from inceptions.data.folders import load_splits, locate_source
from inceptions.data.packed import PackedSamples
from inceptions.data.preprocess import Preprocess, for_training
from inceptions.data.splits import SplitRecord, Splits
from inceptions.devices import pick_device, pick_precision
from inceptions.errors import UserError
from inceptions.files import expand_home
from inceptions.networks import reshape
from inceptions.networks.codec import decode_network, encode
from inceptions.networks.modules.models import Classifier, training_module
from inceptions.networks.spec import Network, NetworkError
from inceptions.training.features import keeps_features
from inceptions.training.finetune import start_from
from inceptions.training.recipe import Recipe
from inceptions.training.recipes import has_batch_norm, peak_lr
from inceptions.training.settings import recipe_from_dict
from inceptions.training.trackers import check_trackers
from inceptions.weights.card import read_card
from inceptions.weights.locate import find_model

log = logging.getLogger("inceptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run is made of, worked out before the first step.

    source: the data as it was given; place: the same from every working directory; so weights and weights_place, the weights to begin with.
    start: a module with these.
    log_with: names of the experiment trackers that follow it.
    """

    network: Network
    preprocess: Preprocess
    splits: Splits
    recipe: Recipe
    device: torch.device
    autocast: torch.dtype | None
    source: str
    weights: str | None = None
    weights_place: str | None = None
    start: Classifier | None = None
    notes: tuple[str, ...] = ()
    licence: str | None = None
    place: str = ""
    log_with: tuple[str, ...] = ()

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, which has as many images as there are."""
        return len(split_evenly(len(self.splits.train), self.recipe.batch_size))

    @property
    def batch_size(self) -> int:
        """Images of a step, of all processes together, at the most: the recipe's number, or fewer that make batches of the same size."""
        return -(-len(self.splits.train) // self.steps_per_epoch)

    @property
    def peak_lr(self) -> float:
        """The highest learning rate."""
        return peak_lr(self.recipe, self.network, batch_size=self.batch_size)

    @property
    def split(self) -> SplitRecord:
        """How the images were divided, as the model folder keeps it."""
        return self.splits.record(self.source)

    def to_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, in JSON's types; the images as a fingerprint, and how they were divided."""
        return {
            "data": self.source,
            "place": self.place,
            "images": _known_by(self.split),
            "interleaved": self.splits.interleaved,
            "device": str(self.device),
            "weights": self.weights,
            "weights_place": self.weights_place,
            "licence": self.licence,
            "log_with": list(self.log_with),
            "recipe": self.recipe.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "network": encode(self.network),
        }


def prepare(
    network: Network,
    splits: Splits,
    recipe: Recipe,
    *,
    source: str,
    image_size: int | None = None,
    channels: int | None = None,
    device: str | None = None,
    weights: str | Path | None = None,
    log_with: Sequence[str] = (),
) -> Setup:
    """Return everything that a run needs, checked: the network fitted to classes, channels and image size, the device, the arithmetic.

    weights: a tag or model folder to begin with, whose network and preprocessing then take the place of `network`.
    log_with: experiment trackers, by accelerate's names, that are told of the run.
    Auxiliary heads that do not fit the image size are left out, with a warning. Raises NetworkError, UserError.
    """
    _check_asynchronous(recipe)
    place, trackers = locate_source(source), check_trackers(log_with)
    found = pick_device(device)
    splits = _merge_val(splits) if recipe.train_on_val else splits
    recipe = replace(recipe, split_seed=splits.seed)
    _warn_of_settings(recipe, splits, found)
    if not splits.mirror and recipe.augment is not None:
        recipe = replace(recipe, augment=replace(recipe.augment, flip=False))
    made = Setup(
        network=network,
        preprocess=for_training(network.image_size, channels=network.in_channels),
        splits=replace(splits, **{name: PackedSamples(part) for name, part in splits.parts.items()}),
        recipe=recipe,
        device=found,
        autocast=_pick_arithmetic(recipe, network, found),
        source=source,
        place=place,
        log_with=trackers,
    )
    if weights is not None:
        return _check_images(_with_weights(made, weights, image_size=image_size, channels=channels))
    if recipe.finetune is not None:
        raise UserError(f"recipe {recipe.name} trains weights further; give it weights (a tag or a model folder), or take another recipe")
    network = reshape.with_classes(network, len(splits.classes))
    if channels is not None and channels != network.in_channels:
        network = reshape.with_in_channels(network, channels)
    if image_size is not None and image_size != network.image_size:
        network = reshape.with_image_size(network, image_size)
    fitting = reshape.without_misfit_aux(network, image_size=network.image_size)
    if fitting != network:
        log.warning("training without auxiliary heads: they don't fit images of %d pixels", network.image_size)
    preprocess = for_training(network.image_size, channels=network.in_channels)
    return _check_images(replace(made, network=_apply(recipe, fitting), preprocess=preprocess))


def _with_weights(setup: Setup, weights: str | Path, *, image_size: int | None, channels: int | None) -> Setup:
    """Return `setup` with trained weights to begin with, and their network and preprocessing, fitted to its images."""
    recipe, classes = setup.recipe, setup.splits.classes
    if recipe.whiten:
        raise UserError(f"recipe {recipe.name} whitens the first filters, which the weights {weights} holds; say whiten=false")
    begin = start_from(weights, class_names=classes, image_size=image_size, channels=channels, aux=_wants_aux(recipe), seed=recipe.seed)
    _warn_of_leaks(begin.card.split, setup.splits, setup.source, weights)
    network = _apply(recipe, begin.network)
    module = training_module(network)
    module.load_state_dict({key: value for key, value in begin.module.state_dict().items() if network.aux or not key.startswith("aux.")})
    place = expand_home(weights)
    setup = replace(setup, weights=str(weights), weights_place=str(place.absolute() if place.exists() else weights), start=module)
    setup = replace(setup, network=network, autocast=_pick_arithmetic(recipe, network, setup.device))
    return replace(setup, preprocess=begin.preprocess, notes=(*begin.notes, *_note_features(setup)), licence=begin.card.licence)


def _note_features(setup: Setup) -> Iterator[str]:
    finetune = setup.recipe.finetune
    if keeps_features(setup.recipe, setup.network):
        yield "nothing varies the pictures, so what the frozen body makes of them is computed once"
    elif finetune is not None and finetune.head_only and setup.recipe.augment is not None:
        yield "pictures are varied, so the frozen body computes them anew in every epoch; with augment=none it does once"


def _check_images(setup: Setup) -> Setup:
    if setup.recipe.augment is not None:
        setup.recipe.augment.check_channels(setup.preprocess.channels)
    if setup.recipe.progressive:
        with torch.device("meta"):  # no time and no memory
            module = training_module(setup.network)
        for _, share in setup.recipe.progressive:
            side = round(share * setup.network.image_size)
            try:
                module.check_size(side, side)
            except NetworkError as error:
                raise UserError(f"progressive begins with images of {side} pixels, {share:g} of the side: {error}") from None
    return setup


def divide_images(source: str, recipe: Recipe, weights: str | Path | None) -> Splits:
    """Return the parts of a data set, divided by the recipe's split seed, or as for the training of `weights` if the images are the same.

    So weights that are trained further are tested on images that they have never learned from.
    """
    splits = load_splits(source, seed=recipe.split_seed)
    record = read_card(find_model(weights)).split if weights is not None else None
    if record is None or record.fingerprint != splits.fingerprint or record.seed == splits.seed:
        return splits
    splits = load_splits(source, seed=record.seed)
    return replace(
        splits, notes=(*splits.notes, f"{weights} was trained on these images: divided as they were, by split seed {record.seed}")
    )


def _warn_of_leaks(record: SplitRecord | None, splits: Splits, source: str, weights: str | Path) -> None:
    """Warn where the weights were trained on the images that the run is tested or validated on."""
    if record is None or record.fingerprint != splits.fingerprint:
        return
    trained = record.trained_on(splits if record.seed == splits.seed else load_splits(source, seed=record.seed))
    for name in ("test", "val"):
        count = sum(sample in trained for sample in splits.parts[name])
        if count:
            said = "%s was trained on %d of the %d %s images; its own test images are those of split_seed %d"
            log.warning(said, weights, count, len(splits.parts[name]), name, record.seed)


def _known_by(record: SplitRecord) -> dict[str, Any]:
    """Return what the images and their parts are known again by, wherever they are."""
    return {name: value for name, value in record.to_dict().items() if name != "source"}


def _wants_aux(recipe: Recipe) -> bool:
    return recipe.aux_weight != 0 and not (recipe.finetune and recipe.finetune.head_only)


def _warn_of_settings(recipe: Recipe, splits: Splits, device: torch.device) -> None:
    if recipe.early_stop and not splits.val:
        log.warning("early_stop changes nothing, for there are no validation images")
    frozen = recipe.finetune.freeze_epochs if recipe.finetune else 0
    if frozen >= recipe.epochs:
        log.warning("only the head trains: finetune.freeze_epochs is %d and there are %d epochs", frozen, recipe.epochs)
    augment, plain = recipe.augment or Augment(), Augment()
    if augment.policy != "randaugment" and (augment.operations, augment.magnitude) != (plain.operations, plain.magnitude):
        log.warning(
            "augment.operations and augment.magnitude change nothing, for they are randaugment's and the policy is %s", augment.policy
        )
    if recipe.sampling != "each_once" and recipe.class_weights != "none":
        log.warning("sampling=%s and class_weights=%s both make up for rare classes; one is enough", recipe.sampling, recipe.class_weights)
    if recipe.precision == "float16" and device.type == "cpu" and not (recipe.finetune and recipe.finetune.head_only):
        log.warning("float16 on a CPU may take a hundred times as long as float32, for its way back is for GPUs; auto is what is fast here")


def _check_asynchronous(recipe: Recipe) -> None:
    absent = ("progressive", "mixup", "cutmix", "finetune", "early_stop", "whiten", "lookahead", "sync_bn")
    given = [name for name in absent if getattr(recipe, name)] + (["bias_lr"] if recipe.bias_lr != 1 else [])
    given += ["precision=float16"] * (recipe.precision == "float16") + ["compile"] * (recipe.compile != "none")
    if recipe.asynchronous and given:
        raise UserError(f"asynchronous training knows no {' and no '.join(given)}; leave it out, or train in step: asynchronous=0")


def _pick_arithmetic(recipe: Recipe, network: Network, device: torch.device) -> torch.dtype | None:
    """Return the arithmetic; float16 by itself only where batch normalisation holds activations in its range, and losses can be scaled."""
    picked = pick_precision(recipe.precision, device)
    if picked is torch.float16 and recipe.precision == "auto" and (recipe.asynchronous or not has_batch_norm(network)):
        return None
    return picked


def restore(values: dict[str, Any], *, begins: bool = False) -> Setup:
    """Return the setup of `to_dict`; begins: with the weights that the run begins with.

    Raises UserError where the images, or these weights, are no longer those of the run.
    """
    recipe = recipe_from_dict(values["recipe"])
    splits = replace(load_splits(values["place"], seed=recipe.split_seed), interleaved=values.get("interleaved", 1))
    splits = _merge_val(splits) if recipe.train_on_val else splits
    if _known_by(splits.record("")) != values["images"]:
        where = values["place"]
        raise UserError(f"the images in {where} are no longer those that the run began with; say where they are now, or start a new run")
    device, network = pick_device(values["device"]), decode_network(values["network"])
    setup = Setup(
        network=network,
        preprocess=Preprocess.from_dict(values["preprocess"]),
        splits=splits,
        recipe=recipe,
        device=device,
        autocast=_pick_arithmetic(recipe, network, device),
        source=values["data"],
        place=values["place"],
        weights=values["weights"],
        weights_place=values.get("weights_place"),
        licence=values["licence"],
        log_with=check_trackers(values["log_with"]),
    )
    if setup.weights is None or not begins:
        return setup
    place, side, channels = setup.weights_place or setup.weights, setup.network.image_size, setup.network.in_channels
    again = _with_weights(setup, place, image_size=side, channels=channels)
    if again.network != setup.network:
        raise UserError(f"the weights {place} are no longer those that the run began with; start a new run")
    return replace(setup, start=again.start)


def make_module(setup: Setup) -> Classifier:
    """Return the module as it begins, on its device: that of the weights it starts from, or one drawn by the recipe's seed."""
    made = deepcopy(setup.start) if setup.start is not None else training_module(setup.network)  # a second run begins with the same
    return made.to(setup.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _merge_val(splits: Splits) -> Splits:
    if not splits.test or not splits.val:
        return splits
    train = tuple(sorted((*splits.train, *splits.val), key=lambda sample: str(sample.path)))
    return replace(splits, train=train, val=(), notes=(*splits.notes, f"the {len(splits.val)} val images train too (train_on_val)"))


def _apply(recipe: Recipe, network: Network) -> Network:
    """Return the network with what the recipe says of it: weights of auxiliary heads, dropout, momentum of batch normalisation."""
    if recipe.aux_weight == 0:
        network = reshape.without_aux(network)
    elif recipe.aux_weight is not None:
        network = replace(network, aux=tuple(replace(side, weight=recipe.aux_weight) for side in network.aux))
    if recipe.drop_rate is not None:
        network = reshape.with_drop_rate(network, recipe.drop_rate)
    if recipe.bn_momentum is not None:
        network = replace(network, numerics=replace(network.numerics, bn_momentum=recipe.bn_momentum))
    return network
