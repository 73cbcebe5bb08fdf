"""Pictures that a table lists: enters a CSV, TSV or Parquet file, leaves samples in three parts.

    path,label,split
    photos/1.jpg,cat,train

path (or file, filename, image): of the picture; a relative one is looked up from the table's folder. label (or class): the name of its
class. split, where there is one: train, val or test; without it the table is split 80/10/10 by seed, class by class, as folders are.
Upper and lower case are the same in these names, other columns are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from inceptions.data.splits import PART_NAMES, Labelled, Splits, list_names, split_labelled
from inceptions.errors import DataError

_COLUMNS = {"path": ("path", "file", "filename", "image"), "label": ("label", "class"), "split": ("split",)}
_SEPARATORS = ",;\t"


class _Row(NamedTuple):
    path: str
    label: str
    split: str


def load_table(path: Path, *, seed: int) -> Splits:
    """Return the parts of the pictures that the table lists.

    Raises DataError: columns or cells that are missing, files that aren't there, a split of another name; and as `split_labelled`.
    """
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    parts: dict[str, list[Labelled]] = {}
    for number, row in rows:
        part = _name_part(row, f"{path}: row {number}")
        parts.setdefault(part, []).append(Labelled(path.parent / Path(row.path).expanduser(), row.label, row.path))
    _check_files(path, [item for items in parts.values() for item in items])
    return split_labelled(parts, source=str(path), seed=seed)


def _name_part(row: _Row, where: str) -> str:
    if not row.path or not row.label:
        raise DataError(f"{where}: no {'path' if not row.path else 'label'}; fill it in or remove the row")
    part = PART_NAMES.get(row.split.lower())
    if part is None:
        raise DataError(f"{where}: the split is {row.split!r}; it must be train, val or test")
    return part


def _read_csv(path: Path) -> Iterator[tuple[int, _Row]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            separator = max(_SEPARATORS, key=header.count)
            names = next(csv.reader([header], delimiter=separator), [])
            places = _find_columns(path, names)
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


def _read_parquet(path: Path) -> Iterator[tuple[int, _Row]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(f"{path}: pyarrow, which reads Parquet, isn't installed; pip install 'inceptions[data]'") from error

    try:
        names = parquet.read_schema(path).names
        places = _find_columns(path, names)
        table = parquet.read_table(path, columns=[names[place] for place in places if place is not None])
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: no Parquet file, or a damaged one ({' '.join(str(error).split())}); write it anew") from error
    columns = [["train"] * table.num_rows if place is None else table.column(names[place]).to_pylist() for place in places]
    for number, cells in enumerate(zip(*columns, strict=True), start=1):
        yield number, _Row(*("" if cell is None else str(cell).strip() for cell in cells))


def _find_columns(path: Path, names: Sequence[str]) -> list[int | None]:
    """Return the places of the columns of path, label and split; None where there is no split."""
    lower = [name.strip().lower() for name in names]
    places = [next((lower.index(name) for name in allowed if name in lower), None) for allowed in _COLUMNS.values()]
    for (kind, allowed), place in zip(_COLUMNS.items(), places, strict=True):
        if place is None and kind != "split":
            raise DataError(f"{path}: no column {' or '.join(allowed)}; its columns are {list_names(names) or 'none'}")
    return places


def _check_files(table: Path, items: Sequence[Labelled]) -> None:
    missing = [item.key for item in items if isinstance(item.path, Path) and not item.path.is_file()]
    if missing:
        raise DataError(
            f"{table}: {len(missing)} of {len(items)} files aren't there: {list_names(missing, most=4)}; "
            f"relative paths begin at {table.parent.absolute()}"
        )
