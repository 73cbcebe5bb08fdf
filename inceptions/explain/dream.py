"""DeepDream: enters a model, a photo and a stage, leaves the photo with more of what the stage finds in it.

After Mordvintsev, Olah and Tyka, "Inceptionism", 2015, and their notebook (google/deepdream), which dreams with GoogLeNet: gradient ascent
on the squares of what a stage leaves, first small and then ever larger, each time a little aside, so that no grid shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from inceptions.data.dataset import normalize
from inceptions.data.in_memory import Given
from inceptions.data.stored import Stored
from inceptions.errors import UserError
from inceptions.explain.attribution import read_both
from inceptions.explain.features import check_channels, run_to, to_picture
from inceptions.explain.layers import find_stage
from inceptions.networks.spec import NetworkError
from inceptions.networks.trace import check_image
from inceptions.weights.folder import LoadedModel

OCTAVE, STRIDE, JITTER = 1.4, 1.5 / 255, 32  # the notebook's: from size to size, of a step, pixels aside


def deep_dream(
    model: LoadedModel,
    image: Given | Stored,
    stage: str,
    *,
    octaves: int = 4,
    steps: int = 10,
    max_side: int = 768,
    seed: int = 0,
    step: Callable[[int], None] | None = None,
) -> Image.Image:
    """Return the photo, RGB, with more in it of what a stage answers to.

    octaves: sizes that are dreamt at, each 1.4 times the one before; those that are too small for the network are left out.
    steps: at each size. max_side: pixels; a larger photo is made so large, and one that is smaller than what the network reads as large
    as that. step: told each step.

    Raises NetworkError for a stage that there isn't, UserError for a photo of which no size fits, ImageError for one that can't be read.
    """
    check_channels(model.card)
    find_stage(model.module, stage)
    device, generator = next(model.module.parameters()).device, torch.Generator().manual_seed(seed)
    picture, given = read_both(image, channels=model.card.preprocess.channels)
    dreamt = torch.zeros(1, model.card.preprocess.channels, 1, 1, device=device)  # what is added to the photo
    photo = dreamt
    for size in _sizes(model, picture.size, octaves=octaves, max_side=max_side):
        photo = _to_tensor(given.resize(size, Image.Resampling.BICUBIC)).to(device)
        now = photo + torch.nn.functional.interpolate(dreamt, photo.shape[-2:], mode="bilinear")
        for _ in range(steps):
            now = _dream_step(model, stage, now, generator)
            if step is not None:
                step(1)
        dreamt = now - photo
    return to_picture((photo + dreamt)[0])


def _dream_step(model: LoadedModel, stage: str, photo: Tensor, generator: torch.Generator) -> Tensor:
    """Return the photo, (1, C, H, W) of 0 to 1, after one step, taken with the photo moved aside at random."""
    jitter = min(JITTER, min(photo.shape[-2:]) // 4)
    aside = [int(torch.randint(-jitter, jitter + 1, (), generator=generator)) for _ in range(2)]
    with torch.enable_grad():
        moved = photo.roll(aside, (-2, -1)).detach().requires_grad_()
        answer = run_to(model.module, stage, normalize(255 * moved, model.card.preprocess)).square().mean()
        (gradient,) = torch.autograd.grad(answer, moved)
    better = moved.detach() + STRIDE * gradient / gradient.abs().mean().clamp_min(1e-12)
    return better.clamp(0, 1).roll([-move for move in aside], (-2, -1))


def _sizes(model: LoadedModel, size: tuple[int, int], *, octaves: int, max_side: int) -> list[tuple[int, int]]:
    """Return widths and heights to dream at, from the smallest; UserError where the network can take none of them."""
    enlarge = max(1.0, model.card.preprocess.image_size / min(size))
    factor = min(enlarge, max_side / max(size))
    sizes = [tuple(max(1, round(side * factor / OCTAVE**octave)) for side in size) for octave in reversed(range(octaves))]
    fitting, reason = [], ""
    for width, height in sizes:
        try:
            check_image(model.card.network, height, width)
            fitting.append((width, height))
        except NetworkError as error:
            reason = str(error)
    if not fitting:
        raise UserError(f"a photo of {size[0]}x{size[1]} pixels, at {max_side} on the longer side: {reason}; or raise the longest side")
    return fitting


def _to_tensor(picture: Image.Image) -> Tensor:
    """Return a picture as (1, C, H, W), 0 to 1."""
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).float() / 255
    return values.reshape(1, picture.height, picture.width, -1).permute(0, 3, 1, 2)
