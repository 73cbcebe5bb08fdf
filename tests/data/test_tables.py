from pathlib import Path

import pytest

from inceptions.data import load_splits
from inceptions.data.splits import Labelled, split_labelled
from inceptions.errors import DataError
from tests.data.test_folders import counts, fill

HEADER = "path,label"


@pytest.fixture
def photos(tmp_path):
    """40 cats and 60 dogs in one folder, with the rows of a table that lists them."""
    fill(tmp_path / "photos", 40, prefix="cat")
    fill(tmp_path / "photos", 60, prefix="dog")
    return [(f"photos/{path.name}", path.name[:3]) for path in sorted((tmp_path / "photos").iterdir())]


def write(path: Path, rows, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def write_parquet(path: Path, columns: dict) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_table_is_split_as_folders_are(photos, tmp_path):
    splits = load_splits(write(tmp_path / "a.csv", photos))
    assert splits.classes == ("cat", "dog")
    assert counts(splits) == {"train": {"cat": 32, "dog": 48}, "val": {"cat": 4, "dog": 6}, "test": {"cat": 4, "dog": 6}}
    assert splits.notes == ("no val and no test part: of each class 10% set aside for val and as much for test, by seed 0",)
    assert all(sample.path.parent == tmp_path / "photos" for sample in splits.train)
    assert load_splits(str(tmp_path / "a.csv"), seed=1).test != splits.test
    assert load_splits(tmp_path / "a.csv") == splits


def test_the_order_of_the_rows_does_not_change_who_is_tested_on(photos, tmp_path):
    first = load_splits(write(tmp_path / "a.csv", photos))
    second = load_splits(write(tmp_path / "a.csv", photos[::-1]))
    assert set(first.test) == set(second.test)


@pytest.mark.parametrize(
    "header", ["file,class", "Filename,LABEL", "IMAGE, Class ", "\ufeffpath,label", "path;label", "path\tlabel"], ids=repr
)
def test_columns_go_by_several_names_and_separators(photos, tmp_path, header):
    separator = next(sign for sign in ";\t," if sign in header)
    table = tmp_path / "a.csv"
    table.write_text("\n".join([header, *(separator.join(row) for row in photos)]), encoding="utf-8")
    assert sum(len(part) for part in (load_splits(table).train, load_splits(table).val)) == 90


def test_other_columns_quotes_blank_lines_and_absolute_paths_are_no_trouble(photos, tmp_path):
    rows = [("7", f'"{tmp_path / name}"', f'"{label}, tame"') for name, label in photos]
    table = write(tmp_path / "a.csv", [*rows, ()], header="id,path,label")
    assert load_splits(table).classes == ("cat, tame", "dog, tame")


def test_the_split_column_decides(photos, tmp_path):
    parts = ["train"] * 30 + ["Validation"] * 5 + ["test"] * 5 + ["training"] * 50 + ["valid"] * 5 + ["testing"] * 5
    rows = [(*row, part) for row, part in zip(photos, parts, strict=True)]
    splits = load_splits(write(tmp_path / "a.csv", rows, header="path,label,Split"))
    assert counts(splits) == {"train": {"cat": 30, "dog": 50}, "val": {"cat": 5, "dog": 5}, "test": {"cat": 5, "dog": 5}}
    assert splits.notes == ()


def test_parts_that_are_missing_are_made_up_as_for_folders(photos, tmp_path):
    rows = [(*row, "test" if number % 2 else "train") for number, row in enumerate(photos)]
    splits = load_splits(write(tmp_path / "a.csv", rows, header="path,label,split"))
    assert {part: sum(found.values()) for part, found in counts(splits).items()} == {"train": 45, "val": 5, "test": 50}
    rows = [(*row, "val" if number % 2 else "train") for number, row in enumerate(photos)]
    splits = load_splits(write(tmp_path / "a.csv", rows, header="path,label,split"))
    assert splits.test == ()
    assert splits.notes == ("no test images; the accuracy on validation, by which the best epoch is chosen, is a little too good",)


def test_classes_that_are_numbers_stand_in_their_order(tmp_path):
    fill(tmp_path, 12)
    rows = [(f"{number:03}.jpg", str(number)) for number in range(12)]
    assert load_splits(write(tmp_path / "a.csv", rows)).classes == tuple(str(number) for number in range(12))


def test_parquet_is_read_as_csv(photos, tmp_path):
    names, labels = zip(*photos, strict=True)
    table = write_parquet(tmp_path / "a.parquet", {"Image": names, "other": [0] * 100, "label": labels})
    assert load_splits(table) == load_splits(write(tmp_path / "a.csv", photos))


def test_parquet_of_numbers_and_a_split_is_read(tmp_path):
    fill(tmp_path, 4)
    table = write_parquet(
        tmp_path / "a.parquet",
        {"path": [f"{number:03}.jpg" for number in range(4)], "class": [0, 1, 0, 1], "split": ["train", "train", "val", "test"]},
    )
    splits = load_splits(table)
    assert (splits.classes, len(splits.train), len(splits.val), len(splits.test)) == (("0", "1"), 2, 1, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"no column path or file or filename or image; its columns are none"),
        ("name,label\n", "no column path or .*; its columns are name, label"),
        ("path,kind\n", "no column label or class; its columns are path, kind"),
        ("path,label\n", "no pictures to train on"),
        ("path,label\n000.jpg,cat\n,dog\n", "row 3: no path; fill it in or remove the row"),
        ("path,label\n000.jpg\n", "row 2: no label"),
        ("path,label,split\n000.jpg,cat,dev\n", "row 2: the split is 'dev'; it must be train, val or test"),
        ("path,label\n000.jpg,cat\n001.jpg,cat\n", r"one class only \(cat\), where two are needed"),
        ("path,label\n000.jpg,cat\nx.jpg,dog\ny.jpg,dog\n", r"2 of 3 files aren't there: x\.jpg, y\.jpg; relative paths begin at /"),
        ("path,label,split\n000.jpg,a,train\n001.jpg,b,train\n002.jpg,c,val\n", "val: classes that train doesn't have: c; add them"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(tmp_path, text, words):
    fill(tmp_path, 3)
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=words) as error:
        load_splits(tmp_path / "a.csv")
    assert str(error.value).startswith(f"{tmp_path / 'a.csv'}: ")
    assert "\n" not in str(error.value)


def test_a_file_in_two_parts_or_two_classes_is_refused_under_whatever_name_it_is_listed(photos, tmp_path):
    (tmp_path / "same.jpg").symlink_to(tmp_path / photos[0][0])
    rows = [(*row, "train") for row in photos]
    for name, label, part, words in (
        (photos[0][0], "cat", "test", r"1 files are in two parts or classes: photos/cat000\.jpg \(train and test\); keep one row of each"),
        (f"photos/../{photos[0][0]}", "cat", "val", r"photos/\.\./photos/cat000\.jpg \(train and val\)"),
        ("same.jpg", "dog", "train", r"same\.jpg \(cat and dog\)"),
    ):
        with pytest.raises(DataError, match=words):
            load_splits(write(tmp_path / "a.csv", [*rows, (name, label, part)], header="path,label,split"))


def test_a_file_that_is_listed_again_counts_once_and_is_never_in_two_parts(photos, tmp_path):
    once = load_splits(write(tmp_path / "a.csv", photos))
    twice = load_splits(write(tmp_path / "b.csv", [*photos, *((f"./{name}", label) for name, label in photos)]))
    assert (twice.train, twice.val, twice.test) == (once.train, once.val, once.test)
    assert twice.notes[0].startswith("files that are listed more than once, and count once: 100 (./photos/cat000.jpg, ")


def test_damaged_and_missing_tables_are_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"path,label\n\xff\xfe,cat\n")
    with pytest.raises(DataError, match="no table in UTF-8"):
        load_splits(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b\.csv: no such table; check the name"):
        load_splits(tmp_path / "b.csv")
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="no Parquet file, or a damaged one"):
        load_splits(tmp_path / "a.parquet")


def test_without_pyarrow_it_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(DataError, match=r"pip install 'inceptions\[data\]'"):
        load_splits(tmp_path / "a.parquet")


def test_two_classes_of_one_name_are_refused():
    items = [Labelled(Path("a.png"), name, str(number)) for number, name in enumerate(("cat", "dog") * 10)]
    with pytest.raises(DataError, match="classes 0, 2 are all called 'cat', and 1 more so; give each class a name of its own"):
        split_labelled({"train": items}, source="pets", seed=0, classes=("cat", "dog", "cat", "dog"))
