"""Where pictures come from: each kind of source, in order, one by one, and what is none told before anything is loaded."""

import io
import os
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from inceptions.data.folders import find_images
from inceptions.errors import DataError
from inceptions.inference.sources import check_sources, count_pictures, iterate_pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def given(*sources) -> list[str]:
    return [str(picture) for picture in iterate_pictures(list(map(str, sources)))]


def test_a_folder_is_gone_through_in_the_order_of_whole_paths(tmp_path):
    names = ["a.png", "a/z.png", "a-b/c.png", "a/b/c.jpg", "a b.png", "B.png", "é.png", os.fsdecode(b"caf\xe9.png"), "a.d/1.PNG", "0/0.png"]
    touch(tmp_path, *names, "notes.txt", ".hidden.png", ".git/x.png", "__MACOSX/x.png", "a/readme")
    found = given(tmp_path)
    assert found == sorted(str(tmp_path / name) for name in names)
    assert found == list(map(str, find_images(str(tmp_path))))  # as all else here orders them


def test_links_are_followed_and_circles_end(tmp_path):
    touch(tmp_path, "all/a/1.png", "elsewhere/2.png")
    (tmp_path / "all" / "a" / "up").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "all" / "self").symlink_to(tmp_path / "all" / "self")
    (tmp_path / "all" / "3.png").symlink_to(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "all" / "gone.png").symlink_to(tmp_path / "nothing.png")  # whoever reads it says so
    assert given(tmp_path / "all") == [str(tmp_path / "all" / name) for name in ("3.png", "a/1.png", "b/2.png", "gone.png")]


def test_files_and_patterns_come_as_they_are_given(tmp_path):
    touch(tmp_path, "a.png", "b/c.jpg", "b/d.png", "b/.e.png", "f.txt")
    names = (tmp_path / "f.txt", tmp_path / "b" / "*.png", tmp_path / "**" / "*.jpg", tmp_path / "a.png", tmp_path / "a.png")
    wanted = [str(tmp_path / name) for name in ("f.txt", "b/d.png", "b/c.jpg", "a.png", "a.png")]
    assert given(*names) == wanted
    assert count_pictures(list(map(str, names))) == 5


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_table_needs_a_column_of_paths_alone_and_keeps_every_row(tmp_path, kind):
    paths = ["x/1.png", "x/nothing.png", "x/1.png", "/abs/2.png"]
    file = tmp_path / f"list.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.table({"width": [1, 2, 3, 4], "File": paths}), file)
    else:
        separator = "\t" if kind == "tsv" else ","
        file.write_text("\n".join(f"{width}{separator}{path}" for width, path in zip(("width", 1, 2, 3, 4), ("File", *paths), strict=True)))
    assert given(file) == [str(tmp_path / path) for path in paths]
    check_sources([str(file)])


def test_shards_need_no_labels(tmp_path):
    image = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 8, 7)).save(image, "PNG")
    for shard in range(2):
        with tarfile.open(tmp_path / f"s-{shard}.tar", "w") as tar:
            for name, content in (("b.png", image.getvalue()), ("a.png", image.getvalue()), ("a.json", b"{}"), ("notes.txt", b"")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    found = list(iterate_pictures([str(tmp_path / "s-{0..1}.tar")]))
    assert [str(picture).removeprefix(str(tmp_path)) for picture in found] == [f"/s-{s}.tar/{name}.png" for s in (0, 1) for name in "ba"]
    assert found[0].read_bytes() == image.getvalue()


def test_standard_input_is_a_path_a_line_of_whatever_bytes(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"a.png\n\ncaf\xe9 x.png\r\n b.png \nlast.png")))
    assert given("-") == ["a.png", os.fsdecode(b"caf\xe9 x.png"), " b.png ", "last.png"]
    assert count_pictures(["-"]) is None


def test_a_built_in_set_is_all_of_its_pictures_unless_a_file_has_its_name(tmp_path, monkeypatch):
    assert count_pictures(["digits"]) == 1797
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "digits/1.png")
    assert given("digits") == ["digits/1.png"]


def test_mistakes_are_told_before_anything_is_loaded(tmp_path):
    touch(tmp_path, "empty/notes.txt", "deep/.hidden/x.png")
    (tmp_path / "no_column.csv").write_text("name,label\n1.png,cat\n")
    (tmp_path / "no_rows.csv").write_text("path\n")
    (tmp_path / "no_path.csv").write_text("path,label\n,cat\n")
    (tmp_path / "text.tar").write_text("no tar")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    told = {
        "nothing.png": "no such file or folder",
        "empty": "no image found",
        "deep": "no image found",
        "*.gif": "no image found",
        "no_column.csv": "no column path or file or filename or image",
        "no_rows.csv": "there is no image in it",
        "no_path.csv": "row 2: no path|row 1: no path",
        "text.tar": "no plain tar file",
        "empty.tar": "there is no image in it",
    }
    for name, message in told.items():
        with pytest.raises(DataError, match=message):
            check_sources([str(tmp_path / name)])
    with pytest.raises(DataError, match=r"standard input \(-\) is given twice"):
        check_sources(["-", "-"])
    with pytest.raises(DataError, match="no image given"):
        check_sources([""])


def test_a_file_may_be_called_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("~nobody.png")
    Path("list.csv").write_text("path\n~nobody.png\n")
    for source in ("~nobody.png", "*.png", "list.csv"):
        assert [str(path) for path in iterate_pictures([source])] == ["~nobody.png"]
