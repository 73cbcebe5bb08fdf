"""Docstrings as the house writes them, made Markdown for the reference: an extension of griffe, by which mkdocstrings reads code.

Enters the package as griffe read it, leaves it with every docstring rewritten: a field that is explained (`lr: the peak; ...`, on a line of
its own or after another) becomes an item of a list, a name between backticks that has a page becomes a link, and a paper its address. A
named tuple gets the signature that dataclasses have.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))  # griffe runs this file, and not as a module of a package
from prose import plain
from reference import documented

DOCS = Path(__file__).parents[1] / "docs"
CODE = re.compile(r"`([A-Za-z_][\w.]*)`")
Link = Callable[[str], str | None]


class HouseStyle(griffe.Extension):
    """What griffe calls once it has read the package."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite every docstring of the package."""
        targets = {}
        for identifier in documented(DOCS):
            targets[pkg.modules_collection[identifier].canonical_path] = identifier
        for obj, module in _walk(pkg, pkg):
            if obj.is_class and _is_named_tuple(obj):
                _give_signature(obj)
            if obj.is_function:
                _call_factories(obj)
            if obj.docstring:
                names = fields_of(obj)
                obj.docstring.value = to_markdown(obj.docstring.value, names=names, link=_linker(targets, obj, module))


def _walk(obj: griffe.Object, module: griffe.Module) -> Iterator[tuple[griffe.Object, griffe.Module]]:
    """Yield everything that is defined in `obj`, with the module that it is in."""
    for member in obj.members.values():
        if isinstance(member, griffe.Module):
            yield from _walk(member, member)
        elif isinstance(member, griffe.Object):
            yield member, module
            yield from _walk(member, module)


def _is_named_tuple(obj: griffe.Object) -> bool:
    return isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases)


def _give_signature(obj: griffe.Object) -> None:
    """Give a named tuple the `__init__` that its fields make."""
    kind = griffe.ParameterKind.positional_or_keyword
    fields = [member for member in obj.members.values() if isinstance(member, griffe.Attribute) and "property" not in member.labels]
    parameters = [griffe.Parameter("self", kind=kind)]
    parameters += [griffe.Parameter(field.name, annotation=field.annotation, kind=kind, default=field.value) for field in fields]
    obj.set_member("__init__", griffe.Function("__init__", lineno=0, endlineno=0, parameters=griffe.Parameters(*parameters), parent=obj))


def _call_factories(obj: griffe.Object) -> None:
    """Show the default of a field that a lambda makes as what it makes."""
    for parameter in obj.parameters if isinstance(obj, griffe.Function) else ():
        made = parameter.default
        if isinstance(made, griffe.ExprCall) and isinstance(made.function, griffe.ExprLambda) and not made.arguments:
            parameter.default = made.function.body


def fields_of(obj: griffe.Object) -> set[str]:
    """Return what a docstring may explain: the parameters of a function, the fields and attributes of a class."""
    names = {parameter.name.lstrip("*") for parameter in obj.parameters} if isinstance(obj, griffe.Function | griffe.Class) else set()
    return names | ({name for name, member in obj.all_members.items() if member.is_attribute} if obj.is_class else set())


def _linker(targets: dict[str, str], obj: griffe.Object, module: griffe.Module) -> Link:
    """Return what finds the page of a name in the docstring of `obj`.

    A class, a constant or a dotted name is known by its end; a function, whose name may be a word or another library's, where the module
    has it.
    """

    def link(name: str) -> str | None:
        here = {obj.canonical_path, obj.parent.canonical_path if obj.parent else ""}
        if name.islower() and "." not in name and name not in module.members:
            return None
        found = {identifier for path, identifier in targets.items() if f".{path}".endswith(f".{name}") and path not in here}
        return found.pop() if len(found) == 1 else None

    return link


def to_markdown(text: str, *, names: Collection[str], link: Link) -> str:
    """Return a docstring as Markdown. names: of the fields that it may explain."""
    return "\n\n".join(_paragraph(part, names, link) for part in text.split("\n\n"))


def _paragraph(text: str, names: Collection[str], link: Link) -> str:
    if all(line.startswith("    ") for line in text.splitlines()):
        return text  # code
    blocks, before = [], None
    for field, said in _parts(text, names):
        said = _linked(plain(said), link)
        words = f"- {', '.join(f'`{name}`' for name in field.split(', '))}: {said}" if field else said
        blocks.append(words if field and before else f"\n{words}")
        before = field
    return "\n".join(blocks).strip("\n")


def _parts(text: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what a paragraph is made of: fields with what is said of them, and prose, which has no field."""
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or r"(?!)"
    start = re.compile(rf"(?:^|(?<=[.;] ))((?:{name})(?:, (?:{name}))*):\s", re.MULTILINE)
    ends = [*(found.start() for found in start.finditer(text)), len(text)]
    if ends[0]:
        yield "", re.sub(";$", ".", _joined(text[: ends[0]]))
    for first, last in pairwise(ends):
        found = start.match(text, first)
        assert found is not None  # it began there
        said, *prose = re.split(r"(?<=[.:])\n(?=[A-Z`])", text[found.end() : last], maxsplit=1)  # a sentence on a line of its own
        yield found[1], re.sub(";$", ".", _joined(said))
        for rest in prose:
            yield "", _joined(rest)


def _joined(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).strip()


def _linked(text: str, link: Link) -> str:
    """Return Markdown in which the names that have a page are links."""

    def linked(found: re.Match[str]) -> str:
        identifier = link(found[1])
        return f"[{found[0]}][{identifier}]" if identifier else found[0]

    return CODE.sub(linked, text)
