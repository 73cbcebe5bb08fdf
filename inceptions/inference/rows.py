"""Predictions in a file, batch by batch: enters predictions, leaves .csv, .jsonl or .parquet, whole; until then, what was done.

Rows go to FILE.part (a folder, for Parquet), each batch when it is computed, and FILE.part takes the place of FILE at the end. What they
were made with lies in FILE.part.json. A run that goes on keeps whole batches, so that it writes what one that was not stopped would have
written, byte for byte. Needs no torch. Parquet's rows go there by the thousand, so of a process that is killed the last are computed anew.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from inceptions.data.stored import Stored
from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.files import cannot_write, write_whole
from inceptions.inference.prediction import Prediction, column_names, row_of
from inceptions.json_text import finite
from inceptions.names import cell, shown

Picture = Path | Stored


class FinishedError(UserError):
    """A run that was to go on has come to its end already."""


class RowFile(ABC):
    """A file of predictions that grows. done: how many rows it has from an earlier run; last: the name of the picture of the last one."""

    done: int = 0
    last: str = ""

    def __init__(self, path: Path, *, top_k: int, vectors: bool) -> None:
        self.path, self.top_k, self.vectors = path, top_k, vectors
        self.part, self.settings = (path.with_name(f"{path.name}{ending}") for ending in (".part", ".part.json"))

    @property
    @abstractmethod
    def has_rows(self) -> bool:
        """Whether FILE.part, closed, has any."""

    @abstractmethod
    def begin(self) -> None:
        """Make an empty FILE.part."""

    @abstractmethod
    def go_on(self, batch_size: int) -> None:
        """Open FILE.part where its last whole batch ends; sets done and last."""

    @abstractmethod
    def add(self, batch: Sequence[Prediction]) -> None:
        """Write the rows of a batch."""

    @abstractmethod
    def close(self) -> None:
        """Write what isn't written yet, and let go of FILE.part."""

    @abstractmethod
    def finish(self) -> None:
        """Put FILE.part, closed, in the place of FILE."""

    @abstractmethod
    def discard(self) -> None:
        """Delete FILE.part."""

    def name(self, picture: Picture) -> str:
        """Return a picture's name as it stands in the file."""
        return shown(picture)

    def skip(self, pictures: Iterator[Picture]) -> None:
        """Take the pictures that have rows already from the iterator. Raises UserError where they are not those that come first now."""
        found = list(islice(pictures, self.done - 1, self.done)) if self.done else []
        if self.done and (not found or self.name(found[0]) != self.last):
            raise UserError(
                f"{shown(self.part)} has {self.done} rows, up to {self.last}, but that is not image {self.done} now: images were added or "
                "removed; begin anew with another file, or write over this one"
            )


class _Lines(RowFile):
    """A text file, a line for each picture."""

    header = ""
    _file: BinaryIO

    @property
    def has_rows(self) -> bool:
        return self.part.exists() and self.part.stat().st_size > len(self.header)

    @abstractmethod
    def line(self, item: Prediction) -> str:
        """Return the row with the end of its line."""

    @abstractmethod
    def name_in(self, line: str) -> str:
        """Return the picture's name in a row."""

    def begin(self) -> None:
        self._file = self.part.open("wb", buffering=0)
        self._file.write(self.header.encode())

    def go_on(self, batch_size: int) -> None:
        ends, last = 0, b""
        with self.part.open("rb") as file:
            whole = sum(line.endswith(b"\n") for line in file) - bool(self.header)
            self.done = max(0, whole) // batch_size * batch_size
            file.seek(0)
            for line in islice(file, self.done + bool(self.header)):
                ends, last = ends + len(line), line
        if not self.done:
            self.begin()
            return
        self.last = self.name_in(last.decode())
        self._file = self.part.open("r+b", buffering=0)
        self._file.truncate(ends)
        self._file.seek(ends)

    def add(self, batch: Sequence[Prediction]) -> None:
        content = "".join(map(self.line, batch)).encode(errors="backslashreplace")  # as JSON reads bytes of names
        while content:  # without a buffer, a full disk takes a part of it
            content = content[self._file.write(content) :]

    def close(self) -> None:
        self._file.close()

    def finish(self) -> None:
        self.part.replace(self.path)

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)


class _Csv(_Lines):
    """Names that a spreadsheet would run are made harmless; a name has no line end, for `shown` writes it out."""

    def __init__(self, path: Path, *, top_k: int, vectors: bool) -> None:
        super().__init__(path, top_k=top_k, vectors=vectors)
        self.header = _csv_line(column_names(top_k))

    def line(self, item: Prediction) -> str:
        return _csv_line(row_of(item, top_k=self.top_k))

    def name_in(self, line: str) -> str:
        return next(csv.reader([line]))[0]

    def name(self, picture: Picture) -> str:
        return cell(picture)


class _JsonLines(_Lines):
    """An object for each picture: file, classes (each with its probability), error; names are what they are, whatever bytes."""

    def line(self, item: Prediction) -> str:
        return json.dumps(finite(as_plain(item)), ensure_ascii=False, allow_nan=False) + "\n"

    def name_in(self, line: str) -> str:
        return json.loads(line)["file"]

    def name(self, picture: Picture) -> str:
        return str(picture)


class _Parquet(RowFile):
    """A folder of files of `GROUP` rows and fewer, joined at the end; vectors are lists of a fixed size."""

    GROUP = 4096
    _waiting: list[Prediction]
    _count: int

    @property
    def has_rows(self) -> bool:
        return bool(self._files())

    def begin(self) -> None:
        self.part.mkdir()
        self._waiting, self._count = [], 0

    def go_on(self, batch_size: int) -> None:
        files = self._files()
        kept = 0
        for file in files:  # a last one that ends within a batch, as after an error, goes
            rows = self._read(file, ["file"]).num_rows
            if (self.done + rows) % batch_size:
                break
            self.done += rows
            kept += 1
        for file in files[kept:]:
            file.unlink()
        if kept:
            self.last = self._read(files[kept - 1], ["file"])["file"][-1].as_py()
        self._waiting, self._count = [], kept

    def add(self, batch: Sequence[Prediction]) -> None:
        self._waiting += batch
        if len(self._waiting) >= self.GROUP:
            self.close()

    def close(self) -> None:
        from pyarrow import parquet

        if self._waiting:
            scratch = self.part / ".new"
            with scratch.open("wb") as file:
                parquet.write_table(self._table(self._waiting), file)
            scratch.replace(self.part / f"{self._count:06}.parquet")
            self._waiting, self._count = [], self._count + 1

    def finish(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        from inceptions.files import whole_file

        with whole_file(self.path) as scratch, scratch.open("wb") as file:
            schema = self._table([]).schema
            for part in self._files():  # of which the first may have no picture that could be read, and vectors of no length
                with part.open("rb") as opened:
                    schema = pa.unify_schemas([schema, parquet.read_schema(opened)], promote_options="permissive")
            held = schema.empty_table()
            with parquet.ParquetWriter(file, schema) as writer:
                for part in self._files():
                    held = pa.concat_tables([held, self._read(part).cast(schema)])
                    while held.num_rows >= self.GROUP:
                        writer.write_table(held.slice(0, self.GROUP).combine_chunks())
                        held = held.slice(self.GROUP)
                if held.num_rows:
                    writer.write_table(held.combine_chunks())
        self.discard()

    def discard(self) -> None:
        if self.part.exists():
            old = self.part.with_name(f".{self.part.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            self.part.replace(old)  # at once: who is killed while it goes leaves nothing that could be gone on with
            shutil.rmtree(old, ignore_errors=True)

    @staticmethod
    def _read(file: Path, columns: list[str] | None = None) -> Any:
        from pyarrow import parquet

        with file.open("rb") as opened:  # pyarrow itself opens no name that is no UTF-8
            return parquet.read_table(opened, columns=columns)

    def _files(self) -> list[Path]:
        return sorted(self.part.glob("[0-9]*.parquet"))

    def _table(self, rows: Sequence[Prediction]) -> Any:
        import numpy as np
        import pyarrow as pa

        columns: dict[str, Any] = {"file": pa.array([shown(item.path) for item in rows], pa.string())}
        for place in range(self.top_k):
            ending = f"_{place + 1}" if place else ""
            here = [place < len(item.classes) for item in rows]
            names = [shown(item.classes[place]) if is_there else None for item, is_there in zip(rows, here, strict=True)]
            values = [item.probabilities[place] if is_there else None for item, is_there in zip(rows, here, strict=True)]
            columns |= {f"class{ending}": pa.array(names, pa.string()), f"probability{ending}": pa.array(values, pa.float32())}
        columns["error"] = pa.array([item.error and shown(item.error) for item in rows], pa.string())
        if self.vectors:
            some = next((item.vector for item in rows if item.vector is not None), None)
            columns["embedding"] = pa.nulls(len(rows))
            if some is not None:
                values = np.stack([np.zeros_like(some) if item.vector is None else item.vector for item in rows])
                missing = pa.array([item.vector is None for item in rows])
                columns["embedding"] = pa.FixedSizeListArray.from_arrays(values.ravel(), len(some), mask=missing)
        return pa.table(columns)


_KINDS: dict[str, type[RowFile]] = {".csv": _Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}


def kind_of(path: Path, *, vectors: bool) -> type[RowFile]:
    """Return the kind of file that a name asks for; raises UserError for another ending, and where what writes it is not installed."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise UserError(f"{shown(path)}: files of predictions end in {', '.join(_KINDS)}")
    if vectors and kind is not _Parquet:
        raise UserError(f"{shown(path)}: embeddings are written as Parquet; give a name that ends in .parquet")
    if kind is _Parquet:
        require("data", "pyarrow", needed_for="writing Parquet")
    return kind


@contextmanager
def open_rows(
    path: Path,
    settings: Mapping[str, Any],
    *,
    top_k: int,
    batch_size: int,
    vectors: bool = False,
    replace: bool = False,
    resume: bool = False,
) -> Iterator[RowFile]:
    """Give the file to add predictions to, which becomes `path` when the block ends without an error.

    settings: what the rows are made with, in JSON's types; a run that goes on has the same. replace: write over what is there. resume: go
    on with what is in FILE.part, if anything is; `done` is then a multiple of `batch_size`, unless all is done.

    What was added is never lost: after an error it is in FILE.part, and the error has a note that says so. Raises UserError where there is
    a file unasked, it can't be written, or was begun with other settings; FinishedError where nothing is left to do.
    """
    rows = kind_of(path, vectors=vectors)(path, top_k=top_k, vectors=vectors)
    check_output(path, replace=replace, resume=resume)
    try:
        _open(rows, dict(settings), batch_size, resume=resume)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        try:
            yield rows
        finally:
            rows.close()
        rows.finish()
        rows.settings.unlink()
    except BaseException as error:  # whatever ends the block, Ctrl-C too
        if not rows.has_rows:
            rows.discard()
            rows.settings.unlink(missing_ok=True)
        else:
            error.add_note(f"what was done before is in {shown(rows.part)}; the same command can resume it")
        if isinstance(error, OSError):
            raise _with_notes(cannot_write(rows.part, error), error) from error
        raise


def check_output(path: Path, *, replace: bool = False, resume: bool = False) -> None:
    """Raise UserError where there is something at `path`, or a part of it, that wasn't said to be written over or gone on with."""
    part = path.with_name(f"{path.name}.part")
    if path.is_dir():
        raise UserError(f"{shown(path)} is a folder; give a file")
    if path.exists() and not replace and not resume:
        raise UserError(f"{shown(path)} exists already; give another place, or say that it may be written over (--force)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    if part.exists() and not (replace or resume):
        raise UserError(f"{shown(part)} is there from a run that was stopped; resume it (--resume), or begin anew (--force)")
    if resume and path.exists() and not part.exists():
        raise FinishedError(f"{shown(path)} is whole already; nothing is left to do")


def _open(rows: RowFile, settings: dict[str, Any], batch_size: int, *, resume: bool) -> None:
    text = json.dumps(settings, indent=1, sort_keys=True)
    if resume and rows.part.exists() and rows.settings.exists():
        _check_same(rows, settings)
        rows.go_on(batch_size)
        return
    rows.discard()
    write_whole(rows.settings, text)  # first: rows that nobody knows the settings of can't be gone on with
    rows.begin()


def _check_same(rows: RowFile, settings: Mapping[str, Any]) -> None:
    before = json.loads(rows.settings.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(settings))
    other = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if other:
        told = "; ".join(f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in other)
        raise UserError(f"{shown(rows.part)} was begun otherwise: {told}; give the same command, or begin anew with another file")


def _with_notes(error: UserError, cause: BaseException) -> UserError:
    for note in getattr(cause, "__notes__", ()):
        error.add_note(note)
    return error


def as_plain(item: Prediction) -> dict[str, Any]:
    """Return a prediction in JSON's types."""
    classes = [{"class": name, "probability": round(p, 6)} for name, p in zip(item.classes, item.probabilities, strict=True)]
    return {"file": str(item.path), "classes": classes, "error": item.error}


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(map(cell, cells))
    return text.getvalue()
