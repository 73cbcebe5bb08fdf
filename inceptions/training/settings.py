"""Settings as people write them: enters `field=value` lines or YAML's types, leaves a checked `Recipe`.

pydantic turns YAML's types into the dataclasses of `recipe`, which check their values themselves; its errors are put in our words here.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from functools import cache
from typing import Any, get_args, get_type_hints

import yaml

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.training.recipe import Adam, AdamW, Average, Finetune, Muon, Recipe, RMSProp, Sgd
from inceptions.training.schedules import Constant, Cosine, Exponential, OneCycle, Steps

log = logging.getLogger("inceptions")


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe of what `to_dict` gave; UserError names the field that can't be."""
    from pydantic import ValidationError

    try:
        return _adapter().validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UserError(_explain(error.errors(), values)) from None


def _explain(errors: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> str:
    """Return the first of pydantic's errors, in our words; of a part that is of several kinds, there are the errors of each kind."""
    for error in errors:
        head, *rest = error["loc"] or ("recipe",)
        kinds = {kind.__name__: name for name, kind in _KINDS.get(head, {}).items()}
        if rest and rest[0] in kinds:
            if kinds[rest[0]] != values[head].get("kind"):
                continue
            rest = rest[1:]
        if error["type"] == "value_error":  # one of ours
            return str(error["ctx"]["error"])
        where = ".".join(str(part) for part in (head, *rest))
        if error["type"].startswith("dataclass"):
            names = [part.name for part in fields(_PARTS[head])]
            return f"{where} is {error['input']!r}; it is made of {', '.join(names)}: set one of them, such as {where}.{names[0]}"
        needed = error["msg"]
        for theirs, ours in _WORDS.items():
            needed = needed.replace(theirs, ours)
        return f"{where} is {error['input']!r}; {needed}"
    raise AssertionError(errors)


def change(recipe: Recipe, lines: Sequence[str]) -> Recipe:
    """Return the recipe with `field=value` lines applied, such as `lr=0.1`, `optimizer.momentum=0.8`, `schedule=one_cycle`.

    Values are YAML 1.2, and none where a field may have none. With an optimizer of another kind, a learning rate that no line gives becomes
    that kind's own. Raises UserError: a line without "=", a field that there is not (the nearest is named), a value that can't be.
    """
    values, given = recipe.to_dict(), set()
    for line in lines:
        key, sign, text = line.partition("=")
        if not sign:
            raise UserError(f"{line!r}: needed is FIELD=VALUE, such as lr=0.1")
        path = key.strip().removesuffix(".kind").split(".")
        _put(values, path, _read_value(line, text))
        given.add(path[0])
    changed = recipe_from_dict(values)
    if recipe.lr is not None and "lr" not in given and changed.optimizer.kind != recipe.optimizer.kind:
        kinds = recipe.optimizer.kind, changed.optimizer.kind
        log.warning("the recipe's lr of %g is for %s and left out; %s has its own", recipe.lr, *kinds)
        return replace(changed, lr=None)
    return changed


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for depth, key in enumerate(path):
        if not isinstance(values, dict) or key not in values:
            _refuse(path, depth, values)
        if depth == len(path) - 1:
            values[key] = _made(key, value)
        elif values[key] is None and key in _PARTS:
            values[key] = asdict(_PARTS[key]())
        values = values[key]


def _made(key: str, value: Any) -> Any:
    """Return what `key` becomes: a part with what it begins with where a kind, or only some of its fields, are given."""
    if value is None and key in _words_of_none():
        return "none"
    fields_given = value if isinstance(value, dict) else {}
    if key in _KINDS:
        kind = str(fields_given.get("kind") if fields_given else value)
        if kind not in _KINDS[key]:
            raise UserError(f"{key} is {value!r}; {_nearest(kind, _KINDS[key], of='kinds are')}")
        made = {key: asdict(_KINDS[key][kind]())}
    elif key in _PARTS and isinstance(value, dict):
        made = {key: asdict(_PARTS[key]())}
    else:
        return value
    for name, part in fields_given.items():
        _put(made, [key, str(name)], part)
    return made[key]


def _refuse(path: list[str], depth: int, values: Any) -> None:
    if not isinstance(values, dict):
        raise UserError(f"{'.'.join(path)}: no such field; {'.'.join(path[:depth])} has none of its own")
    hint = _nearest(path[depth], sorted(values), of="fields are", within=path[:depth])
    raise UserError(f"{'.'.join(path)}: no such field; {hint}")


def _nearest(word: str, words: Collection[str], *, of: str, within: Sequence[str] = ()) -> str:
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {'.'.join([*within, *close])}?" if close else f"{of} {', '.join(words)}"


def _read_value(line: str, text: str) -> Any:
    try:
        return _as_fields_take(yaml.load(text, Loader=_CoreLoader))
    except (yaml.YAMLError, ValueError, RecursionError):  # a number of too many digits; a list that holds itself
        raise UserError(f"{line!r}: the value is no YAML; write a number, a word or a list such as [0.5, 1.0]") from None


def _as_fields_take(value: Any) -> Any:
    """Return the value with names as text, none as null, and whole numbers as such, for 1e1 epochs are 10."""
    match value:
        case dict():
            return {str(name): _as_fields_take(part) for name, part in value.items()}
        case list():
            return [_as_fields_take(part) for part in value]
        case str() if value.lower() == "none":
            return None
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema, section 10.3.2. PyYAML's own is 1.1: there 1:30 is 90, yes is true, 1e-4 a word and 2024-01-01 a date."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base class has it


for _tag, _pattern in (
    ("null", r"(null|Null|NULL|~|)$"),
    ("bool", r"(true|True|TRUE|false|False|FALSE)$"),
    ("int", r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    ("float", r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), None)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10))


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


@cache
def _words_of_none() -> frozenset[str]:
    """Return the names of the fields of which one word is "none"."""
    hints = {**get_type_hints(Recipe), **get_type_hints(Augment)}
    return frozenset(name for name, hint in hints.items() if "none" in get_args(hint))


_WORDS = {  # pydantic's, in ours
    "Input should be": "it must be",
    "a valid array": "a list, such as [0.5, 1.0]",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text",
    "Field required": "it has too few values",
    "Tuple should have": "it must have",
    " items after validation": " values",
    "Unexpected keyword argument": "there is no such field",
}
_PARTS = {"augment": Augment, "average": Average, "finetune": Finetune}
_KINDS = {
    "optimizer": {kind().kind: kind for kind in (Sgd, RMSProp, Adam, AdamW, Muon)},
    "schedule": {kind().kind: kind for kind in (OneCycle, Cosine, Exponential, Steps, Constant)},
}
