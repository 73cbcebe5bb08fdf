"""The names of ImageNet's folders: leaves the 1,000 WordNet ids of its classes, such as n01440764 for tench."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_ID = re.compile(r"n\d{8}", re.ASCII)


@cache
def imagenet_ids() -> tuple[str, ...]:
    """Return the ids of the 1,000 classes of ILSVRC 2012, sorted, which is the order of published classifiers' outputs."""
    return tuple(files("inceptions.data").joinpath("imagenet_ids.txt").read_text(encoding="ascii").split())


def is_wordnet_id(name: str) -> bool:
    """Return whether `name` has the form of a noun's id in WordNet: n and eight digits."""
    return _ID.fullmatch(name) is not None
