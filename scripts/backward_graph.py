"""The backward pass of batch normalisation as a graph: enters nothing, leaves an SVG. Forward to the right, gradients back to the left.

STEPS is the graph: each box with what it computes of values, and of gradients; a test computes both by the same words.
"""

from __future__ import annotations

from typing import NamedTuple

from inceptions.networks.drawing.svg import Box, Item, Kind, Label, Point, Wire, box_width, render


class Step(NamedTuple):
    """A box of the graph: its column and row, what it is, what it computes of values, and what gradients it sends back, in Python."""

    column: int
    row: int
    kind: Kind
    title: str
    forward: str
    backward: tuple[str, ...]


STEPS = (
    Step(0, 1, "end", "x", "x", ("dx = dc + dmean / N",)),
    Step(1, 0, "norm", "mean of the batch", "mean = x.mean(0)", ("dmean = -dc.sum(0)",)),
    Step(1, 1, "sum", "minus the mean", "c = x - mean", ("dc = dn * i + 2 * c * dsquare",)),
    Step(2, 0, "norm", "mean of squares", "v = (c * c).mean(0)", ("dsquare = dv / N",)),
    Step(3, 0, "norm", "root", "s = (v + eps) ** 0.5", ("dv = ds / (2 * s)",)),
    Step(4, 0, "norm", "inverse", "i = 1 / s", ("ds = -di / s ** 2",)),
    Step(4, 1, "sum", "times", "n = c * i", ("di = (dn * c).sum(0)",)),
    Step(5, 1, "sum", "times gamma", "gn = gamma * n", ("dn = gamma * dy", "dgamma = (dy * n).sum(0)")),
    Step(6, 1, "sum", "plus beta", "y = gn + beta", ("dbeta = dy.sum(0)",)),
    Step(7, 1, "end", "y", "y", ()),
)
WIRES = ((0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (2, 6), (6, 7), (7, 8), (8, 9))
GAP, TOP, ROW, HEIGHT = 26.0, 44.0, 110.0, 24.0


def draw_backward() -> str:
    """Return the graph: a box for each step, above it what it computes, below it the gradients that it sends back."""
    widths = [
        max(box_width((text,)) for step in STEPS if step.column == column for text in (step.title, step.forward, *step.backward))
        for column in range(1 + max(step.column for step in STEPS))
    ]
    lefts = [GAP + sum(widths[:column]) + column * GAP for column in range(len(widths))]
    boxes = [Box(lefts[step.column], TOP + step.row * ROW, widths[step.column], HEIGHT, step.kind, (step.title,)) for step in STEPS]
    items: list[Item] = [_wire(boxes[start], boxes[end]) for start, end in WIRES]
    for step, box in zip(STEPS, boxes, strict=True):
        middle = box.x + box.width / 2
        items.append(box)
        if step.forward != step.title:
            items.append(Label(middle, box.y - 6, step.forward, anchor="middle"))
        items += [
            Label(middle, box.y + HEIGHT + 14 + 14 * line, said, anchor="middle", colour="#b00020")
            for line, said in enumerate(step.backward)
        ]
    said = "Values go to the right, in black above each box; gradients come back, in red below it. N: how many values a mean is of."
    items.append(Label(GAP, TOP + 2 * ROW - 8, said))
    width = lefts[-1] + widths[-1] + GAP
    return render(items, width=width, height=TOP + 2 * ROW + 8, title="Batch normalisation, forward and backward", description=said)


def _wire(start: Box, end: Box) -> Wire:
    if start.x == end.x:  # up or down in one column
        x = start.x + 8  # beside the words
        down = start.y < end.y
        return Wire((Point(x, start.y + (HEIGHT if down else 0)), Point(x, end.y + (0 if down else HEIGHT))))
    right, left = start.x + start.width, end.x
    if start.y == end.y:
        return Wire((Point(right, start.y + HEIGHT / 2), Point(left, end.y + HEIGHT / 2)))
    turn = left - GAP / 2
    return Wire(
        (
            Point(right, start.y + HEIGHT / 2),
            Point(turn, start.y + HEIGHT / 2),
            Point(turn, end.y + HEIGHT / 2),
            Point(left, end.y + HEIGHT / 2),
        )
    )
