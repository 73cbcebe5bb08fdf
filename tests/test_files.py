"""Files and folders that are whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from inceptions.errors import UserError
from inceptions.files import copy_whole, expand_home, new_folder, new_path, whole_file, whole_folder, write_whole


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_another_at_the_end(tmp_path: Path) -> None:
    place = tmp_path / "new" / "a.txt"
    write_whole(place, "one")
    with whole_file(place, durable=True) as scratch:
        scratch.write_text("two")
        assert place.read_text() == "one"
    assert place.read_text() == "two" and _left(place.parent) == ["a.txt"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "a.txt"
    write_whole(place, b"one")
    with pytest.raises(ZeroDivisionError), whole_file(place) as scratch:
        scratch.write_text("half")
        raise ZeroDivisionError
    assert place.read_text() == "one" and _left(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a.txt", "one")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_what_can_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(UserError, match=r"can't write .*; make room, or give another place"):
            write_whole(place, "one")
    with pytest.raises(UserError, match="No space left"), whole_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no file system here where nothing can be made")
def test_a_place_where_no_folder_can_be_made_is_one_clear_error() -> None:
    with pytest.raises(UserError, match=r"^can't write /proc/x/a\.txt \(No such file or directory\); make room, or give another place$"):
        write_whole(Path("/proc/x/a.txt"), "new")


def test_an_error_that_is_not_of_writing_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError), whole_file(tmp_path / "a.txt"):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")


def test_a_place_in_the_cache_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(UserError, match="set INCEPTIONS_CACHE"):
        write_whole(tmp_path / "cache" / "a.txt", "one")


def test_a_folder_takes_the_place_of_another_whole(tmp_path: Path) -> None:
    place = tmp_path / "model"
    for content in ("one", "two"):
        with whole_folder(place) as fresh:
            (fresh / content).touch()
    assert _left(place) == ["two"] and _left(tmp_path) == ["model"]


def test_who_is_second_to_make_a_folder_takes_the_first_one(tmp_path: Path) -> None:
    place = tmp_path / "digits"
    with whole_folder(place, replace=False) as late:
        (late / "mine").touch()
        with whole_folder(place, replace=False) as early:
            (early / "theirs").touch()
    assert _left(place) == ["theirs"] and _left(tmp_path) == ["digits"]


def test_who_is_second_to_make_a_file_leaves_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for place in (tmp_path / "a.json", tmp_path / "b.json"):
        with whole_file(place, replace=False) as late:
            late.write_text("mine")
            with whole_file(place, replace=False) as early:
                early.write_text("theirs")
        assert place.read_text() == "theirs"
        monkeypatch.setattr(os, "link", no_links)  # as on a stick
    assert _left(tmp_path) == ["a.json", "b.json"]


@pytest.mark.parametrize("at", [1, 2])
def test_ctrl_c_as_a_folder_takes_the_place_of_another_leaves_one_of_them(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename, renamed = tmp_path / "model", Path.rename, []
    with whole_folder(place) as fresh:
        (fresh / "old").touch()

    def interrupted(path: Path, target: Path) -> Path:
        renamed.append(path)
        if len(renamed) == at:
            rename(path, target) if at == 1 else None
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(place) as fresh:
        (fresh / "new").touch()
    assert _left(place) == ["old"] and _left(tmp_path) == ["model"]


def test_a_copy_on_a_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        write_whole(tmp_path / name / "a", name)
    copy_whole(tmp_path / "one", tmp_path / "copy")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(UserError, match=r"^can't write .*copy \(.*No space left on device.*\); make room, or give another place$"):
        copy_whole(tmp_path / "two", tmp_path / "copy")
    assert (tmp_path / "copy" / "a").read_text() == "one" and _left(tmp_path) == ["copy", "one", "two"]


def test_a_new_path_is_one_that_is_not_there(tmp_path: Path) -> None:
    for expected in ("run", "run-2", "run-3"):
        path = new_path(tmp_path, "run")
        assert path.name == expected
        path.mkdir()


def test_a_name_that_is_too_long_for_a_disk_is_cut(tmp_path: Path) -> None:
    path = new_path(tmp_path, "é" * 300)
    path.mkdir()
    assert path.name == "é" * 100
    assert new_path(tmp_path, "é" * 300).name == "é" * 100 + "-2"


def test_a_folder_that_one_stands_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"\. can't be replaced as a whole; give a place within it, such as new"), whole_folder(Path()):
        pass
    assert _left(tmp_path) == []


def test_two_that_write_into_one_new_folder_both_end(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as out, new_folder(tmp_path / "out"):
        (out / "a").touch()
    assert _left(tmp_path / "out") == ["a"]


@pytest.mark.parametrize(("given", "path"), [("~/a", "home/a"), ("~nobody.png", "~nobody.png"), ("a/~", "a/~"), ("~", "home")])
def test_a_leading_tilde_is_a_home_folder_where_there_is_one(given: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "home")
    monkeypatch.setenv("USERPROFILE", "home")
    assert expand_home(given) == Path(path)
