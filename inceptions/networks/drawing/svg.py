"""Boxes, arrows and text as an SVG document: enters a list of items in pixels, y downwards, leaves the document as text.

Only what any renderer knows is used: rectangles, polylines, text, one marker, presentation attributes, no style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self, TypeAlias, assert_never
from xml.sax.saxutils import escape, quoteattr

Kind = Literal["conv", "separable", "linear", "pool", "norm", "concat", "sum", "end"]
"""What a box stands for; "end" is where values come in or go out."""

COLOURS: dict[Kind, tuple[str, str]] = {
    "conv": ("#bcdaf6", "#2f6da8"),
    "separable": ("#74bcab", "#1f6f68"),
    "linear": ("#7199d6", "#1d4380"),
    "pool": ("#f5c690", "#b3640a"),
    "norm": ("#dfa9d0", "#9a5580"),
    "concat": ("#d8d8d8", "#6a6a6a"),
    "sum": ("#fef19e", "#9c8400"),
    "end": ("#ffffff", "#6a6a6a"),
}
"""Fill and stroke of a box. Fills differ, also with red, green or blue blindness, by a CIELAB distance of 10 or more."""

INK, GREY, RULE = "#1a1a1a", "#555555", "#c4c4c4"
FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
FONT_SIZE, LINE_HEIGHT, PAD_X = 11.0, 13.0, 7.0

_WIDEST = {0.3: "ijlI'", 0.4: "ft!(),-./:;[\\]| ", 0.5: 'r"*_`J', 0.6: "cksvxyzFL?", 0.7: "ABCEKPRSTVXYZ$", 0.8: "DGHNOQU&"}
_WIDER = {0.85: "w#+<=>^~M", 1.0: "mW%@"}
_EMS = {letter: ems for ems, letters in (_WIDEST | _WIDER).items() for letter in letters}
_EMS |= dict.fromkeys("0123456789abdeghnopqu{}", 0.64)
_BOLD = 1.16


def text_width(text: str, size: float = FONT_SIZE, *, bold: bool = False) -> float:
    """Return how wide `text` is at most, in pixels: in DejaVu Sans, the widest of the fonts asked for."""
    return size * (_BOLD if bold else 1) * sum(_EMS.get(letter, 1.0) for letter in text)


class Point(NamedTuple):
    """A place on the page."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class _Placed:
    """What has a place on the page."""

    x: float
    y: float

    def moved(self, dx: float, dy: float) -> Self:
        """Return the same elsewhere."""
        return replace(self, x=self.x + dx, y=self.y + dy)


@dataclass(frozen=True, slots=True)
class Box(_Placed):
    """A rectangle with lines of text in its middle; a heading is a first line in bold; rows: those of the table that it stands for."""

    width: float
    height: float
    kind: Kind
    lines: tuple[str, ...]
    radius: float = 2.5
    heading: bool = False
    hint: str = ""
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wire:
    """A line through some points, with an arrowhead at its end or none."""

    points: tuple[Point, ...]
    arrow: bool = True

    def moved(self, dx: float, dy: float) -> Wire:
        """Return the wire elsewhere."""
        return replace(self, points=tuple(Point(x + dx, y + dy) for x, y in self.points))


@dataclass(frozen=True, slots=True)
class Label(_Placed):
    """A line of text whose baseline starts, has its middle or ends at a point."""

    text: str
    size: float = FONT_SIZE
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False
    colour: str = INK


@dataclass(frozen=True, slots=True)
class Frame(_Placed):
    """A thin border around a panel; rows: those of the table that it shows."""

    width: float
    height: float
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Photo(_Placed):
    """A picture of pixels, at an address that holds all of it; hint: what it shows."""

    side: float
    address: str
    hint: str = ""


Item: TypeAlias = Box | Wire | Label | Frame | Photo


def box_width(lines: Sequence[str], *, heading: bool = False) -> float:
    """Return the width of a box around `lines`, in whole pixels."""
    widths = (text_width(line, bold=heading and index == 0) for index, line in enumerate(lines))
    return float(round(max(widths, default=0) + 2 * PAD_X + 0.5))


def box_height(lines: int) -> float:
    """Return the height of a box around so many lines."""
    return LINE_HEIGHT * lines + 8


def wrap(words: Iterable[str], width: float, size: float = FONT_SIZE, *, joint: str = " ", bold: bool = False) -> tuple[str, ...]:
    """Return `words` joined into lines of at most `width` pixels; a word that is wider has a line of its own."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]}{joint}{word}" if lines else ""
        if longer and text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
        else:
            # A comma stays at the end of its line, a dot between two things goes.
            lines[-1:] = [*(line + joint.rstrip(" ·") for line in lines[-1:]), word]
    return tuple(lines)


def render(items: Iterable[Item], *, width: float, height: float, title: str, description: str) -> str:
    """Return an SVG document of `width` x `height` pixels with `items` on white, in the order given."""
    size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONTS}" font-size="{_number(FONT_SIZE)}">',
            f"<title>{_escaped(title)}</title>",
            f"<desc>{_escaped(description)}</desc>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto" '
            f'markerUnits="userSpaceOnUse"><path d="M0 0.8 L8 4 L0 7.2 z" fill="{GREY}"/></marker></defs>',
            f'<rect width="{_number(width)}" height="{_number(height)}" fill="#ffffff"/>',
            *map(_render_item, items),
            "</svg>\n",
        )
    )


def _number(value: float) -> str:
    return f"{round(value, 1):g}" if abs(value) < 1e5 else str(round(value))


def _escaped(text: str) -> str:
    """Return `text` for XML, which allows no control characters, not even escaped."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def _render_item(item: Item) -> str:
    match item:
        case Box():
            return _render_box(item)
        case Wire():
            points = " ".join(f"{_number(x)},{_number(y)}" for x, y in item.points)
            head = ' marker-end="url(#arrow)"' if item.arrow else ""
            return f'<polyline points="{points}" fill="none" stroke="{GREY}" stroke-width="1"{head}/>'
        case Label():
            return _text(item)
        case Frame():
            return f'<rect class="panel"{_rows(item)} {_place(item)} rx="5" fill="#ffffff" stroke="{RULE}"/>'
        case Photo():
            size = f'x="{_number(item.x)}" y="{_number(item.y)}" width="{_number(item.side)}" height="{_number(item.side)}"'
            hint = f"<title>{_escaped(item.hint)}</title>"
            return f"<image {size} href={quoteattr(item.address)}>{hint}</image>"
        case _:
            assert_never(item)


def _place(item: Box | Frame) -> str:
    return f'x="{_number(item.x)}" y="{_number(item.y)}" width="{_number(item.width)}" height="{_number(item.height)}"'


def _rows(item: Box | Frame) -> str:
    """Return the attribute by which a page that shows the drawing finds the rows of a box or panel."""
    return f" data-rows={quoteattr(', '.join(item.rows))}" if item.rows else ""


def _render_box(box: Box) -> str:
    fill, stroke = COLOURS[box.kind]
    paint = f'rx="{_number(box.radius)}" fill="{fill}" stroke="{stroke}"'
    middle = box.x + box.width / 2
    # The middle of a line of text lies about 0.35 em above its baseline.
    first = box.y + (box.height - LINE_HEIGHT * (len(box.lines) - 1)) / 2 + 0.35 * FONT_SIZE
    labels = (
        Label(middle, first + index * LINE_HEIGHT, line, anchor="middle", bold=box.heading and index == 0)
        for index, line in enumerate(box.lines)
    )
    hint = f"<title>{_escaped(box.hint)}</title>" if box.hint else ""
    return f'<g class="{box.kind}"{_rows(box)}>{hint}<rect {_place(box)} {paint}/>{"".join(map(_text, labels))}</g>'


def _text(label: Label) -> str:
    extra = f' font-size="{_number(label.size)}"' if label.size != FONT_SIZE else ""
    extra += ' font-weight="bold"' if label.bold else ""
    extra += f' text-anchor="{label.anchor}"' if label.anchor != "start" else ""
    return f'<text x="{_number(label.x)}" y="{_number(label.y)}"{extra} fill="{label.colour}">{_escaped(label.text)}</text>'
