"""One module as the papers' figures draw it: enters a node and the shape it reads, leaves a `Block` of boxes and arrows.

Data flows from bottom to top. Branches are columns, a filter concatenation is a bar over its branches, a shortcut runs on
the left of what it passes, and a block that a chain repeats is drawn once, beside a bracket with the number of times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from inceptions.networks.drawing.labels import ACTIVATION, Habit, flat, kind_of, layer_details, layer_name, layers_of, repeats, shape_text
from inceptions.networks.drawing.svg import GREY, Box, Item, Kind, Label, Photo, Point, Wire, box_height, box_width, text_width, wrap
from inceptions.networks.spec import Activation, BatchNorm, Dropout, L2Normalize, Layer, Node, Numerics, Parallel, Residual
from inceptions.networks.trace import Shape, trace_node

STEP, FORK, GAP, LANE = 16.0, 26.0, 14.0, 22.0
"""Pixels: length of an arrow, length of one that forks, space between columns, width kept for a bare shortcut."""
DETAIL_WIDTH = 125.0
PHOTO, SPACING, CAPTION = 96.0, 6.0, 16.0
"""Pixels: side of a picture, between two, height of the line below."""


class Port(NamedTuple):
    """Where a value enters a block at its foot: at a box, to which an arrow points, or at a line that goes on."""

    x: float
    arrow: bool


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of drawing with its top left at (0, 0).

    axis: x of the middle of what lies on top, where the next arrow starts; top: from which x to which it may start.
    entries: where values come in, at y = height; foot: from which x to which the lowest things lie.
    exits: where branches that aren't concatenated yet end, at y = 0; the axis alone in any other block.
    """

    width: float
    height: float
    axis: float
    top: tuple[float, float]
    foot: tuple[float, float]
    entries: tuple[Port, ...]
    exits: tuple[float, ...]
    items: tuple[Item, ...]

    def shifted(self, dx: float) -> Block:
        """Return the block with everything in it `dx` to the right, and as much wider."""
        return Block(
            self.width + dx,
            self.height,
            self.axis + dx,
            (self.top[0] + dx, self.top[1] + dx),
            (self.foot[0] + dx, self.foot[1] + dx),
            tuple(Port(x + dx, arrow) for x, arrow in self.entries),
            tuple(x + dx for x in self.exits),
            self.placed(dx, 0),
        )

    def placed(self, x: float, y: float) -> tuple[Item, ...]:
        """Return the items with the block's top left at (x, y)."""
        return tuple(item.moved(x, y) for item in self.items)


@dataclass(frozen=True, slots=True)
class Pen:
    """What a module shares: the rules of shape, what goes unmarked, and for how many lines of text its boxes have room.

    gallery: pictures of what branches do, by name, each an address and a caption; those of "" are of the whole module.
    """

    numerics: Numerics
    habit: Habit
    lines: int = 1
    gallery: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


def draw_module(node: Node, shape: Shape, *, reads: Sequence[str], leaves: Sequence[str], pen: Pen) -> Block:
    """Return `node` between a box that says `reads` and, where it doesn't end in a concatenation, one that says `leaves`."""
    block = _draw_node(node, shape, pen)
    left, right = block.foot
    bar = _bar(reads, "end", right - left)
    module = _hung(_put_on(bar, block, shift=bar.axis - (left + right) / 2), pen.gallery.get("", ()))
    match repeats(node)[-1:]:
        case [((Parallel(),), 1)]:
            return module
        case _:
            return _put_on(module, draw_box(leaves, "end"))


def _hung(block: Block, pictures: Sequence[tuple[str, str]]) -> Block:
    """Return a block with pictures of what it leaves over it, two in a row."""
    if not pictures:
        return block
    columns = min(2, len(pictures))
    width, rows = columns * (PHOTO + SPACING) - SPACING, -(-len(pictures) // columns)
    height, items = rows * (PHOTO + CAPTION), []
    for place, (address, caption) in enumerate(pictures):
        x, y = place % columns * (PHOTO + SPACING), place // columns * (PHOTO + CAPTION)
        items += [
            Photo(x, y, PHOTO, address, caption),
            Label(x + PHOTO / 2, y + PHOTO + 11, caption, size=10, anchor="middle", colour=GREY),
        ]
    middle, side = width / 2, (0.0, width)
    return _put_on(block, Block(width, height, middle, side, side, (Port(middle, True),), (middle,), tuple(items)))


def draw_box(lines: Sequence[str], kind: Kind, *, width: float = 0, height: float = 0) -> Block:
    """Return one box around `lines`, at least so large."""
    width, height = max(width, box_width(lines)), max(height, box_height(len(lines)))
    radius = height / 2 if kind in ("norm", "sum") and len(lines) == 1 else 2.5
    box = Box(0, 0, width, height, kind, tuple(lines), radius=radius)
    side, middle = (0.0, width), width / 2
    return Block(width, height, middle, side, side, (Port(middle, True),), (middle,), (box,))


def _bar(lines: Sequence[str], kind: Kind, width: float) -> Block:
    """Return a box of `width` or more, in one line where that goes in."""
    joined = (": ".join(lines),)
    return draw_box(joined if box_width(joined) <= width else lines, kind, width=width)


def _is_small(layer: Layer) -> bool:
    return isinstance(layer, BatchNorm | Activation | Dropout | L2Normalize)


def _layer_lines(layer: Layer, pen: Pen) -> tuple[str, ...]:
    name, details = layer_name(layer), layer_details(layer, pen.habit)
    if details == ("V",):
        return (f"{name}, V",)
    return (name, *wrap(details, max(1.05 * text_width(name), DETAIL_WIDTH), joint=", "))


def _draw_node(node: Node, shape: Shape, pen: Pen, *, open_end: bool = False) -> Block:
    """Draw `node`; with an open end the branches of a last `Parallel` aren't concatenated, for the caller does it."""
    match node:
        case tuple():
            return _draw_chain(node, shape, pen, open_end=open_end)
        case Parallel():
            return _draw_parallel(node, shape, pen, open_end=open_end)
        case Residual():
            return _draw_residual(node, shape, pen)
        case _:
            return _draw_layer(node, pen)


def _draw_layer(layer: Layer, pen: Pen, width: float = 0) -> Block:
    if _is_small(layer):
        return draw_box((layer_name(layer),), kind_of(layer))
    return draw_box(_layer_lines(layer, pen), kind_of(layer), width=width, height=box_height(pen.lines))


def _draw_chain(chain: tuple[Node, ...], shape: Shape, pen: Pen, *, open_end: bool) -> Block:
    pieces = repeats(chain)
    layers = [part for part in flat(chain) if not isinstance(part, tuple | Parallel | Residual)]
    # Boxes of one column are equally wide.
    width = max((box_width(_layer_lines(layer, pen)) for layer in layers if not _is_small(layer)), default=0)
    blocks = []
    for index, (piece, times) in enumerate(pieces):
        last = open_end and index == len(pieces) - 1
        if times > 1:
            blocks.append(_bracketed(_draw_chain(piece, shape, pen, open_end=False), times))
        elif isinstance(piece[0], tuple | Parallel | Residual):
            blocks.append(_draw_node(piece[0], shape, pen, open_end=last))
        else:
            blocks.append(_draw_layer(piece[0], pen, width))
        shape = trace_node(piece * times, shape, pen.numerics).output
    return _stack(blocks) if blocks else _line()


def _line() -> Block:
    """Return the identity: a line that the wires before and after it make up."""
    middle = LANE / 2
    return Block(LANE, 0, middle, (middle, middle), (0, LANE), (Port(middle, False),), (middle,), ())


def _bracketed(block: Block, times: int) -> Block:
    text, x, bottom = f"x{times}", block.width + 8, block.height
    bracket = Wire((Point(x, 0), Point(x + 6, 0), Point(x + 6, bottom), Point(x, bottom)), arrow=False)
    label = Label(x + 12, bottom / 2 + 5, text, size=14, bold=True)
    return replace(block, width=x + 14 + text_width(text, 14, bold=True), items=(*block.items, bracket, label))


def _draw_parallel(node: Parallel, shape: Shape, pen: Pen, *, open_end: bool) -> Block:
    # Boxes side by side are equally high, so that they lie in rows.
    level = replace(
        pen, gallery={}, lines=max((len(_layer_lines(layer, pen)) for layer in layers_of(node) if not _is_small(layer)), default=1)
    )
    branches = [_hung(_draw_node(branch, shape, level, open_end=True), pen.gallery.get(name, ())) for name, branch in node.branches]
    side_by_side = _beside(branches)
    if open_end:
        return side_by_side
    output = trace_node(node, shape, pen.numerics).output
    return _stack((side_by_side, _bar(("Filter concat", shape_text(output)), "concat", side_by_side.width)))


def _beside(blocks: Iterable[Block]) -> Block:
    """Return blocks in a row on one floor, with lines from the lower ones up to the top of the highest."""
    blocks = tuple(blocks)
    height, x = max(block.height for block in blocks), 0.0
    entries, exits, items = [], [], []
    for block in blocks:
        moved = block.shifted(x)
        rise = height - block.height
        entries += moved.entries
        exits += moved.exits
        items += block.placed(x, rise)
        items += [Wire((Point(at, rise), Point(at, 0)), arrow=False) for at in moved.exits if rise]
        x = moved.width + GAP
    width = x - GAP
    axis = exits[0] if len(exits) == 1 else width / 2
    return Block(width, height, axis, (0, width), (0, width), tuple(entries), tuple(exits), tuple(items))


def _draw_residual(node: Residual, shape: Shape, pen: Pen) -> Block:
    """Draw the shortcut on the left, from the foot up to a `+` over the body."""
    plus = draw_box(("+",), "sum", width=34)
    scale = [draw_box((f"x{node.scale:g}",), "sum")] if node.scale != 1 else []
    both = _beside((_draw_node(node.shortcut, shape, pen), _draw_node(node.body, shape, pen)))
    aside, axis = both.exits
    block = _stack((replace(both, axis=axis, top=(axis, axis), exits=(axis,)), *scale, plus))
    corner = Point(aside, plus.height / 2)
    wire = Wire((Point(aside, block.height - both.height), corner, Point(axis - plus.width / 2, corner.y)))
    block = replace(block, items=(*block.items, wire))
    if node.activation is None:
        return block
    return _stack((block, draw_box((ACTIVATION[node.activation],), "norm")))


def _stack(blocks: Iterable[Block]) -> Block:
    """Return blocks over each other, first lowest, on one axis, with arrows between them."""
    result, *above = blocks
    for block in above:
        result = _put_on(result, block)
    return result


def _put_on(lower: Block, upper: Block, *, shift: float | None = None) -> Block:
    """Return `upper` over `lower`, `shift` to the right of it, or on the same axis when not given."""
    shift = lower.axis - upper.axis if shift is None else shift
    lower, upper = lower.shifted(max(-shift, 0)), upper.shifted(max(shift, 0))
    targets = [Port(x, True) for x in lower.exits] if len(lower.exits) > 1 else list(upper.entries)
    forks = len(lower.exits) == 1 and any(not lower.top[0] < port.x < lower.top[1] and port.x != lower.axis for port in targets)
    gap = FORK if forks else STEP
    wires = [Wire(_way(lower, port, upper.height, gap, forks), port.arrow) for port in targets]
    return Block(
        max(lower.width, upper.width),
        upper.height + gap + lower.height,
        upper.axis,
        upper.top,
        lower.foot,
        lower.entries,
        upper.exits,
        (*lower.placed(0, upper.height + gap), *upper.items, *wires),
    )


def _way(lower: Block, port: Port, y: float, gap: float, forks: bool) -> tuple[Point, ...]:
    if not forks or port.x == lower.axis:
        return Point(port.x, y + gap), Point(port.x, y)
    bend = y + gap * 0.6
    return Point(lower.axis, y + gap), Point(lower.axis, bend), Point(port.x, bend), Point(port.x, y)
