"""Data sets of Hugging Face: enters a name on the Hub, or a folder that `save_to_disk` wrote, leaves samples in three parts.

The first column of type Image holds the pictures, the first of type ClassLabel the classes (else a column `label` or `labels` of numbers or
words). Rows stay where they are, and their bytes are read when they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from inceptions.data.splits import PART_NAMES, Labelled, Splits, list_names, split_labelled
from inceptions.data.stored import Stored
from inceptions.data.transfer import MIRROR_VARIABLE
from inceptions.errors import DataError
from inceptions.files import expand_home, is_offline

_LABEL_NAMES = ("label", "labels", "class")


@dataclass(frozen=True, slots=True)
class Row(Stored):
    """The picture in a row: the data set as it was asked for, the name of its split, the column and the number of the row."""

    source: str
    split: str
    column: str
    number: int

    def read_bytes(self) -> bytes:
        """Return the picture as it is stored."""
        stored = _open_column(self.source, self.split, self.column)[self.number][self.column]
        if stored is None:
            raise OSError("the row holds no picture")
        return stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()

    def __str__(self) -> str:
        return f"hf:{self.source}/{self.split}/{self.number}"


def load_hugging_face(source: str, *, seed: int) -> Splits:
    """Return the parts of NAME, NAME@REVISION:CONFIG, or a folder; splits by other names than those of the three parts are left out.

    Raises DataError: `datasets` isn't installed, no such data set or no connection, no column of pictures or of classes.
    """
    sets = _load(source)
    parts: dict[str, list[Labelled]] = {}
    classes: tuple[str, ...] | None = None
    for split, rows in sets.items():
        part = PART_NAMES.get(split.lower(), "train" if len(sets) == 1 else None)
        if part is None:
            continue
        column, label = _find_columns(source, rows.features)
        names = getattr(rows.features[label], "names", None)
        classes = tuple(names) if names else classes
        for number, value in enumerate(rows.with_format(None)[label]):
            name = _name_class(value, names, f"hf:{source}/{split}/{number}")
            parts.setdefault(part, []).append(Labelled(Row(source, split, column, number), name, f"{split}/{number}"))
    if "train" not in parts:
        raise DataError(f"hf:{source}: no train split; its splits are {list_names(sets)}")
    return split_labelled(parts, source=f"hf:{source}", seed=seed, classes=classes)


@contextmanager
def _as_told() -> Iterator[None]:
    """Have Hugging Face's libraries, which ask the environment once, when they are imported, go by our variables meanwhile."""
    import datasets.config as datasets_config
    import huggingface_hub

    told: list[tuple[Any, str, Any]] = []
    if is_offline():
        told = [(huggingface_hub.constants, "HF_HUB_OFFLINE", True), (datasets_config, "HF_HUB_OFFLINE", True)]
    elif mirror := os.environ.get(MIRROR_VARIABLE, "").rstrip("/"):
        told = [(datasets_config, "HF_ENDPOINT", mirror)]
    before = [(module, name, getattr(module, name)) for module, name, _ in told]
    for module, name, value in told:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _name_class(value: Any, names: list[str] | None, where: str) -> str:
    if value is None or (names and value < 0):  # -1 marks a hidden label
        raise DataError(f"{where}: no label; the split can't be used")
    return names[value] if names else str(value)


def _find_columns(source: str, features: Mapping[str, Any]) -> tuple[str, str]:
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    image = next((name for name, kind in kinds.items() if kind == "Image"), None)
    label = next((name for name, kind in kinds.items() if kind == "ClassLabel"), None)
    label = label or next((name for name in _LABEL_NAMES if kinds.get(name) == "Value"), None)
    if image is None or label is None:
        missing = "Image" if image is None else "ClassLabel"
        columns = list_names(f"{name} ({kind})" for name, kind in kinds.items())
        raise DataError(f"hf:{source}: no column of type {missing}; its columns are {columns}; cast one with datasets.Dataset.cast_column")
    return image, label


@lru_cache(maxsize=8)
def _open_column(source: str, split: str, column: str) -> Any:
    """Return the rows of a split with the one column, whose pictures are left encoded; kept open in each process."""
    from datasets import Image

    return _load(source)[split].select_columns([column]).cast_column(column, Image(decode=False))


@lru_cache(maxsize=4)
def _load(source: str) -> Mapping[str, Any]:
    """Return the data set's splits by name."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"hf:{source}: datasets, which reads it, isn't installed; pip install 'inceptions[data]'") from error

    folder = expand_home(source)
    named, _, config = source.partition(":")
    name, _, revision = named.partition("@")
    try:
        if folder.is_dir():
            found = datasets.load_from_disk(str(folder))
        elif source.startswith((".", "/", "~")):
            raise DataError(f"hf:{source}: no such folder; check the name")
        else:
            with _as_told():
                found = datasets.load_dataset(name, config or None, revision=revision or None)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        offline = " (INCEPTIONS_OFFLINE is set)" if is_offline() else ""
        raise DataError(
            f"hf:{source}: can't be loaded{offline}: {' '.join(str(error).split())}; check the name and the connection"
        ) from error
    return {str(split): rows for split, rows in found.items()} if isinstance(found, Mapping) else {str(found.split or "train"): found}
