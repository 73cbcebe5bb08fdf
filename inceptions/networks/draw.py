"""A network as an SVG document: enters a `Network`, leaves a poster of all of it, or one stage as the papers' figures draw it.

Colours are those of the legend, text is text, and sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from inceptions.networks.draw_layout import Pen, draw_module
from inceptions.networks.draw_poster import Picture, draw_poster, stage_uses
from inceptions.networks.draw_text import amount, cost_text, habit_of, node_title, shape_text
from inceptions.networks.spec import Network
from inceptions.networks.svg import GREY, Box, Item, Kind, Label, render, text_width, wrap
from inceptions.networks.trace import trace

MARGIN, SPACE, SWATCH = 28.0, 18.0, 12.0
"""Pixels: around the page, between its parts, side of a square of the legend."""

LEGEND: dict[Kind, str] = {
    "conv": "convolution",
    "separable": "separable convolution",
    "linear": "fully connected",
    "pool": "pooling",
    "norm": "normalisation, activation, dropout",
    "concat": "filter concatenation",
    "sum": "residual sum",
}


def draw(network: Network, *, stage: str | None = None) -> str:
    """Return `network`, or its stage of that name, as an SVG document.

    Raises NetworkError that lists the stages where there is none of that name.
    """
    return _whole(network) if stage is None else _one_stage(network, network.stage(stage).name)


def _pen(network: Network) -> Pen:
    return Pen(network.numerics, habit_of(network))


def _one_stage(network: Network, name: str) -> str:
    uses = stage_uses(network, trace(network))
    index = next(index for index, use in enumerate(uses) if use.name == name)
    use, source = uses[index], f"output of {uses[index - 1].name}" if index else "image"
    reads, leaves = shape_text(use.reads), shape_text(use.cost.output)
    pen = _pen(network)
    block = draw_module(use.node, use.reads, reads=(source, reads), leaves=("output", leaves), pen=pen)
    what = node_title(use.node, pen.habit)
    return _page(
        Picture(block.width, block.height, block.items),
        title=f"{network.title}, stage {name}",
        size=15,
        meta=(what, f"{reads} to {leaves}", cost_text([use.cost])),
        notes=(pen.habit.sentence,),
        description=f"Stage {name} of {network.name}: {what}, from {reads} to {leaves}. Data flows from bottom to top.",
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


def _page(
    picture: Picture, *, title: str, size: float, meta: Sequence[str], notes: Sequence[str], description: str
) -> str:
    """Return a page with a title and what belongs to it above the picture, and the legend and notes below."""
    inner = max(picture.width, text_width(max(title.split(), key=len), size, bold=True), 320.0)
    items: list[Item] = []
    y = MARGIN
    for line in wrap(title.split(), inner, size * 1.16):
        y += size
        items.append(Label(MARGIN, y, line, size=size, bold=True))
        y += 0.25 * size
    for line in wrap(meta, inner, 12, joint=" · "):
        y += 16
        items.append(Label(MARGIN, y, line, size=12, colour=GREY))
    y += SPACE
    items += (item.moved(MARGIN + (inner - picture.width) / 2, y) for item in picture.items)
    y += picture.height + SPACE
    legend = _legend(picture.items, inner)
    items += (item.moved(MARGIN, y) for item in legend.items)
    y += legend.height
    for note in notes:
        for line in wrap(note.split(), inner, 10.5):
            y += 14
            items.append(Label(MARGIN, y, line, size=10.5, colour=GREY))
    return render(items, width=inner + 2 * MARGIN, height=y + MARGIN, title=title, description=description)


def _legend(items: Sequence[Item], width: float) -> Picture:
    """Return a square of its colour and a word for every kind of box in `items`."""
    kinds = {item.kind for item in items if isinstance(item, Box)}
    found: list[Item] = []
    x = y = 0.0
    for kind in (kind for kind in LEGEND if kind in kinds):
        wide = SWATCH + 6 + text_width(LEGEND[kind])
        if x and x + wide > width:
            x, y = 0.0, y + SWATCH + 6
        found += (Box(x, y, SWATCH, SWATCH, kind, ()), Label(x + SWATCH + 6, y + 10, LEGEND[kind]))
        x += wide + 16
    return Picture(width, y + SWATCH + 8, tuple(found))
