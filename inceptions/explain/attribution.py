"""What spoke for a class: enters a model and a picture, leaves an `Explanation`. The methods are Captum's; what they are told is ours.

    gradcam               Selvaraju et al., arXiv:1610.02391: channels of a stage, weighted by their mean gradient
    integrated-gradients  Sundararajan et al., arXiv:1703.01365: gradients on the way from grey to the picture
    smoothgrad            Smilkov et al., arXiv:1706.03825: the mean gradient of the picture under noise
    occlusion             Zeiler and Fergus, arXiv:1311.2901: by how much the class falls where a window is grey

What is explained is the class's logit. Auxiliary heads, which are for training, are left aside. Grey is a pixel of 127.5 in every channel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import assert_never, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from inceptions.data.decode import read_image
from inceptions.data.in_memory import Given, hold
from inceptions.data.preprocess import Preprocess
from inceptions.data.splits import list_names
from inceptions.data.stored import Stored
from inceptions.errors import UserError
from inceptions.explain.explanation import METHODS, Explanation, Method
from inceptions.explain.layers import find_stage, last_grid
from inceptions.extras import require
from inceptions.networks.modules.models import Classifier
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

STEPS = 32  # of integrated gradients, by Gauss and Legendre's rule
SAMPLES, NOISE = 32, 0.15  # of smoothgrad; noise in parts of the range of the pixels, section 3.1 there: 0.1 to 0.2
WINDOWS = 7  # of occlusion side by side, each half over the next
BATCH_PIXELS = 700_000  # of an image's copies that are computed at a time

_ALONE = threading.Lock()  # Captum hangs hooks on the module's layers, and draws torch's own random numbers


def explain_image(
    model: LoadedModel,
    image: Given | Stored,
    *,
    method: Method = "gradcam",
    target: str | None = None,
    stage: str | None = None,
    top_k: int = 5,
    seed: int = 0,
) -> Explanation:
    """Return what in a picture spoke for a class, where the model's module is.

    image: a file, a picture of Pillow's, or an array of uint8, (H, W, 3). target: a class by name; None is the likeliest.
    stage: whose channels Grad-CAM weights; None is the last that has a grid. top_k: how many of the likeliest classes go along.
    seed: of smoothgrad's noise; the same seed gives the same map.

    Raises ImageError for a picture that can't be read; UserError for a class or a method that there isn't, a model without classes, or of
    other than 1 or 3 channels, and where Captum is missing; NetworkError for a stage that there isn't.
    """
    settings = {"method": method, "target": target, "stage": stage, "top_k": top_k, "seed": seed}
    return explain_classes(model, image, count=1, **settings)[0]


def explain_classes(
    model: LoadedModel,
    image: Given | Stored,
    *,
    count: int,
    method: Method = "gradcam",
    target: str | None = None,
    stage: str | None = None,
    top_k: int = 5,
    seed: int = 0,
) -> list[Explanation]:
    """Return the same for several classes, `count` at most: the one asked for, and then the likeliest of the others; one reading of it."""
    card = model.card
    check_explainable(card, method=method, target=target, stage=stage)
    picture, given = read_both(image, channels=card.preprocess.channels)
    pixels = torch.from_numpy(card.preprocess(given))[None].to(next(model.module.parameters()).device)
    with _ALONE, _evaluating(model.module), torch.inference_mode(False):
        with torch.no_grad():
            probabilities = _logits(model.module)(pixels).softmax(1)[0].cpu()
        if probabilities.isnan().any():
            raise UserError(f"{card.network.name} gives nan for this picture, so that there is nothing to explain; look at its weights")
        ranked = probabilities.argsort(descending=True, stable=True).tolist()
        first = ranked[0] if target is None else card.classes.index(target)
        numbers = [first, *(number for number in ranked if number != first)][:count]
        settings = {"grey": grey_pixel(card.preprocess), "method": method, "stage": stage, "seed": seed}
        maps = [attribute(model.module, pixels, number, **settings) for number in numbers]
    best = ranked[:top_k]
    return [
        Explanation(
            image=picture,
            seen=scaled(heat, method),
            box=card.preprocess.box(picture.size),
            target=card.classes[number],
            probability=float(probabilities[number]),
            method=method,
            classes=tuple(card.classes[place] for place in best),
            probabilities=tuple(float(probabilities[place]) for place in best),
        )
        for number, heat in zip(numbers, maps, strict=True)
    ]


def check_explainable(card: ModelCard, *, method: str = "gradcam", target: str | None = None, stage: str | None = None) -> None:
    """Raise UserError, or NetworkError for the stage, where this can't be explained: before anything is computed."""
    require("explain", "captum", needed_for="explaining")
    name = card.network.name
    if not card.classes:
        raise UserError(f"{name} ends in features and has no classes to explain; give a classifier")
    if card.preprocess.channels not in (1, 3):
        raise UserError(f"{name} reads {card.preprocess.channels} channels, which are no picture to lay a map on; explained are 1 and 3")
    if method not in METHODS:
        raise UserError(f"method {method!r} is not known; there are {', '.join(METHODS)}")
    if target is not None and target not in card.classes:
        near = get_close_matches(target, card.classes, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"they are {list_names(card.classes)}"
        raise UserError(f"{target!r} is not one of the {len(card.classes)} classes of the model; {hint}")
    if stage is not None:
        if method != "gradcam":
            raise UserError(f"the stage is Grad-CAM's, and {method} has none; leave out one of them")
        card.network.stage(stage)


def read_both(image: Given | Stored, *, channels: int) -> tuple[Image.Image, Image.Image]:
    """Return a picture upright and in colour, and as a network of so many channels, 1 or 3, reads it."""
    match image:
        case Stored():
            source = image
        case Image.Image() | np.ndarray():
            source = hold(image, "image")
        case _:
            source = Path(image)
    picture = read_image(source)
    return picture, picture if channels == 3 else read_image(source, channels=1)


def grey_pixel(preprocess: Preprocess) -> Tensor:
    """Return what a pixel that says nothing, 127.5 in every channel, is to the network: (1, C, 1, 1)."""
    return torch.tensor([(127.5 - mean) / std for mean, std in zip(preprocess.mean, preprocess.std, strict=True)]).reshape(1, -1, 1, 1)


def attribute(
    module: Classifier, pixels: Tensor, number: int, *, grey: Tensor, method: Method, stage: str | None = None, seed: int = 0
) -> np.ndarray:
    """Return how much each pixel of one input (1, C, S, S) speaks for the class of that number: float32 (S, S), 0 or more.

    grey: the pixel, (1, C, 1, 1), that stands for nothing.
    """
    from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, NoiseTunnel, Occlusion, Saliency

    forward, side = _logits(module), pixels.shape[-1]
    pixels, batch = pixels.detach().clone(memory_format=torch.channels_last).requires_grad_(), max(1, min(64, BATCH_PIXELS // side**2))
    nothing = grey.to(pixels.device).expand_as(pixels)
    with torch.enable_grad(), _seeded(seed, pixels.device):
        match method:
            case "gradcam":
                layer = find_stage(module, stage or last_grid(module.network, side))
                cells = LayerGradCam(forward, layer).attribute(pixels, target=number, relu_attributions=True)
                heat = LayerAttribution.interpolate(cast("Tensor", cells), (side, side), "bilinear")
            case "integrated-gradients":
                gradients = IntegratedGradients(forward).attribute(pixels, nothing, target=number, n_steps=STEPS, internal_batch_size=batch)
                heat = gradients.sum(1, keepdim=True).relu()
            case "smoothgrad":
                noise = NOISE * float(pixels.detach().amax() - pixels.detach().amin())
                settings = {"nt_samples": SAMPLES, "nt_samples_batch_size": batch, "stdevs": noise, "abs": False}
                gradients = cast("Tensor", NoiseTunnel(Saliency(forward)).attribute(pixels, target=number, **settings))
                heat = gradients.abs().sum(1, keepdim=True)
            case "occlusion":
                window, channels = max(1, side // WINDOWS), pixels.shape[1]
                slide = {"sliding_window_shapes": (channels, window, window), "strides": (channels, *2 * (max(1, window // 2),))}
                heat = Occlusion(forward).attribute(pixels, target=number, baselines=nothing, **slide, perturbations_per_eval=batch)
                heat = heat[:, :1].relu()
            case _:
                assert_never(method)
    return heat.detach()[0, 0].float().cpu().numpy()


def scaled(heat: np.ndarray, method: Method) -> np.ndarray:
    """Return a map as 0 to 1: of its largest value, or, where each pixel has its own, of the one that a hundredth of them exceed."""
    most = np.percentile(heat, 99) if method in ("integrated-gradients", "smoothgrad") else heat.max()
    most = most or heat.max()
    return np.clip(heat / most, 0, 1).astype(np.float32) if most > 0 else np.zeros_like(heat)


def _logits(module: Classifier) -> Callable[[Tensor], Tensor]:
    """Return the function that is explained: images (N, C, S, S) to logits (N, classes), without auxiliary heads."""
    return lambda images: module.forward_head(module.forward_features(images))


@contextmanager
def _evaluating(module: Classifier) -> Iterator[None]:
    """Have the module in evaluation mode, and leave it in the mode that it was in."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Have torch draw the numbers of a seed, and leave its generators as they were."""
    own = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(own, device_type=device.type if own else "cuda"):
        torch.manual_seed(seed)
        yield
