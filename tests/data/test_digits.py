import gzip
import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inceptions.data import digits
from inceptions.errors import UserError


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def table() -> np.ndarray:
    with resources.files("inceptions.data").joinpath("digits.csv.gz").open("rb") as file:
        return np.loadtxt(gzip.open(file), delimiter=",", dtype=int)


def test_every_picture_is_its_row_of_the_table(cache):
    rows, seen = table(), []
    for path in digits.materialize().rglob("*.png"):
        number = int(path.stem)
        image = Image.open(path)
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.round(rows[number, :64] * 255 / 16).reshape(8, 8))
        assert path.parent.name == str(rows[number, 64])
        seen.append(number)
    assert sorted(seen) == list(range(1797))


def test_the_parts_are_stratified(cache):
    folder = digits.materialize()
    parts = {part: Counter(path.parent.name for path in (folder / part).rglob("*.png")) for part in ("train", "val", "test")}
    assert {part: found.total() for part, found in parts.items()} == {"train": 1259, "val": 179, "test": 359}
    assert all(len(found) == 10 for found in parts.values())
    assert max(parts["test"].values()) - min(parts["test"].values()) <= 2


def test_the_parts_are_these(cache):
    """Frozen: accuracy on the built-in set is compared between versions and between people."""
    folder = digits.materialize()
    names = "\n".join(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")))
    assert sha256(names.encode()).hexdigest()[:16] == "bccdd86c8758ed1c"


def test_what_is_there_is_used_again(cache):
    folder = digits.materialize()
    before = (folder / "train").stat().st_mtime_ns
    assert digits.materialize() == folder
    assert (folder / "train").stat().st_mtime_ns == before


def test_nothing_unfinished_is_left(cache, monkeypatch):
    digits.materialize()
    assert [path.name for path in cache.iterdir()] == ["digits"]

    def stop(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("INCEPTIONS_CACHE", str(cache / "second"))
    monkeypatch.setattr(digits.Image.Image, "save", stop)
    with pytest.raises(UserError, match=r"No space left on device\); set INCEPTIONS_CACHE to a folder that can"):
        digits.materialize()
    assert list((cache / "second").iterdir()) == []


@pytest.mark.exhaustive
def test_two_processes_at_once_do_not_disturb_each_other(cache):
    code = "from inceptions.data import digits; print(sum(1 for _ in digits.materialize().rglob('*.png')))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["1797"] * 3
    assert [path.name for path in cache.iterdir()] == ["digits"]


def test_who_comes_second_takes_what_the_first_wrote(cache, monkeypatch):
    write = digits._write

    def lose_the_race(folder: Path) -> None:
        write(folder)
        write(cache / "digits")

    monkeypatch.setattr(digits, "_write", lose_the_race)
    assert digits.materialize() == cache / "digits"
    assert [path.name for path in cache.iterdir()] == ["digits"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"can't write \S+file/digits \(Not a directory\); set INCEPTIONS_CACHE to a folder that can"):
        digits.materialize()


def test_a_read_only_cache_is_told(tmp_path, monkeypatch):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path))
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"Permission denied.*INCEPTIONS_CACHE"):
        digits.materialize()


def test_the_cache_is_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("INCEPTIONS_CACHE", "~/kept")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/kept")
    assert digits.cache_folder() == Path("/home/somebody/kept")
    monkeypatch.delenv("INCEPTIONS_CACHE")
    assert digits.cache_folder() == Path("/var/kept/inceptions")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert digits.cache_folder() == Path("/home/somebody/.cache/inceptions")


def test_the_credit_lies_beside_the_data():
    text = resources.files("inceptions.data").joinpath("digits.README.md").read_text()
    for words in ("Alpaydin", "Kaynak", "https://doi.org/10.24432/C50P49", "CC BY 4.0", "UCI Machine Learning Repository"):
        assert words in text
