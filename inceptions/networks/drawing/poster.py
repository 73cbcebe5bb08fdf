"""The two halves of a poster: enters a network with its trace, leaves the schema of stages and a panel for every distinct module.

The schema goes from the image at the bottom to the classifier on top, as Figure 9 of arXiv:1602.07261.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from inceptions.networks.drawing.figure import Block, Pen, draw_module
from inceptions.networks.drawing.labels import cost_text, flat, kind_of, names_text, node_title, shape_text
from inceptions.networks.drawing.svg import GREY, Box, Frame, Item, Kind, Label, Point, Wire, box_height, box_width, text_width
from inceptions.networks.spec import Network, Node, Parallel, Residual
from inceptions.networks.trace import Row, Shape, Trace, trace_node

SPACE, PAD, ARROW = 16.0, 14.0, 14.0
"""Pixels: between panels, inside a panel, least length of an arrow of the schema."""
TITLE = 40.0
"""Pixels that the two lines over a module take."""
HEAD = ("head",)
"""The row of the table that every box after the stages belongs to."""
SHEET = 2**0.5
"""Width over height of the paper that a poster is meant for, A3 on its side."""


class Picture(NamedTuple):
    """Items with their top left at (0, 0)."""

    width: float
    height: float
    items: tuple[Item, ...]


ASIDE = Picture(90, 210, ())
"""About what margins, title, legend and the space between schema and panels add to a page."""


@dataclass(frozen=True, slots=True)
class SchemaBox:
    """One box of the schema: lines of text, the shape beside it, and what an auxiliary head on it is worth, if there is one.

    rows: the stages that it stands for, or "head".
    """

    kind: Kind
    lines: tuple[str, ...]
    shape: str
    rows: tuple[str, ...] = ()
    hint: str = ""
    aux: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """A module under the names of the stages that use it; rows: these, as the table names them."""

    title: str
    subtitle: str
    block: Block
    rows: tuple[str, ...]

    @property
    def width(self) -> float:
        """Least width in pixels."""
        return 2 * PAD + max(self.block.width, text_width(self.title, 13, bold=True), text_width(self.subtitle, 10))

    @property
    def height(self) -> float:
        """Least height in pixels."""
        return self.block.height + 2 * PAD + TITLE


def draw_poster(network: Network, table: Trace, pen: Pen) -> Picture:
    """Return the schema of `network` with the panels at its right, arranged for a sheet of paper on its side."""
    boxes, panels = _schema_boxes(network, table, pen), _panels(network, table, pen)
    if not panels:
        return _draw_schema(boxes, 0)
    rows = _best_rows(panels, _draw_schema(boxes, 0))
    width = max(_row_width(row) for row in rows)
    height = max(_rows_height(rows), _draw_schema(boxes, 0).height)
    schema = _draw_schema(boxes, height)
    left = schema.width + 2 * SPACE
    items = [item.moved(left, 0) for item in _draw_rows(rows, width, height)]
    return Picture(left + width, height, (*schema.items, *items))


# ---- the schema


def _schema_boxes(network: Network, table: Trace, pen: Pen) -> list[SchemaBox]:
    uses = table.stages
    boxes = [SchemaBox("end", ("image",), shape_text(uses[0].reads))]
    weights = {head.after: f"weight {head.weight:g}" for head in network.aux}
    for run in _runs(uses, set(weights)):
        names, last = [use.name for use in run], run[-1]
        aux = ("auxiliary head", weights[last.name]) if last.name in weights else ()
        times = f", x{len(run)}" if len(run) > 1 else ""
        lines = (names_text(names), node_title(last.node, pen.habit) + times)
        boxes.append(SchemaBox(kind_of(last.node), lines, shape_text(last.cost.output), tuple(names), ", ".join(names), aux))
    return [*boxes, *_head_boxes(network, uses[-1].cost.output, pen)]


def _runs(uses: Sequence[Row], ends: set[str]) -> list[list[Row]]:
    """Return stages in runs of one node and one shape; a stage in `ends` ends its run."""
    runs = [[uses[0]]]
    for before, use in pairwise(uses):
        if use.node == before.node and use.cost.output == before.cost.output and before.name not in ends:
            runs[-1].append(use)
        else:
            runs.append([use])
    return runs


def _head_boxes(network: Network, shape: Shape, pen: Pen) -> list[SchemaBox]:
    boxes = []
    for node in (*flat(network.head), *(() if network.classes else flat(network.embedding))):
        output = trace_node(node, shape, pen.numerics, "head").output
        boxes.append(SchemaBox(kind_of(node), (node_title(node, pen.habit),), shape_text(output) if output != shape else "", HEAD))
        shape = output
    if network.classes:
        boxes.append(SchemaBox("linear", ("fully connected", f"{network.classes} classes"), str(network.classes), HEAD))
    return boxes


def _draw_schema(boxes: Sequence[SchemaBox], height: float) -> Picture:
    """Return the boxes over each other, first lowest, with arrows long enough to fill `height`."""
    width = max(box_width(entry.lines, heading=len(entry.lines) > 1) for entry in boxes)
    aux_width = max((box_width(entry.aux) + 2 * SPACE for entry in boxes if entry.aux), default=0.0)
    heights = [box_height(len(entry.lines)) for entry in boxes]
    arrow = max(ARROW, (height - sum(heights)) / max(len(boxes) - 1, 1))
    total = sum(heights) + arrow * (len(boxes) - 1)
    items: list[Item] = []
    y, middle = total, aux_width + width / 2
    for entry, tall in zip(boxes, heights, strict=True):
        y -= tall
        has_heading = len(entry.lines) > 1
        items += _draw_entry(entry, Box(aux_width, y, width, tall, entry.kind, entry.lines, 6, has_heading, entry.hint, entry.rows))
        if entry is not boxes[-1]:
            items.append(Wire((Point(middle, y), Point(middle, y - arrow))))
        y -= arrow
    return Picture(aux_width + width + 8 + max(text_width(entry.shape, 10) for entry in boxes), total, tuple(items))


def _draw_entry(entry: SchemaBox, box: Box) -> list[Item]:
    middle = box.y + box.height / 2
    items: list[Item] = [box]
    if entry.shape:
        items.append(Label(box.x + box.width + 8, middle + 3.5, entry.shape, size=10, colour=GREY))
    if entry.aux:
        width, height = box_width(entry.aux), box_height(len(entry.aux))
        rows = (f"aux {entry.rows[-1]}",)
        items.append(Box(0, middle - height / 2, width, height, "linear", entry.aux, 6, rows=rows))
        items.append(Wire((Point(box.x, middle), Point(width, middle))))
    return items


# ---- the panels


def _panels(network: Network, table: Trace, pen: Pen) -> list[Panel]:
    """Return one panel for every distinct module and auxiliary head, in the order of the network."""
    modules = [use for use in table.stages if _is_module(use.node)]
    after = {row.name: head.after for head, row in zip(network.aux, table.aux, strict=True)}
    panels = [_panel(names_text([use.name for use in group]), "input", group, pen) for group in _alike(modules)]
    for group in _alike(table.aux):
        names = names_text([after[use.name] for use in group])
        panels.append(_panel(f"auxiliary head on {names}", "output of " + names, group, pen))
    return panels


def _is_module(node: Node) -> bool:
    parts = flat(node)
    return len(parts) > 1 or any(isinstance(part, Parallel | Residual) for part in parts)


def _alike(uses: Sequence[Row]) -> list[list[Row]]:
    groups: dict[tuple[Node, Shape], list[Row]] = {}
    for use in uses:
        groups.setdefault((use.node, use.cost.output), []).append(use)
    return list(groups.values())


def _panel(title: str, source: str, group: Sequence[Row], pen: Pen) -> Panel:
    first = group[0]
    reads = " or ".join(dict.fromkeys(shape_text(use.reads) for use in group))
    block = draw_module(first.node, first.reads, reads=(source, reads), leaves=("output", shape_text(first.cost.output)), pen=pen)
    return Panel(title, cost_text([use.cost for use in group]), block, tuple(use.name for use in group))


Rows = list[list[Panel]]


def _best_rows(panels: Sequence[Panel], schema: Picture) -> Rows:
    """Return the panels in rows, in order, so that the whole can be printed as large as may be."""
    return min(_even_splits(panels), key=lambda rows: _badness(rows, schema))


def _even_splits(panels: Sequence[Panel]) -> list[Rows]:
    """Return the panels in one row, in two, and so on, each time with rows as even as may be."""
    total = len(panels)
    # After each round: the least sum of squared widths with which the first `end` panels fill so many rows, and those rows.
    best: dict[int, tuple[float, Rows]] = {0: (0, [])}
    splits: list[Rows] = []
    for _ in range(total):
        longer: dict[int, tuple[float, Rows]] = {}
        for end in range(1, total + 1):
            ways = [(cost + _row_width(panels[start:end]) ** 2, start) for start, (cost, _) in best.items() if start < end]
            if ways:
                cost, start = min(ways)
                longer[end] = (cost, [*best[start][1], list(panels[start:end])])
        best = longer
        splits.append(best[total][1])
    return splits


def _badness(rows: Rows, schema: Picture) -> tuple[float, float]:
    """Return how small the whole must be printed to go on a sheet, and then how uneven its rows are."""
    width, height = max(map(_row_width, rows)), max(_rows_height(rows), schema.height)
    return max(schema.width + width + ASIDE.width, SHEET * (height + ASIDE.height)), sum(width - _row_width(row) for row in rows)


def _row_width(row: Sequence[Panel]) -> float:
    return sum(panel.width for panel in row) + SPACE * (len(row) - 1)


def _rows_height(rows: Rows) -> float:
    return sum(max(panel.height for panel in row) for row in rows) + SPACE * (len(rows) - 1)


def _draw_rows(rows: Rows, width: float, height: float) -> list[Item]:
    """Return the panels, made wider and higher alike so that they fill `width` x `height` pixels."""
    items: list[Item] = []
    y, extra_height = 0.0, (height - _rows_height(rows)) / len(rows)
    for row in rows:
        x, extra = 0.0, (width - _row_width(row)) / len(row)
        tall = max(panel.height for panel in row) + extra_height
        for panel in row:
            items += (item.moved(x, y) for item in _draw_panel(panel, panel.width + extra, tall))
            x += panel.width + extra + SPACE
        y += tall + SPACE
    return items


def _draw_panel(panel: Panel, width: float, height: float) -> list[Item]:
    x, y = (width - panel.block.width) / 2, height - PAD - panel.block.height
    return [
        Frame(0, 0, width, height, panel.rows),
        Label(PAD, PAD + 10, panel.title, size=13, bold=True),
        Label(PAD, PAD + 24, panel.subtitle, size=10, colour=GREY),
        *panel.block.placed(x, y),
    ]
