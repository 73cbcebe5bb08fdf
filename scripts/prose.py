"""Text and tables as Markdown, for the pages that are made from the code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PAPER = re.compile(r"(?:arXiv:)?\b(\d{4}\.\d{4,5})\b")


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column of a table, and whether its cells are numbers, which stand to the right."""

    head: str
    is_number: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    heads = f"| {' | '.join(column.head for column in columns)} |"
    rule = f"|{'|'.join('---:' if column.is_number else '---' for column in columns)}|"
    return "\n".join((heads, rule, *(f"| {' | '.join(row)} |" for row in rows))) + "\n"


def plain(text: str) -> str:
    """Return text so that Markdown leaves it as it is but for `code`, also in a table; papers become links."""
    escaped = re.sub(r"`[^`]*`|[*_\[\]]", lambda found: found[0] if len(found[0]) > 1 else rf"\{found[0]}", text)
    escaped = escaped.replace("|", "&#124;").replace("<", "&lt;")
    return PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", escaped)
