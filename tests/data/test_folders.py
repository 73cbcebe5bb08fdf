import os
from collections import Counter
from pathlib import Path

import pytest

from inceptions.data import Splits, find_images, load_splits
from inceptions.data.digits import COUNT
from inceptions.errors import DataError
from tests.counting import count_calls


def fill(folder: Path, count: int, suffix: str = "jpg", prefix: str = "") -> Path:
    """Put `count` empty files into a folder: only names are read here."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{prefix}{number:03}.{suffix}").touch()
    return folder


@pytest.fixture
def pets(tmp_path):
    """Class folders: 40 cats and 60 dogs."""
    fill(tmp_path / "pets" / "dog", 60)
    fill(tmp_path / "pets" / "cat", 40)
    return tmp_path / "pets"


def names(splits: Splits, part: str) -> list[str]:
    return [f"{sample.path.parent.name}/{sample.path.name}" for sample in getattr(splits, part)]


def counts(splits: Splits) -> dict[str, Counter]:
    return {part: Counter(splits.classes[sample.label] for sample in getattr(splits, part)) for part in ("train", "val", "test")}


def test_class_folders_are_split_class_by_class(pets):
    splits = load_splits(pets)
    assert splits.classes == ("cat", "dog")
    assert counts(splits) == {"train": {"cat": 32, "dog": 48}, "val": {"cat": 4, "dog": 6}, "test": {"cat": 4, "dog": 6}}
    assert splits.mirror
    assert splits.notes == ("no val and no test folder: of each class 10% set aside for val and as much for test, by seed 0",)


def test_the_parts_are_disjoint_and_complete(pets):
    splits = load_splits(pets)
    everything = [sample.path for part in (splits.train, splits.val, splits.test) for sample in part]
    assert sorted(everything) == sorted(pets.rglob("*.jpg"))
    assert all(splits.classes[sample.label] == sample.path.parent.name for sample in splits.train)


def test_a_split_is_the_same_again_and_another_with_another_seed(pets):
    assert load_splits(pets, seed=1) == load_splits(str(pets), seed=1)
    assert names(load_splits(pets, seed=1), "test") != names(load_splits(pets, seed=2), "test")


def test_a_split_is_the_same_elsewhere(pets, tmp_path, monkeypatch):
    before = {part: names(load_splits(pets), part) for part in ("train", "val", "test")}
    monkeypatch.chdir(pets.rename(tmp_path / "elsewhere"))
    for source in (".", tmp_path / "elsewhere", "../elsewhere/"):
        assert {part: names(load_splits(source), part) for part in ("train", "val", "test")} == before


def test_a_split_is_this_one(tmp_path):
    """Frozen: models that were trained on one version are compared on the same pictures by the next."""
    fill(tmp_path / "a", 12)
    fill(tmp_path / "b", 12)
    splits = load_splits(tmp_path, seed=3)
    assert names(splits, "val") == ["a/004.jpg", "b/011.jpg"]
    assert names(splits, "test") == ["a/009.jpg", "b/010.jpg"]


def test_more_pictures_leave_most_where_they_were(pets):
    before = {path for path in names(load_splits(pets), "train")}
    fill(pets / "dog", 10, prefix="new")
    assert len(before - set(names(load_splits(pets), "train"))) <= 2


def test_train_alone_is_split_in_three(pets, tmp_path):
    pets.rename(tmp_path / "train")
    assert {part: sum(found.values()) for part, found in counts(load_splits(tmp_path)).items()} == {"train": 80, "val": 10, "test": 10}


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_train_and_val_are_taken_as_they_are_and_there_is_no_test(pets, tmp_path, name):
    pets.rename(tmp_path / "train")
    fill(tmp_path / name / "cat", 3)
    fill(tmp_path / name / "dog", 2)
    splits = load_splits(tmp_path)
    assert counts(splits) == {"train": {"cat": 40, "dog": 60}, "val": {"cat": 3, "dog": 2}, "test": {}}
    assert splits.notes == ("no test images; the accuracy on validation, by which the best epoch is chosen, is a little too good",)


def test_train_and_test_give_a_tenth_of_train_to_val(pets, tmp_path):
    pets.rename(tmp_path / "train")
    fill(tmp_path / "test" / "cat", 3)
    fill(tmp_path / "test" / "dog", 2)
    splits = load_splits(tmp_path)
    assert counts(splits) == {"train": {"cat": 36, "dog": 54}, "val": {"cat": 4, "dog": 6}, "test": {"cat": 3, "dog": 2}}
    assert splits.notes == ("no val folder: of each class 10% set aside for val, by seed 0",)


def test_three_parts_are_taken_as_they_are(pets, tmp_path):
    pets.rename(tmp_path / "train")
    for name in ("val", "test"):
        fill(tmp_path / name / "cat", 3)
        fill(tmp_path / name / "dog", 2)
    splits = load_splits(tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [100, 5, 5]
    assert splits.notes == ()


def test_labels_of_other_parts_follow_the_classes_of_train(tmp_path):
    for name in ("ant", "bee", "cat"):
        fill(tmp_path / "train" / name, 4)
    fill(tmp_path / "test" / "cat", 2)
    (tmp_path / "test" / "ant").mkdir()
    splits = load_splits(tmp_path)
    assert {sample.label for sample in splits.test} == {2}
    assert f"{tmp_path}: test: no pictures of 2 of 3 classes: ant, bee" in splits.notes


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "train"):
        fill(tmp_path / name, 10)
    assert load_splits(tmp_path).classes == ("car", "train")


def test_folders_beside_the_parts_are_left_out_and_told(pets, tmp_path):
    pets.rename(tmp_path / "train")
    fill(tmp_path / "annotations", 1, suffix="xml")
    fill(tmp_path, 2)
    notes = load_splits(tmp_path).notes
    assert notes[:2] == ("folders left out beside train: annotations", f"{tmp_path}: pictures left out that lie beside the folders: 2")


def test_pictures_in_sub_folders_count_and_hidden_ones_do_not(pets):
    fill(pets / "cat" / "indoors" / "asleep", 5, suffix="PNG")
    fill(pets / "cat" / ".thumbnails", 5)
    fill(pets / ".git", 5)
    fill(pets / "__MACOSX" / "cat", 5)
    fill(pets / "dog", 5, prefix="._")
    assert sum(sum(found.values()) for found in counts(load_splits(pets)).values()) == 105
    assert load_splits(pets).classes == ("cat", "dog")


def test_files_that_are_no_pictures_are_counted(pets):
    fill(pets / "cat", 3, suffix="txt")
    fill(pets / "dog", 1, suffix="db")
    (pets / "LICENSE").touch()
    fill(pets, 1)
    notes = load_splits(pets).notes
    assert notes[0] == "files left out that are no pictures by their names: 5 (3 .txt, 1 .db, 1 without an ending)"
    assert notes[1] == f"{pets}: pictures left out that lie beside the folders: 1"


@pytest.mark.parametrize(
    ("count", "parts"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (4, (2, 1, 1)), (14, (12, 1, 1)), (16, (12, 2, 2))]
)
def test_a_class_with_few_pictures_has_at_least_one_in_train(tmp_path, count, parts):
    fill(tmp_path / "rare", count)
    fill(tmp_path / "usual", 50)
    splits = load_splits(tmp_path)
    assert tuple(counts(splits)[part]["rare"] for part in ("train", "val", "test")) == parts
    told = "classes with fewer than 10 pictures, of which one or none is set aside: rare"
    assert (told in splits.notes) == (count < 10)


def test_parts_that_come_out_empty_are_told(tmp_path):
    for name in "ab":
        fill(tmp_path / name, 1)
    told = "neither validation nor test images, so the accuracy is that on the training images, and much too good"
    assert told in load_splits(tmp_path).notes


def test_links_are_followed_and_circles_end(pets, tmp_path):
    (pets / "cat" / "up").symlink_to(pets, target_is_directory=True)
    (pets / "dog" / "self").symlink_to(pets / "dog" / "self")
    fill(tmp_path / "elsewhere", 5, prefix="e")
    (pets / "dog" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (pets / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = counts(load_splits(pets))
    assert sum(part["dog"] for part in found.values()) == 66  # and one that says when it is read that it isn't there
    assert sum(part["cat"] for part in found.values()) == 40 + 66  # by way of the link upwards all, but each folder once


def test_listing_is_fast(tmp_path):
    """60,000 files take a second or two; a call is 0.2 microseconds or so, and each file takes 67, however many there are."""
    for name in "abc":
        fill(tmp_path / "few" / name, 200)
        fill(tmp_path / "many" / name, 600)
    few, many = (count_calls(load_splits, tmp_path / name) for name in ("few", "many"))
    assert many - few < 80 * 1200
    assert many < 3.1 * few


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], r"an empty folder; needed is one folder of pictures for each class"),
        (["cat/"], r"no pictures in its folders \(cat\)"),
        (["1.jpg", "2.jpg"], r"pictures without class folders \(2\); needed is one folder of pictures for each class"),
        (["cat/1.jpg"], r"one class only \(cat\), where two are needed; add another, or give .*/cat if the classes are in it"),
        (["cat/1.jpg", "dog/", "emu/readme.txt"], "classes without pictures: dog, emu; add pictures"),
        (["train/cat/1.jpg", "train/dog/"], "train: classes without pictures: dog"),
        (["train/1.jpg", "val/2.jpg"], r"train: pictures without class folders \(1\)"),
        (
            ["train/cat/1.jpg", "train/dog/1.jpg", "test/cat/1.jpg", "test/eel/1.jpg"],
            "test: classes that train doesn't have: eel; add them",
        ),
        (["train/cat/1.jpg", "train/dog/1.jpg", "val/"], "val: no pictures in class folders"),
        (["train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg"], "test: no pictures in class folders"),
        (["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg"], "both val and valid mean the val part; keep one"),
        (["val/cat/1.jpg", "test/cat/1.jpg"], "no train folder beside test, val"),
        (["file.jpg/"], "no pictures in its folders"),
    ],
)
def test_what_cannot_be_trained_on_is_told_in_one_line(tmp_path, made, words):
    for name in made:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(DataError, match=words) as error:
        load_splits(tmp_path)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_missing_folder_a_file_and_nothing_are_told(tmp_path):
    (tmp_path / "a.zip").touch()
    for source, words in {
        tmp_path / "missing": r"missing: no such folder; check the name, or take a built-in set \(digits, cifar10, imagenette, flowers102",
        tmp_path / "a.zip": r"a\.zip: a file, where a folder is needed",
        "": "no data given",
        "Digit": r"Digit: no such folder; did you mean the built-in set 'digits'\?",
    }.items():
        with pytest.raises(DataError, match=words):
            load_splits(source)


def test_a_folder_that_must_not_be_listed_is_told(pets, monkeypatch):
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"dog: can't be listed \(Permission denied\); check its permissions"):
        load_splits(pets)


@pytest.fixture
def album(tmp_path, monkeypatch):
    """a.jpg, b.txt, trip/c.PNG, trip/far/d.jpg, .hidden/e.jpg, and a link from trip to the whole; the working folder is above."""
    for name in ("a.jpg", "b.txt", "trip/c.PNG", "trip/far/d.jpg", ".hidden/e.jpg", "[1].jpg"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "album" / "trip" / "loop").symlink_to(tmp_path / "album", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "album"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("album/a.jpg", ["a.jpg"]),
        ("album/b.txt", ["b.txt"]),  # named by itself it is tried, and reading says what it is
        ("album/[1].jpg", ["[1].jpg"]),  # a name before it is a pattern
        ("album", ["[1].jpg", "a.jpg", "trip/c.PNG", "trip/far/d.jpg"]),
        ("album/*", ["[1].jpg", "a.jpg"]),
        ("album/*/*", ["trip/c.PNG"]),
        ("album/**/*.jpg", ["[1].jpg", "a.jpg", "trip/far/d.jpg"]),
        ("album/**", ["[1].jpg", "a.jpg", "trip/c.PNG", "trip/far/d.jpg"]),
        ("album/trip/**/d.*", ["trip/far/d.jpg"]),
        ("./album/../album/?.jpg", ["../album/a.jpg"]),
        ("album/.hidden/*", [".hidden/e.jpg"]),
        ("album/[ab].*", ["a.jpg"]),
    ],
)
def test_images_are_found_by_name_folder_and_pattern(album, source, found):
    assert find_images(source) == [Path("album") / name for name in found]


def test_absolute_patterns_and_the_home_folder_work(album, monkeypatch):
    monkeypatch.setenv("HOME", str(album.parent))
    assert find_images(f"{album}/*.jpg") == [album / "[1].jpg", album / "a.jpg"]
    assert find_images("~/album/a.jpg") == [album / "a.jpg"]
    assert find_images("~/album/**/c.*") == [album / "trip" / "c.PNG"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "no image given; give a file, a folder or a pattern"),
        ("album/z.jpg", r"album/z\.jpg: no such file or folder; check the name"),
        ("album/*.gif", r"album/\*\.gif: no image found; image files end in \.bmp, \.gif"),
        ("album/b.*", "no image found"),
    ],
)
def test_where_no_image_is_found_it_is_told(album, source, words):
    with pytest.raises(DataError, match=words):
        find_images(source)


def test_an_empty_folder_has_no_images(tmp_path):
    with pytest.raises(DataError, match="no image found"):
        find_images(str(tmp_path))


def test_digits_are_a_folder_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path))
    splits = load_splits("digits")
    assert splits.classes == tuple("0123456789")
    assert not splits.mirror
    assert len(splits.train) + len(splits.val) + len(splits.test) == COUNT
    assert splits.notes == (
        "digits: UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0, doi.org/10.24432/C50P49",
    )
    (tmp_path / "digits" / "train" / "0" / splits.train[0].path.name).unlink()
    with pytest.raises(DataError, match="1796 pictures, where the built-in set has 1797; remove this folder and it is made anew"):
        load_splits("digits")
