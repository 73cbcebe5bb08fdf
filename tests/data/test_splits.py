"""Images are known again: by their names, classes and given parts, wherever they lie and whatever the seed that divides them."""

import os
import shutil
import tarfile

import pytest

from inceptions.data.folders import load_splits, locate_source
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report")


@pytest.fixture
def photos(tmp_path):
    return paint(tmp_path / "photos", each=12, size=(4, 4))


def test_the_fingerprint_is_of_the_images_and_not_of_the_seed_or_the_place(photos, tmp_path, monkeypatch):
    first = load_splits(photos)
    assert load_splits(photos, seed=7).fingerprint == first.fingerprint
    assert load_splits(photos, seed=7).train != first.train
    assert load_splits(shutil.copytree(photos, tmp_path / "a" / "copy")).fingerprint == first.fingerprint
    monkeypatch.chdir(tmp_path)
    assert load_splits("photos").fingerprint == first.fingerprint


@pytest.mark.parametrize("change", ["one more", "one less", "another name", "another class"])
def test_other_images_have_another_fingerprint(photos, change):
    first, image = load_splits(photos).fingerprint, photos / "blue" / "000.png"
    match change:
        case "one more":
            shutil.copy(image, photos / "blue" / "new.png")
        case "one less":
            image.unlink()
        case "another name":
            image.rename(photos / "blue" / "new.png")
        case "another class":
            image.rename(photos / "green" / "new.png")
    assert load_splits(photos).fingerprint != first


def test_parts_that_are_given_are_a_part_of_the_fingerprint(photos, tmp_path):
    table = tmp_path / "list.csv"
    found = set()
    for part in ("train", "test", "val"):
        rows = [f"{path},{path.parent.name},{part if path.stem == '000' else 'train'}" for path in sorted(photos.glob("*/*.png"))]
        table.write_text(os.linesep.join(["path,label,split", *rows]))
        found.add(load_splits(table).fingerprint)
    assert len(found) == 3


def test_a_record_comes_back_as_it_was(photos):
    splits = load_splits(photos, seed=2)
    record = splits.record("photos")
    assert type(record).from_dict(record.to_dict()) == record
    assert (record.seed, record.images) == (2, {"train": 30, "val": 3, "test": 3})


@pytest.fixture
def shards(tmp_path):
    """Ten shards s-0.tar to s-9.tar of three pictures each."""
    paint(tmp_path / "images", each=10, size=(4, 4))
    for number in range(10):
        with tarfile.open(tmp_path / f"s-{number}.tar", "w") as tar:
            for path in sorted((tmp_path / "images").glob(f"*/00{number}.png")):
                tar.add(path, f"{path.parent.name}-{number}.png")
                label = path.with_suffix(".cls")
                label.write_text(path.parent.name)
                tar.add(label, f"{path.parent.name}-{number}.cls")
    return tmp_path


def test_shards_that_are_set_aside_are_said_to_be(shards):
    """Of ten shards or more whole ones are; `evaluate` took the parts for given ones."""
    splits = load_splits(str(shards / "s-{0..9}.tar"))
    assert splits.set_aside == ("val", "test")
    assert load_splits(str(shards / "s-{0..9}.tar"), seed=3).fingerprint == splits.fingerprint


@pytest.mark.parametrize("pattern", ["s-{0..9}.tar", "./s-{0..9}.tar", "s-*.tar", "s-0.tar", "../{here}/s-{{0..9}}.tar"])
def test_shards_by_a_relative_pattern_are_the_same_from_every_folder(pattern, shards, monkeypatch):
    monkeypatch.chdir(shards)
    pattern = pattern.format(here=shards.name) if "here" in pattern else pattern
    here, place = load_splits(pattern), locate_source(pattern)
    monkeypatch.chdir("/")
    assert load_splits(place).fingerprint == here.fingerprint
