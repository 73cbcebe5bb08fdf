"""visualize, dream: from a model to pictures of what its parts answer to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.explain import check_free, open_loaded
from inceptions.cli.terminal import say, track
from inceptions.errors import UserError
from inceptions.files import whole_file, write_whole
from inceptions.names import shown

if TYPE_CHECKING:
    from inceptions.explain.features import Channel
    from inceptions.weights.folder import LoadedModel

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be painted: one channel, or, of one branch or of all, `each` channels."""

    stage: str
    branch: str | None
    channel: int | None
    each: int


def run_visualization(name: str, wanted: Wanted, *, output: Path | None, force: bool, steps: int, seed: int, device: str | None) -> None:
    """Paint what channels answer to, into a PNG of one or an SVG of several."""
    ending = ".svg" if wanted.channel is None else ".png"
    if output is not None and output.suffix.lower() != ending:
        what = "one channel is a PNG" if wanted.channel is not None else "several channels are an SVG"
        raise UserError(f"--output is {output}; {what}, so it must end in {ending}")
    if output is not None:
        check_free([output], force=force)
    model = open_loaded(name, device)
    parts = (model.card.network.name, wanted.stage, wanted.branch, wanted.channel)
    path = output or Path("-".join(str(part) for part in parts if part is not None) + ending)
    check_free([path], force=force)
    from inceptions.explain.features import Channel, visualize_channels

    channels = list(_choose(model, wanted)) if wanted.channel is None else [Channel(wanted.branch, wanted.channel)]
    with track("painting", steps) as advance:
        pictures = visualize_channels(model, wanted.stage, channels, steps=steps, seed=seed, step=advance)
    if wanted.channel is None:
        write_whole(path, _drawing(model, wanted.stage, channels, pictures))
    else:
        with whole_file(path) as file:
            pictures[0].save(file, "PNG")
    painted = f"{len(channels)} channels" if wanted.channel is None else f"channel {wanted.channel}"
    say(f"painted {painted} of {model.card.network.name}, stage {wanted.stage}{f', {wanted.branch}' if wanted.branch else ''}, in {path}")


def _choose(model: LoadedModel, wanted: Wanted) -> Iterator[Channel]:
    """Yield the channels of a poster: evenly spread ones of each branch that is wanted, or of a stage without branches."""
    from inceptions.explain.features import Channel, count_channels, spread_channels
    from inceptions.explain.layers import find_branches

    branches = [wanted.branch] if wanted.branch is not None else list(find_branches(model.module, wanted.stage)) or [None]
    for branch in branches:
        for number in spread_channels(count_channels(model, wanted.stage, branch), wanted.each):
            yield Channel(branch, number)


def _drawing(model: LoadedModel, stage: str, channels: list[Channel], pictures: list[Any]) -> str:
    from inceptions.evaluation.standalone import picture_address
    from inceptions.networks.drawing.page import draw_answers

    gallery: dict[str, list[tuple[str, str]]] = {}
    for (branch, number), picture in zip(channels, pictures, strict=True):
        gallery.setdefault(branch or "", []).append((picture_address(picture, side_px=96), f"channel {number}"))
    note = "Pictures: what a channel answers to most, found by gradient ascent from noise (Olah et al., Distill 2017)."
    return draw_answers(model.card.network, stage, gallery, note=note)


def run_dream(image: Path, name: str, stage: str, *, output: Path | None, force: bool, device: str | None, **settings: Any) -> None:
    """Dream of a photo, and write it."""
    path = output or Path(f"{image.stem}-dream.png")
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--output is {path}; it must end in {', '.join(FORMATS)}")
    check_free([path], force=force)
    if not image.is_file():
        raise UserError(f"{shown(image)}: no such file; give a photo")
    model = open_loaded(name, device)
    from inceptions.explain.dream import deep_dream

    with track("dreaming", settings["octaves"] * settings["steps"]) as advance:
        dreamt = deep_dream(model, image, stage, step=advance, **settings)
    with whole_file(path) as file:
        dreamt.save(file, FORMATS[path.suffix.lower()], quality=92)
    say(f"dreamt of {image} with {model.card.network.name}, stage {stage}, in {path}")
