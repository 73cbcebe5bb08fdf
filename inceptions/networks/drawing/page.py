"""A network as an SVG document: enters a `Network`, leaves a poster of all of it, or one stage as the papers' figures draw it.

Colours are those of the legend, text is text, and sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inceptions.networks.drawing.figure import Pen, draw_module
from inceptions.networks.drawing.labels import amount, cost_text, habit_of, node_title, shape_text
from inceptions.networks.drawing.poster import Picture, draw_poster
from inceptions.networks.drawing.svg import FONT_SIZE, GREY, INK, Box, Item, Kind, Label, render, text_width, wrap
from inceptions.networks.spec import Network
from inceptions.networks.trace import trace

MARGIN, SPACE, SWATCH, LEAST_WIDTH = 28.0, 18.0, 12.0, 320.0
"""Pixels: around the page, between its parts, side of a square of the legend, least width between the margins."""

LEGEND: dict[Kind, str] = {
    "conv": "convolution",
    "separable": "separable convolution",
    "linear": "fully connected",
    "pool": "pooling",
    "norm": "norm, activation, dropout",
    "concat": "filter concatenation",
    "sum": "residual sum",
}


Gallery = Mapping[str, Sequence[tuple[str, str]]]
"""Pictures by branch, or by "" of the whole stage: an address that holds a picture, and a caption."""


def draw(network: Network, *, stage: str | None = None) -> str:
    """Return `network`, or its stage of that name, as an SVG document.

    Raises NetworkError that lists the stages where there is none of that name.
    """
    return _whole(network) if stage is None else _one_stage(network, network.stage(stage).name)


def draw_answers(network: Network, stage: str, gallery: Gallery, *, note: str) -> str:
    """Return a stage as `draw` does, with pictures of what its branches do where these end; note: what the pictures are, a sentence."""
    return _one_stage(network, network.stage(stage).name, gallery, note)


def _pen(network: Network) -> Pen:
    return Pen(network.numerics, habit_of(network))


def _one_stage(network: Network, name: str, gallery: Gallery | None = None, note: str = "") -> str:
    uses = trace(network).stages
    index = next(index for index, use in enumerate(uses) if use.name == name)
    use, source = uses[index], f"output of {uses[index - 1].name}" if index else "image"
    reads, leaves = shape_text(use.reads), shape_text(use.cost.output)
    pen = replace(_pen(network), gallery=gallery or {})
    block = draw_module(use.node, use.reads, reads=(source, reads), leaves=("output", leaves), pen=pen)
    what = node_title(use.node, pen.habit)
    return _page(
        Picture(block.width, block.height, block.items),
        title=f"Stage {name}",
        size=18,
        meta=(network.title, what, f"{reads} to {leaves}", cost_text([use.cost])),
        notes=(pen.habit.sentence, *([note] if note else [])),
        description=f"Stage {name} of {network.name}, {network.title}: {what}, from {reads} to {leaves}. Data flows from bottom to top.",
    )


def _whole(network: Network) -> str:
    table, pen = trace(network), _pen(network)
    total, training = table.total, table.total_with_aux
    extra = f" ({amount(training.parameters)} with auxiliary heads)" if network.aux else ""
    parameters, multiply_adds = f"{amount(total.parameters)} parameters{extra}", f"{amount(total.multiply_adds)} multiply-adds"
    size = f"images of {network.image_size}x{network.image_size} pixels"
    differs = (f"Differs from the paper: {'; '.join(network.differs_from_paper)}.",) if network.differs_from_paper else ()
    return _page(
        draw_poster(network, table, pen),
        title=network.title,
        size=24,
        meta=(network.name, network.source, parameters, multiply_adds, size),
        notes=(pen.habit.sentence, *differs),
        description=f"{network.name}, {network.source}: {len(network.stages)} stages from bottom to top, with {parameters} and "
        f"{multiply_adds}; beside them a panel for every distinct module.",
    )


def _page(picture: Picture, *, title: str, size: float, meta: Sequence[str], notes: Sequence[str], description: str) -> str:
    """Return a page with a title and what belongs to it above the picture, and the legend and notes below."""
    words = " ".join((*meta, *notes)).split()
    inner = max(picture.width, LEAST_WIDTH, *(text_width(word, size, bold=True) for word in title.split()), *map(text_width, words))
    top = _paragraph(title, inner, size, bold=True)
    top += [label for line in wrap(meta, inner, joint=" · ") for label in _paragraph(line, inner, FONT_SIZE)]
    legend = _legend(picture.items, inner)
    bottom = [line for note in notes for line in _paragraph(note, inner, FONT_SIZE)]
    items: list[Item] = []
    y = MARGIN
    for line in top:
        items.append(line.moved(MARGIN, y))
        y += 1.35 * line.size
    y += SPACE
    items += (item.moved(MARGIN + (inner - picture.width) / 2, y) for item in picture.items)
    y += picture.height + SPACE
    items += (item.moved(MARGIN, y) for item in legend.items)
    y += legend.height
    for line in bottom:
        items.append(line.moved(MARGIN, y))
        y += 1.35 * line.size
    return render(items, width=inner + 2 * MARGIN, height=y + MARGIN, title=title, description=description)


def _paragraph(text: str, width: float, size: float, *, bold: bool = False) -> list[Label]:
    """Return the lines of `text`, each as if it were the first; bold for a title, grey for the rest."""
    colour = INK if bold else GREY
    return [Label(0, size, line, size=size, bold=bold, colour=colour) for line in wrap(text.split(), width, size, bold=bold)]


def _legend(items: Sequence[Item], width: float) -> Picture:
    """Return a square of its colour and a word for every kind of box in `items`."""
    kinds: set[Kind] = {item.kind for item in items if isinstance(item, Box)}
    found: list[Item] = []
    x = y = 0.0
    for kind, word in LEGEND.items():
        if kind not in kinds:
            continue
        wide = SWATCH + 6 + text_width(word)
        if x and x + wide > width:
            x, y = 0.0, y + SWATCH + 6
        found += (Box(x, y, SWATCH, SWATCH, kind, ()), Label(x + SWATCH + 6, y + 10, word))
        x += wide + 16
    return Picture(width, y + SWATCH + 12, tuple(found))
