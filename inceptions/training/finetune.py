"""Training that begins with trained weights: enters a tag or a model folder, leaves a network for other classes, sizes and channels.

And which parts of it train: enters a `Finetune`, leaves the optimiser's groups, and the parts that are frozen in an epoch. The parts of a
network, from the top: its classifiers, main and auxiliary; its head, where that has layers with weights; its stages, the last first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError, WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux, training_module
from inceptions.networks.spec import Network
from inceptions.training.optimizers import kernel_groups
from inceptions.training.recipe import Finetune
from inceptions.weights.card import WEIGHTS_NAME, ModelCard, read_card
from inceptions.weights.folder import LoadedModel, load_model
from inceptions.weights.locate import find_model

CLASSIFIER = "classifier"


# ---- what to train


class Part(NamedTuple):
    """A part of a network that opens, or stays frozen, as a whole: "classifier", "head", or a stage's name."""

    name: str
    modules: tuple[nn.Module, ...]


def network_parts(module: Classifier) -> tuple[Part, ...]:
    """Return the parts of a network that have weights, the classifiers first and the first stage last."""
    heads = (module.classifier, module.aux) if isinstance(module, ClassifierWithAux) else (module.classifier,)
    body = [Part("head", (module.head,)), *(Part(name, (stage,)) for name, stage in reversed(list(module.stages.named_children())))]
    return (Part(CLASSIFIER, heads), *(part for part in body if any(True for _ in part.modules[0].parameters())))


def parameter_groups(
    module: Classifier, layer_decay: float, *, weight_decay: float, lr: float, bias_lr: float = 1.0
) -> list[dict[str, Any]]:
    """Return all parameters, each once, in an optimiser's groups, from the classifiers down to the first stage: kernels alone decay.

    layer_decay: each part's rate is this many times that of the part above it. lr: that of the classifiers. bias_lr: as `kernel_groups` has
    it. Frozen ones are among them: they get no gradient, so an optimiser passes them by, and it needs no change
    when they open.
    """
    return [
        {"lr": rate, **group}
        for rate, part in ((lr * layer_decay**depth, part) for depth, part in enumerate(network_parts(module)))
        for group in kernel_groups(nn.ModuleList(part.modules), weight_decay=weight_decay, lr=rate, bias_lr=bias_lr)
    ]


def set_trainable(module: Classifier, finetune: Finetune, *, epoch: int) -> tuple[str, ...]:
    """Put `module` in training mode for `epoch`, counted from 1, with its frozen parts as they evaluate; return the parts that train.

    Call it at the head of each epoch in place of `module.train()`, which would thaw the statistics of batch normalisation.
    """
    module.train()
    parts, count = network_parts(module), finetune.open_parts(epoch=epoch)
    for depth, part in enumerate(parts):
        for layer in part.modules:
            layer.requires_grad_(depth < count)
            layer.train(depth < count)
            if depth and finetune.batch_norm == "frozen":
                _freeze_statistics(layer)
    return tuple(part.name for depth, part in enumerate(parts) if depth < count)


def _freeze_statistics(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


# ---- what to begin with


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A network with trained weights, to be trained further: in training mode, on the CPU.

    network, preprocess: as they are saved with the new weights. card: that of the old weights, with their licence and provenance.
    notes: what was kept, made anew or left out, a sentence each.
    """

    module: Classifier | ClassifierWithAux
    network: Network
    preprocess: Preprocess
    card: ModelCard
    notes: tuple[str, ...]


def start_from(
    source: str | Path,
    *,
    class_names: tuple[str, ...],
    image_size: int | None = None,
    channels: int | None = None,
    aux: bool = False,
    seed: int = 0,
) -> StartingPoint:
    """Return the model of a tag or a model folder, with or without classes of its own, made ready for other images.

    class_names: where they are those of the weights, in their order, the classifiers are kept; else they are new, drawn with `seed`.
    image_size: of the square that the network reads, in pixels; the rest of the weights' preprocessing stays. channels: see `fit_kernels`.
    aux: with auxiliary heads, where the weights have them and they fit the image size. Not given, sizes and channels are the weights'.

    Raises UserError: no such weights, no classes, or channels that the first layer can't be fitted to. NetworkError: too small an image.
    """
    if not class_names:
        raise UserError("class_names is empty; give the names of the classes, in the order of the outputs")
    loaded = _load(source, aux=aux)
    notes = _describe(loaded, class_names, image_size, channels, aux=aux)
    network, preprocess = loaded.card.network, loaded.card.preprocess
    network = reshape.with_classes(network, len(class_names))
    if not isinstance(loaded.module, ClassifierWithAux):
        network = reshape.without_aux(network)
    if image_size is not None:
        network = reshape.without_misfit_aux(reshape.with_image_size(network, image_size), image_size=image_size)
        preprocess = fit_size(preprocess, image_size=image_size)
    if isinstance(loaded.module, ClassifierWithAux) and not network.aux:
        notes.append(f"without auxiliary heads: they don't fit images of {image_size} pixels")
    if channels is not None:
        network = reshape.with_in_channels(network, channels)
        preprocess = fit_statistics(preprocess, channels=channels)
    module = _make(network, seed)
    notes += _fill(module, loaded, source, keep=class_names == loaded.card.classes)
    return StartingPoint(module, network, preprocess, loaded.card, tuple(notes))


def _load(source: str | Path, *, aux: bool) -> LoadedModel:
    folder = find_model(source)
    network = read_card(folder).network
    aux = aux and bool(network.aux) and bool(network.classes) and _has_aux(folder / WEIGHTS_NAME)
    return load_model(folder, aux=aux, calibrated=False)  # what learns goes on from what was learnt


def _has_aux(weights: Path) -> bool:
    try:
        with safe_open(weights, framework="pt") as file:
            return any(key.startswith("aux.") for key in file.keys())
    except (SafetensorError, OSError):  # load_model says what is wrong
        return False


def _describe(loaded: LoadedModel, class_names: tuple[str, ...], image_size: int | None, channels: int | None, *, aux: bool) -> list[str]:
    network, names = loaded.card.network, loaded.card.classes
    if class_names == names:
        notes = [f"the classifier is kept: its {len(names)} classes are those of the images"]
    elif sorted(class_names) == sorted(names):
        notes = [f"a new classifier: the weights have the same {len(names)} classes in another order"]
    else:
        notes = [f"a new classifier for {len(class_names)} classes in place of {network.classes or 'none'}"]
    if image_size is not None and image_size != network.image_size:
        notes.append(f"images of {image_size} pixels in place of {network.image_size}")
    if channels is not None and channels != network.in_channels:
        notes.append(f"the first convolution was fitted to {channels} channels in place of {network.in_channels}")
    if aux and not isinstance(loaded.module, ClassifierWithAux):
        notes.append("without auxiliary heads: the weights have none")
    return notes


def _make(network: Network, seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return training_module(network)


def _fill(module: Classifier, loaded: LoadedModel, source: str | Path, *, keep: bool) -> list[str]:
    """Put the old weights into `module`, but for the classifiers unless `keep`; return a note on what else stayed new.

    Raises WeightsError where a stage can't take them.
    """
    wanted = {key: value.shape for key, value in module.state_dict().items()}
    old = fit_kernels(loaded.module.state_dict(), wanted, preprocess=loaded.card.preprocess, channels=module.network.in_channels)
    state = {key: old[key] for key, shape in wanted.items() if (keep or not _is_classifier(key)) and key in old and old[key].shape == shape}
    fresh = [key for key in wanted if key not in state and not _is_classifier(key)]
    for key in fresh:
        if key.startswith("stages."):
            have, channels = loaded.card.network.in_channels, module.network.in_channels
            raise WeightsError(f"{source} can't be fitted to {channels} channels: tensor {key!r} is made for {have}; leave channels out")
    module.load_state_dict(state, strict=False)
    return [f"made anew, for the image size differs: {', '.join(fresh)}"] if fresh else []


def _is_classifier(key: str) -> bool:
    return key.startswith("classifier.") or (key.startswith("aux.") and ".classifier." in key)


# ---- other sizes and channels


def fit_size(preprocess: Preprocess, *, image_size: int) -> Preprocess:
    """Return the same rule for images of `image_size` pixels; what is cut off keeps its part of the picture."""
    resized = preprocess.resize_size
    if resized is not None:
        resized = round(resized * image_size / preprocess.image_size)
    return replace(preprocess, image_size=image_size, resize_size=resized)


def fit_statistics(preprocess: Preprocess, *, channels: int) -> Preprocess:
    """Return `preprocess` for `channels` channels: more than there were get the average mean and standard deviation, fewer all get it.

    The channels are then in the order red, green, blue, further bands. Raises UserError where pictures can't have so many.
    """
    if channels == preprocess.channels:
        return preprocess
    mean, std = _statistics(preprocess)
    return replace(preprocess, mean=_extended(mean, channels), std=_extended(std, channels), channel_order="rgb")


def _statistics(preprocess: Preprocess) -> tuple[tuple[float, ...], tuple[float, ...]]:
    step = -1 if preprocess.channel_order == "bgr" else 1
    return preprocess.mean[::step], preprocess.std[::step]


def _extended(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    average = sum(values) / len(values)
    kept = values if channels >= len(values) else ()
    return (*kept, *(average,) * (channels - len(kept)))


def fit_kernels(state: dict[str, Tensor], shapes: dict[str, torch.Size], *, preprocess: Preprocess, channels: int) -> dict[str, Tensor]:
    """Return `state` with the convolutions that read the picture made for `channels` channels; which these are, `shapes` say.

    With one channel or two, each gets an equal part of the sum over red, green and blue. With four and more, the kernels of red, green and
    blue stay at their place, each further band gets their average, and all are multiplied by 3 / channels. So a picture that is alike in
    all channels gives what it gave, and activations keep their scale. That differs from timm, which repeats red, green, blue in turn, and
    keeps the sum where 3 divides the number of channels only.

    preprocess: of the old weights. Where its channels differ, the shift goes into the statistics or the bias behind the convolution:
    exact but for the border, where the convolution pads.
    """
    old, mean_std, fitted = preprocess.channels, _statistics(preprocess), dict(state)
    for key, shape in shapes.items():
        weight = state.get(key)
        if channels == old or weight is None or weight.ndim != 4 or weight.shape != (shape[0], old, *shape[2:]) or shape[1] != channels:
            continue
        weight = weight.flip(1) if preprocess.channel_order == "bgr" else weight
        fitted[key], shift = _spread(weight.double(), *mean_std, channels)
        bias, running_mean = (key.removesuffix("conv.weight") + name for name in ("conv.bias", "bn.running_mean"))
        if bias in state:
            fitted[bias] = (state[bias] + shift).float()
        elif running_mean in state:
            fitted[running_mean] = (state[running_mean] - shift).float()
    return fitted


def _spread(weight: Tensor, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> tuple[Tensor, Tensor]:
    """Return kernels (O, channels, H, W), and what to add to their output (O,), for kernels (O, C, H, W) with statistics of C channels."""
    means, stds = (torch.tensor(values, dtype=weight.dtype).reshape(1, -1, 1, 1) for values in (mean, std))
    old = weight.shape[1]
    kept = old if channels >= old else 0
    average = (weight * (stds.mean() / stds)).sum(1, keepdim=True) / channels
    shift = (weight * (means.mean() - means) / stds).sum((1, 2, 3)) * (channels - kept) / channels
    kernels = torch.cat([weight[:, :kept] * (old / channels), average.expand(-1, channels - kept, -1, -1)], dim=1)
    return kernels.float().contiguous(), shift
