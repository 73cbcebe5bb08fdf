"""What channels answer to: enters a model and channels of its stages, leaves pictures that make them answer as strongly as may be.

After Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017: gradient ascent on the mean of a channel, from noise. Where a
ReLU leaves nothing there is no gradient either: a tenth of what it reads counts there. Their code lets gradients through it at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from inceptions.data.dataset import normalize
from inceptions.errors import UserError
from inceptions.explain.attribution import grey_pixel
from inceptions.explain.layers import find_branch
from inceptions.explain.paint import Painting, vary
from inceptions.networks.modules.layers import Sum
from inceptions.networks.modules.models import Body
from inceptions.networks.trace import smallest_image
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

LR = 0.05  # of Adam: lucid, optvis/render.py
LEAK = 0.1
SIDE_PX = 128


class Channel(NamedTuple):
    """One channel of a branch of the stage, or, without a branch, of all of the stage."""

    branch: str | None
    number: int


def visualize_channels(
    model: LoadedModel,
    stage: str,
    channels: Sequence[Channel],
    *,
    steps: int = 256,
    seed: int = 0,
    side_px: int | None = None,
    step: Callable[[int], None] | None = None,
) -> list[Image.Image]:
    """Return, for each of some channels of a stage, the picture that it answers to most, RGB.

    steps: of the ascent; the same seed gives the same pictures. side_px: of the pictures; None is 128, or twice what small networks read.
    step: told each step.

    Raises NetworkError for a stage that there isn't, UserError for a branch or channel, and for networks of other than 1 or 3 channels.
    """
    check_channels(model.card)
    module = model.module
    parts = {channel.branch: find_branch(module, stage, channel.branch) for channel in channels}
    counts = {branch: count_channels(model, stage, branch) for branch in parts}
    for branch, number in channels:
        if not 0 <= number < counts[branch]:
            where = f"branch {branch!r} of stage {stage!r}" if branch else f"stage {stage!r}"
            raise UserError(f"{where} has no channel {number}; it has 0 to {counts[branch] - 1}")
    device, generator = next(module.parameters()).device, torch.Generator().manual_seed(seed)
    side = side_px or default_side(model)
    grey = grey_pixel(model.card.preprocess).to(device)
    painting = Painting(len(channels), side, channels=model.card.preprocess.channels, generator=generator).to(device)
    adam = torch.optim.Adam(painting.parameters(), LR)
    for _ in range(steps):
        with torch.enable_grad(), watched(parts) as seen:
            run_to(module, stage, grey + vary(normalize(255 * painting(), model.card.preprocess) - grey, generator))
            answers = torch.stack([seen[branch][place, number].mean() for place, (branch, number) in enumerate(channels)])
            (painting.spectrum.grad,) = torch.autograd.grad(-answers.sum(), painting.spectrum)
        adam.step()
        if step is not None:
            step(1)
    return [to_picture(values) for values in painting().detach()]


def spread_channels(count: int, wanted: int) -> list[int]:
    """Return so many of `count` channels, evenly spread."""
    return sorted({place * count // wanted for place in range(wanted)}) if wanted < count else list(range(count))


def count_channels(model: LoadedModel, stage: str, branch: str | None) -> int:
    """Return how many channels a branch of a stage has, or all of the stage."""
    module, card = model.module, model.card
    with torch.no_grad(), watched({branch: find_branch(module, stage, branch)}) as seen:
        side = default_side(model)
        run_to(module, stage, next(module.parameters()).new_zeros(1, card.preprocess.channels, side, side))
    return seen[branch].shape[1]


def default_side(model: LoadedModel) -> int:
    """Return the side in pixels of pictures that are painted."""
    size = model.card.preprocess.image_size
    return max(smallest_image(model.card.network), SIDE_PX if size >= SIDE_PX else 2 * size)


def check_channels(card: ModelCard) -> None:
    """Raise UserError for a network that reads no pictures that people can look at."""
    if card.preprocess.channels not in (1, 3):
        raise UserError(f"{card.network.name} reads {card.preprocess.channels} channels, which are no picture to look at; 1 and 3 are")


@contextmanager
def watched(parts: dict[str | None, nn.Module]) -> Iterator[dict[str | None, Tensor]]:
    """Give a place where, by name, what each part answered the last time that it ran is to be found."""
    seen: dict[str | None, Tensor] = {}
    handles = [_watch(part, partial(seen.__setitem__, name)) for name, part in parts.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _watch(part: nn.Module, tell: Callable[[Tensor], None]) -> RemovableHandle:
    """Have `tell` called with what the part leaves; with what its last ReLU reads, less of what this cuts off, where it ends in one."""
    last = part
    while isinstance(last, nn.Sequential | Sum):
        last = list(last.children())[-1]
    if isinstance(last, nn.ReLU):  # which works in place, after this

        def before(_: nn.Module, read: tuple[Tensor, ...]) -> None:
            tell(nn.functional.leaky_relu(read[0].clone(), LEAK))

        return last.register_forward_pre_hook(before)

    def after(_: nn.Module, __: object, left: Tensor) -> None:
        tell(left)

    return part.register_forward_hook(after)


def run_to(module: Body, stage: str, images: Tensor) -> Tensor:
    """Return what a stage makes of images (N, C, H, W); what comes after it isn't computed."""
    for name, part in module.stages.named_children():
        images = part(images)
        if name == stage:
            break
    return images


def to_picture(values: Tensor) -> Image.Image:
    """Return values (C, H, W), 0 to 1, as a picture, RGB."""
    pixels = (255 * values.clamp(0, 1)).round().byte().cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).convert("RGB")
