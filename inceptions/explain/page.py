"""Explanations as one HTML page: enters pictures with the maps of some classes each, leaves a file without links to anything.

Needs jinja2 (`inceptions[explain]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from inceptions.evaluation.standalone import environment, picture_address, template_text
from inceptions.explain.explanation import Explanation
from inceptions.files import write_whole

SIDE_PX = 260


@dataclass(frozen=True, slots=True)
class _Map:
    target: str
    probability: float
    address: str


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    address: str
    maps: tuple[_Map, ...]


def write_page(
    explained: Iterable[tuple[str, Sequence[Explanation]]], path: Path, *, title: str, facts: Sequence[tuple[str, str]] = ()
) -> None:
    """Write a page of pictures by name, each with its explanations side by side, of one or more classes.

    explained: taken one by one, so that no more than one picture is held at a time. facts: name and value of what else is to be known.
    """
    entries = [_entry(name, explanations) for name, explanations in explained]
    template = environment().from_string(template_text("inceptions.explain", "page.html.jinja"))
    write_whole(path, template.render(title=title, facts=facts, entries=entries))


def _entry(name: str, explanations: Sequence[Explanation]) -> _Entry:
    maps = [_Map(item.target, item.probability, picture_address(_small(item), side_px=SIDE_PX)) for item in explanations]
    return _Entry(name, picture_address(explanations[0].image, side_px=SIDE_PX), tuple(maps))


def _small(item: Explanation) -> Image.Image:
    return item.overlay(0.6, max_side=2 * SIDE_PX)
