"""Pictures that a table lists: enters a CSV, TSV or Parquet file, leaves samples in three parts.

    path,label,split
    photos/1.jpg,cat,train

path (or file, filename, image): of the picture; a relative one is looked up from the table's folder. label (or class): the name of its
class. split, where there is one: train, val or test; without it the table is split 80/10/10 by seed, class by class, as folders are.
Upper and lower case are the same in these names, other columns are left out. A file that is listed again, under whatever name, counts once;
with another class, or in another part, it is refused.
"""

from __future__ import annotations

import csv
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from inceptions.data.splits import PART_NAMES, Labelled, Splits, list_names, split_labelled
from inceptions.errors import DataError
from inceptions.files import expand_home

_COLUMNS = {"path": ("path", "file", "filename", "image"), "label": ("label", "class"), "split": ("split",)}
NEEDED = ("path", "label")
_SEPARATORS = ",;\t"


class _Row(NamedTuple):
    path: str
    label: str
    split: str


class _Listed(NamedTuple):
    """A file, its class, what the table calls it, and the part that it is in."""

    file: Path
    label: str
    key: str
    part: str


def iterate_paths(path: Path) -> Iterator[Path]:
    """Yield the files that the table lists, row by row, whether they are there or not; it needs the column of paths alone.

    Raises DataError for a table without that column, or a row without a path.
    """
    rows = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    for number, row in rows(path, ("path",)):
        if not row.path:
            raise DataError(f"{path}: row {number}: no path; fill it in or remove the row")
        yield path.parent / expand_home(row.path)


def load_table(path: Path, *, seed: int) -> Splits:
    """Return the parts of the pictures that the table lists.

    Raises DataError: columns or cells that are missing, files that aren't there or are in two parts or classes, a split of another name;
    and as `split_labelled`.
    """
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    listed = [_place(path, row, f"{path}: row {number}") for number, row in rows]
    parts, again = _take_once(path, listed)
    splits = split_labelled(parts, source=str(path), seed=seed)
    note = f"files that are listed more than once, and count once: {len(again)} ({list_names(again, most=4)})"
    return replace(splits, notes=(note, *splits.notes)) if again else splits


def _place(table: Path, row: _Row, where: str) -> _Listed:
    """Return the row with its file and the name of its part."""
    if not row.path or not row.label:
        raise DataError(f"{where}: no {'path' if not row.path else 'label'}; fill it in or remove the row")
    part = PART_NAMES.get(row.split.lower())
    if part is None:
        raise DataError(f"{where}: the split is {row.split!r}; it must be train, val or test")
    return _Listed(table.parent / expand_home(row.path), row.label, row.path, part)


def _read_csv(path: Path, needed: Sequence[str] = NEEDED) -> Iterator[tuple[int, _Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(_SEPARATORS, key=header.count)
            names = next(csv.reader([header], delimiter=separator), [])
            places = _find_columns(path, names, needed)
            for number, cells in enumerate(csv.reader(file, delimiter=separator), start=2):
                if cells:
                    yield number, _Row(*(_cell(cells, place) for place in places))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: no table in UTF-8 ({error}); save it as CSV, UTF-8") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check the file") from error


def _cell(cells: Sequence[str], place: int | None) -> str:
    """Return a cell; "" where the row is too short, and "train" where there is no such column."""
    if place is None:
        return "train"
    return cells[place].strip() if place < len(cells) else ""


def _read_parquet(path: Path, needed: Sequence[str] = NEEDED) -> Iterator[tuple[int, _Row]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(f"{path}: pyarrow, which reads Parquet, isn't installed; pip install 'inceptions[data]'") from error

    try:
        with path.open("rb") as file:  # pyarrow itself opens no name that is no UTF-8
            names = parquet.read_schema(file).names
            places = _find_columns(path, names, needed)
            number = 0
            for rows in parquet.ParquetFile(file).iter_batches(columns=[names[place] for place in places if place is not None]):
                columns = [["train"] * len(rows) if place is None else rows.column(names[place]).to_pylist() for place in places]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield number, _Row(*("" if cell is None else str(cell).strip() for cell in cells))
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: no Parquet file, or a damaged one ({' '.join(str(error).split())}); write it anew") from error


def _find_columns(path: Path, names: Sequence[str], needed: Sequence[str]) -> list[int | None]:
    """Return the places of the columns of path, label and split; None where one that isn't needed isn't there."""
    lower = [name.strip().lower() for name in names]
    places = [next((lower.index(name) for name in allowed if name in lower), None) for allowed in _COLUMNS.values()]
    for (kind, allowed), place in zip(_COLUMNS.items(), places, strict=True):
        if place is None and kind in needed:
            raise DataError(f"{path}: no column {' or '.join(allowed)}; its columns are {list_names(names) or 'none'}")
    return places


def _take_once(table: Path, listed: Sequence[_Listed]) -> tuple[dict[str, list[Labelled]], list[str]]:
    """Return every file once, by part, and those that are listed again; a file is what lies on the disk, whatever leads to it.

    Raises DataError for files that aren't there, and for one in two classes or parts: the test would ask what was learned by heart.
    """
    parts: dict[str, list[Labelled]] = {}
    first: dict[tuple[int, int], _Listed] = {}
    missing, again, wrong = [], [], []
    for row in listed:
        try:
            status = row.file.stat()
        except (OSError, ValueError):
            missing.append(row.key)
            continue
        if not stat.S_ISREG(status.st_mode):
            missing.append(row.key)
            continue
        earlier = first.setdefault((status.st_dev, status.st_ino), row)
        if earlier is row:
            parts.setdefault(row.part, []).append(Labelled(row.file, row.label, row.key))
        elif (earlier.part, earlier.label) == (row.part, row.label):
            again.append(row.key)
        else:
            both = (earlier.part, row.part) if earlier.part != row.part else (earlier.label, row.label)
            wrong.append(f"{row.key} ({' and '.join(both)})")
    if missing:
        raise DataError(
            f"{table}: {len(missing)} of {len(listed)} files aren't there: {list_names(missing, most=4)}; "
            f"relative paths begin at {table.parent.absolute()}"
        )
    if wrong:
        raise DataError(f"{table}: {len(wrong)} files are in two parts or classes: {list_names(wrong, most=4)}; keep one row of each")
    return parts, again
