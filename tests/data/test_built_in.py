import hashlib
import io
import pickle
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from inceptions.data import built_in, load_splits, read_image
from inceptions.data.built_in import BUILT_IN
from inceptions.errors import DataError, UserError
from tests.data.test_folders import counts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def expect(monkeypatch, name: str, count: int) -> None:
    """Let the built-in set have as many pictures as the small one that stands in for it."""
    monkeypatch.setitem(BUILT_IN, name, replace(BUILT_IN[name], count=count))


def jpeg(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (level, 0, 0)).save(path, "JPEG")
    return path


def archive(path: Path, files: dict[str, bytes]) -> str:
    """Write a tar.gz and return its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def small_cifar10(cache, monkeypatch):
    """An archive of 40 + 10 pictures, laid where a download would be, whose checksums torchvision is told; returns the pixels."""
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8) for name, count in (("data_batch_1", 40), ("test_batch", 10))}
    files = {
        f"cifar-10-batches-py/{name}": pickle.dumps({"data": data.reshape(len(data), -1), "labels": [n % 2 for n in range(len(data))]})
        for name, data in pixels.items()
    }
    files["cifar-10-batches-py/batches.meta"] = pickle.dumps({"label_names": ["frog", "cat"]})
    place = cache / "downloads" / "torchvision" / "cifar10" / "cifar-10-python.tar.gz"
    sums = {name.rpartition("/")[2]: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", archive(place, files))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": sums["batches.meta"]})
    expect(monkeypatch, "cifar10", 50)
    return pixels


def test_cifar10_becomes_png_files_in_class_folders(small_cifar10, cache):
    splits = load_splits("cifar10")
    assert splits.classes == ("cat", "frog")
    assert counts(splits) == {"train": {"cat": 18, "frog": 18}, "val": {"cat": 2, "frog": 2}, "test": {"cat": 5, "frog": 5}}
    assert splits.notes[0].startswith("cifar10: Learning Multiple Layers of Features from Tiny Images")
    assert splits.mirror
    for sample in splits.test:
        expected = small_cifar10["test_batch"][int(sample.path.stem)].transpose(1, 2, 0)
        assert np.array_equal(np.asarray(read_image(sample.path)), expected)
        assert sample.path == cache / "cifar10" / "test" / sample.path.parent.name / sample.path.name


def test_what_was_downloaded_is_removed_and_what_was_made_is_used_again(small_cifar10, cache, monkeypatch):
    load_splits("cifar10")
    assert [path.name for path in (cache / "downloads" / "torchvision").iterdir() if path.is_dir()] == []
    monkeypatch.setattr(datasets, "CIFAR10", lambda *_args, **_options: pytest.fail("read again"))
    assert len(load_splits("cifar10").test) == 10


def test_an_archive_laid_down_by_hand_is_used_offline(small_cifar10, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    assert len(load_splits("cifar10").test) == 10


def test_pickles_that_fail_their_check_are_not_opened(small_cifar10, monkeypatch):
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", "0" * 32]])
    monkeypatch.setattr(pickle, "load", lambda *_args, **_options: pytest.fail("opened"))
    with pytest.raises(DataError, match=r"cifar10: can't be downloaded \(Dataset not found or corrupted"):
        load_splits("cifar10")


def test_nothing_unfinished_is_left(small_cifar10, cache, monkeypatch):
    def stop(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(built_in.Image.Image, "save", stop)
    with pytest.raises(UserError, match=r"cifar10 \(No space left on device\); set INCEPTIONS_CACHE to a folder that can"):
        load_splits("cifar10")
    assert [path.name for path in cache.iterdir()] == ["downloads"]


def test_a_set_that_is_not_whole_is_told(small_cifar10, cache):
    next(iter(load_splits("cifar10").test)).path.unlink()
    with pytest.raises(DataError, match="49 pictures, where the built-in set has 50; remove this folder and it is made anew"):
        load_splits("cifar10")


def test_imagenette_is_tested_on_its_validation_part(cache, monkeypatch):
    root = cache / "downloads" / "torchvision" / "imagenette" / "imagenette2"
    for wnid in datasets.Imagenette._WNID_TO_CLASS:
        for number in range(20):
            jpeg(root / "train" / wnid / f"{wnid}_{number}.JPEG")
        jpeg(root / "val" / wnid / f"ILSVRC2012_val_{wnid}.JPEG")
    monkeypatch.setattr(datasets.Imagenette, "_download", lambda self: None)
    expect(monkeypatch, "imagenette", 210)
    splits = load_splits("imagenette")
    assert "chain saw" in splits.classes
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [180, 20, 10]
    assert (cache / "imagenette" / "test" / "tench" / "ILSVRC2012_val_n01440764.JPEG").is_file()


def test_eurosat_has_no_parts_and_is_split_by_seed(cache, monkeypatch):
    root = cache / "downloads" / "torchvision" / "eurosat" / "eurosat" / "2750"
    for name in ("Forest", "River"):
        for number in range(20):
            jpeg(root / name / f"{name}_{number}.jpg")
    expect(monkeypatch, "eurosat", 40)
    assert counts(load_splits("eurosat")) == {part: Counter(Forest=n, River=n) for part, n in (("train", 16), ("val", 2), ("test", 2))}


def test_oxford_pets_parts_come_from_its_lists(cache, monkeypatch):
    root = cache / "downloads" / "torchvision" / "oxford_pets" / "oxford-iiit-pet"
    names = [f"{breed}_{number}" for breed in ("Abyssinian", "american_bulldog") for number in range(15)]
    for name in names:
        jpeg(root / "images" / f"{name}.jpg")
    lines = [f"{name} {1 + name.startswith('am')} 1 1" for name in names]
    (root / "annotations").mkdir()
    (root / "annotations" / "trainval.txt").write_text("\n".join(line for line in lines if int(line.split()[0].split("_")[-1]) < 10))
    (root / "annotations" / "test.txt").write_text("\n".join(line for line in lines if int(line.split()[0].split("_")[-1]) >= 10))
    monkeypatch.setattr(datasets.OxfordIIITPet, "_download", lambda self: None)
    expect(monkeypatch, "oxford_pets", 30)
    splits = load_splits("oxford_pets")
    assert splits.classes == ("Abyssinian", "American Bulldog")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [18, 2, 10]


def test_flowers102_has_its_three_parts(tmp_path, cache, monkeypatch):
    """A stand-in for torchvision's class, which needs scipy and a real .mat file."""

    def stand_in(_root, split, download):
        files = [jpeg(tmp_path / "jpg" / f"{split}_{number}.jpg") for number in range(4)]
        return SimpleNamespace(classes=["rose", "sword/lily"], _image_files=files, _labels=[0, 1, 0, 1])

    monkeypatch.setattr(datasets, "Flowers102", stand_in)
    expect(monkeypatch, "flowers102", 12)
    splits = load_splits("flowers102")
    assert splits.classes == ("rose", "sword-lily")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [4, 4, 4]


def test_flowers102_still_has_what_is_read_of_it():
    assert len(datasets.Flowers102.classes) == 102


@pytest.mark.parametrize(
    "error", [URLError("Name or service not known"), RuntimeError("File not found or corrupted."), TimeoutError("timed out")]
)
def test_without_a_connection_it_is_told_what_to_do(monkeypatch, cache, error):
    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr(datasets, "EuroSAT", fail)
    place = cache / "downloads" / "torchvision" / "eurosat"
    with pytest.raises(DataError) as told:
        load_splits("eurosat")
    assert str(told.value).endswith(f"; try again with a connection, or put eurosat/EuroSAT.zip in {place} by hand")
    assert str(told.value).startswith("eurosat: can't be downloaded (")


def test_offline_nothing_is_fetched(monkeypatch):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    with pytest.raises(
        DataError, match=r"imagenette: can't be downloaded \(Dataset not found.*INCEPTIONS_OFFLINE is set; unset it, or put"
    ):
        load_splits("imagenette")


def test_a_library_that_is_missing_is_told(monkeypatch):
    def fail(*_args, **_options):
        raise ModuleNotFoundError("No module named 'scipy'")

    monkeypatch.setattr(datasets, "Flowers102", fail)
    with pytest.raises(DataError, match=r"flowers102: No module named 'scipy'; pip install 'inceptions\[data\]'"):
        load_splits("flowers102")


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(DataError, match="did you mean the built-in set 'cifar10'"):
        load_splits("cifar-10")


def test_the_registry_imports_no_torch():
    assert sys.modules[built_in.__name__].__dict__.get("datasets") is None
