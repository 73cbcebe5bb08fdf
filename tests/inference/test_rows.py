"""Predictions in files: a run that was stopped anywhere goes on to the very bytes of one that was not."""

import csv
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import parquet

from inceptions.errors import UserError
from inceptions.inference import rows as rows_module
from inceptions.inference.prediction import Prediction
from inceptions.inference.rows import FinishedError, open_rows

BATCH = 4
KINDS = ("csv", "jsonl", "parquet")
SETTINGS = {"images": ["photos"], "model": "abc"}
NAMES = ["a.png", "=1+1.png", 'quo"ted, and.png', "two\nlines.png", os.fsdecode(b"caf\xe9.png"), "\u2028猫\x85.png", "\u202egnp.png"]


def predictions(count: int = 22, *, first_readable: int = 0) -> list[Prediction]:
    found = []
    for number in range(count):
        path = Path("photos") / f"{number:03}{NAMES[number % len(NAMES)]}"
        if number < first_readable or number % 9 == 5:
            found.append(Prediction(path, (), (), "the file is empty; replace it"))
        else:
            vector = np.arange(3, dtype=np.float32) + number
            found.append(Prediction(path, ("cat", "=dog"), (0.75, 0.25 / (number + 1)), None, vector))
    return found


def write(path, items, *, stop_after=None, **options):
    """Write the rows as `predict` does, going on where there is something; after so many batches of this run an error comes."""
    with open_rows(path, SETTINGS, top_k=2, batch_size=BATCH, **options) as rows:
        pictures = iter([item.path for item in items])
        rows.skip(pictures)
        left = items[rows.done :]
        assert [item.path for item in left] == list(pictures)
        for number, start in enumerate(range(0, len(left), BATCH)):
            if number == stop_after:
                raise KeyboardInterrupt
            rows.add(left[start : start + BATCH])


def test_what_is_no_number_is_null_in_lines_of_json(tmp_path):
    write(tmp_path / "p.jsonl", [Prediction(Path("a.png"), ("cat", "dog"), (float("nan"), float("nan")))])
    assert [item["probability"] for item in json.loads((tmp_path / "p.jsonl").read_text())["classes"]] == [None, None]


def columns(kind: str, path: Path) -> list[str]:
    """Return the names of the files in it."""
    if kind == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [row["file"] for row in csv.DictReader(file)]
    if kind == "jsonl":
        return [json.loads(line)["file"] for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    with path.open("rb") as file:
        return parquet.read_table(file)["file"].to_pylist()


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(rows_module._Parquet, "GROUP", 8)


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_has_its_row_in_order_and_nothing_else_is_left(kind, tmp_path):
    items = predictions()
    path = tmp_path / os.fsdecode(b"caf\xe9") / f"p.{kind}"
    write(path, items)
    assert [path.name] == [file.name for file in path.parent.iterdir()]
    found = columns(kind, path)
    assert [name[7:10].lstrip("'") for name in found] == [f"{number:03}" for number in range(len(items))]
    if kind == "jsonl":  # names are themselves
        assert found == [str(item.path) for item in items]
        errors = [json.loads(line)["error"] for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        assert errors == [item.error for item in items]


def test_columns_of_parquet_are_typed_and_embeddings_are_lists_of_one_length(tmp_path):
    items = predictions()
    write(tmp_path / "p.parquet", items, vectors=True)
    table = parquet.read_table(tmp_path / "p.parquet")
    assert str(table.schema.field("embedding").type).startswith("fixed_size_list<")
    assert table.schema.field("embedding").type.list_size == 3
    assert [None if item.vector is None else item.vector.tolist() for item in items] == table["embedding"].to_pylist()
    assert [row["error"] for row in table.to_pylist()] == [item.error for item in items]
    assert {str(table.schema.field(name).type) for name in ("probability", "probability_2")} == {"float"}
    groups = parquet.ParquetFile(tmp_path / "p.parquet").metadata
    assert [groups.row_group(number).num_rows for number in range(groups.num_row_groups)] == [8, 8, 6]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_cut_off_at_any_byte_it_goes_on_to_the_same_bytes(kind, tmp_path):
    """As a process that is killed, or a power cut, leaves it: any part of what was written, down to none of the header."""
    items = predictions(14)
    whole, path = tmp_path / f"whole.{kind}", tmp_path / f"p.{kind}"
    write(whole, items)
    with pytest.raises(KeyboardInterrupt):
        write(path, items, stop_after=3)
    part, settings = (path.with_name(f"{path.name}{ending}") for ending in (".part", ".part.json"))
    written, said = part.read_bytes(), settings.read_bytes()
    assert whole.read_bytes().startswith(written)
    for length in range(len(written) + 1):
        part.write_bytes(written[:length])
        settings.write_bytes(said)
        write(path, items, resume=True)
        assert path.read_bytes() == whole.read_bytes(), length
        assert not part.exists() and not settings.exists()
        path.unlink()


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("unreadable", [0, 9], ids=["readable", "the first are unreadable"])
def test_parquet_that_was_stopped_after_any_batch_goes_on_to_the_same_bytes(tmp_path, vectors, unreadable):
    items = predictions(first_readable=unreadable)
    whole, path = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    write(whole, items, vectors=vectors)
    for stop_after in range(6):
        with pytest.raises(KeyboardInterrupt):
            write(path, items, stop_after=stop_after, vectors=vectors)
        with pytest.raises(KeyboardInterrupt):  # and again at once
            write(path, items, stop_after=0, vectors=vectors, resume=True)
        write(path, items, vectors=vectors, resume=True)
        assert path.read_bytes() == whole.read_bytes()
        path.unlink()


def test_parquet_of_a_killed_process_keeps_whole_batches_alone(tmp_path):
    """Killed while a file is written, and after an error within a batch."""
    items = predictions()
    whole, path = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    write(whole, items)
    with pytest.raises(KeyboardInterrupt):
        write(path, items, stop_after=4)
    part = path.with_name("p.parquet.part")
    assert sorted(file.name for file in part.iterdir()) == ["000000.parquet", "000001.parquet"]
    (part / ".new").write_bytes(b"PAR1 and no more")
    odd = parquet.read_table(part / "000001.parquet").slice(0, 3)
    parquet.write_table(odd, part / "000001.parquet")
    write(path, items, resume=True)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_whole_already_says_so_and_nothing_to_go_on_with_is_a_beginning(kind, tmp_path):
    items, path = predictions(), tmp_path / f"p.{kind}"
    write(path, items, resume=True)
    before = path.read_bytes()
    with pytest.raises(FinishedError, match="is whole already; nothing is left to do"):
        write(path, items, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_other_images_or_settings_are_told_and_what_is_there_stays(kind, tmp_path, monkeypatch):
    items, path = predictions(), tmp_path / f"p.{kind}"
    with pytest.raises(KeyboardInterrupt) as stopped:
        write(path, items, stop_after=3)
    part = path.with_name(f"{path.name}.part")
    assert stopped.value.__notes__ == [f"what was done before is in {part}; the same command can resume it"]
    with pytest.raises(UserError, match=r"is there from a run that was stopped; resume it \(--resume\), or begin anew \(--force\)"):
        write(path, items)
    for others in (items[1:], items[:5]):
        with pytest.raises(UserError, match=r"has 12 rows, up to .*, but that is not image 12 now: images were added or removed"):
            write(path, others, resume=True)
    with monkeypatch.context() as patch:
        patch.setitem(SETTINGS, "model", "other")
        with pytest.raises(UserError, match="was begun otherwise: model was 'abc' and is 'other'"):
            write(path, items, resume=True)
    write(path, items, resume=True)
    assert len(columns(kind, path)) == len(items)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_there_is_replaced_by_force_alone_and_at_the_end(kind, tmp_path):
    items, path = predictions(), tmp_path / f"p.{kind}"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write(path, items)
    with pytest.raises(KeyboardInterrupt):
        write(path, items, stop_after=3, replace=True)
    assert path.read_text() == "mine"
    write(path, items, resume=True)
    assert len(columns(kind, path)) == len(items)
    with pytest.raises(KeyboardInterrupt):
        write(path, items, stop_after=3, replace=True)
    write(path, items[:2], replace=True)
    assert len(columns(kind, path)) == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_was_done_nothing_is_left(kind, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / f"p.{kind}", predictions(), stop_after=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_no_pictures_are_a_file_without_rows(kind, tmp_path):
    write(tmp_path / f"p.{kind}", [], vectors=kind == "parquet")
    assert columns(kind, tmp_path / f"p.{kind}") == []


def test_a_parquet_folder_is_never_half_deleted_where_it_could_be_gone_on_with(tmp_path, monkeypatch):
    """Killed while FILE.part, all of which is in FILE, is deleted."""
    items, path = predictions(), tmp_path / "p.parquet"

    def killed(folder, **options):
        for file in Path(folder).glob("*.parquet"):
            file.unlink()
            raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(rows_module, "shutil", SimpleNamespace(rmtree=killed))
        with pytest.raises(SystemExit):
            write(path, items)
    with pytest.raises(FinishedError):
        write(path, items, resume=True)
    assert len(columns("parquet", path)) == len(items)


def test_a_full_disk_leaves_what_was_written_and_it_goes_on(tmp_path, monkeypatch):
    items, path = predictions(), tmp_path / "p.parquet"
    write(tmp_path / "whole.parquet", items)
    opened = Path.open

    def full(file, mode="r", **options):
        if file.name == ".new" and (file.parent / "000000.parquet").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(file, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match="No space left on device") as raised:
            write(path, items)
    assert "what was done before is in" in raised.value.__notes__[0]
    write(path, items, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_another_ending_and_vectors_without_parquet_are_refused(tmp_path):
    for name, options in (("p.txt", {}), ("p.csv", {"vectors": True})):
        with pytest.raises(UserError, match=r"p\.(txt: files of predictions end in .csv, .jsonl, .parquet|csv: embeddings are written as)"):
            write(tmp_path / name, predictions(), **options)
    assert not list(tmp_path.iterdir())


def test_what_ended_the_work_is_told_where_the_rows_are_gone_too(tmp_path):
    with pytest.raises(ZeroDivisionError), open_rows(tmp_path / "a.csv", {}, top_k=1, batch_size=1) as rows:
        rows.add([Prediction(Path("a.png"), ("cat",), (0.5,))])
        (tmp_path / "a.csv.part").unlink()
        raise ZeroDivisionError


def test_rows_that_can_not_take_their_place_are_told_and_kept(tmp_path):
    with pytest.raises(UserError, match="can't write") as caught, open_rows(tmp_path / "a.csv", {}, top_k=1, batch_size=1) as rows:
        rows.add([Prediction(Path("a.png"), ("cat",), (0.5,))])
        (tmp_path / "a.csv").mkdir()
    assert "a.png" in (tmp_path / "a.csv.part").read_text()
    assert "a.csv.part" in caught.value.__notes__[0]
