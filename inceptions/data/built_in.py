"""The built-in sets: enters a name, leaves a folder of class folders in the cache, made on first use.

    digits          shipped with the package; see `digits`
    cifar10, imagenette, flowers102, oxford_pets, eurosat
                    downloaded and checked (MD5) by torchvision.datasets

What torchvision unpacked becomes `<cache>/<name>/[{train,val,test}/]<class>/<file>`: files are linked, not copied, where the disk can, and
the archives are removed. CIFAR-10's arrays, which come pickled and are opened after the check alone, become PNG files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from PIL import Image

from inceptions.data import digits
from inceptions.errors import DataError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, cannot_write, is_offline, whole_folder


@dataclass(frozen=True)
class BuiltIn:
    """A set that can be asked for by name.

    credit: who made it, and where it is from; told to the person.
    count: number of pictures in all parts.
    materialize: returns the folder, made if it isn't there.
    mirror: whether a mirror image is of the same class.
    """

    credit: str
    count: int
    materialize: Callable[[], Path]
    mirror: bool = True


class _Item(NamedTuple):
    """A picture on its way into the folder; `part` is "" where the set isn't divided, `content` a file or pixels (H, W, 3)."""

    part: str
    label: str
    file: str
    content: Any


_Read = Callable[[Path, bool], Iterable[_Item]]  # where torchvision keeps its files, and whether it may download


def check_count(folder: Path, count: int, needed: int) -> None:
    """Raise DataError when the folder holds another number of pictures than the set has."""
    if count != needed:
        raise DataError(f"{folder}: {count} pictures, where the built-in set has {needed}; remove this folder and it is made anew")


def _materialize(name: str, files: tuple[str, ...], read: _Read) -> Path:
    folder, downloads = cache_folder() / name, cache_folder() / "downloads" / "torchvision" / name
    if folder.is_dir():
        return folder
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(downloads.with_name(f".{name}.lock")):
            if not folder.is_dir():
                items = _fetch(name, files, read, downloads)
                with whole_folder(folder, replace=False) as unfinished:
                    _write(unfinished, items)
                shutil.rmtree(downloads, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def _fetch(name: str, files: tuple[str, ...], read: _Read, downloads: Path) -> list[_Item]:
    may_download = not is_offline() or all((downloads / file).is_file() for file in files)  # torchvision unpacks what it finds
    try:
        return list(read(downloads, may_download))
    except ImportError as error:
        raise DataError(f"{name}: {error}; pip install 'inceptions[data]'") from error
    except (OSError, RuntimeError, HTTPException) as error:  # RuntimeError is torchvision's, for a wrong MD5 among others
        first = f"{OFFLINE_VARIABLE} is set; unset it" if is_offline() else "try again with a connection"
        remedy = f"{first}, or put {', '.join(files)} in {downloads} by hand"
        raise DataError(f"{name}: can't be downloaded ({' '.join(str(error).split())}); {remedy}") from error


def _write(folder: Path, items: Iterable[_Item]) -> None:
    for item in items:
        place = folder / item.part / item.label.replace("/", "-") / item.file
        place.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(item.content, str | Path):
            Image.fromarray(item.content).save(place)
            continue
        try:
            os.link(item.content, place)
        except OSError:  # a disk without links
            shutil.copyfile(item.content, place)


def _read_cifar10(root: Path, download: bool) -> Iterator[_Item]:
    from torchvision.datasets import CIFAR10

    for part in ("train", "test"):
        found = CIFAR10(root, train=part == "train", download=download)
        for number, (pixels, label) in enumerate(zip(found.data, found.targets, strict=True)):
            yield _Item(part, found.classes[label], f"{number:05}.png", pixels)


def _read_files(root: Path, download: bool, *, of: str, parts: dict[str, str], files: str, labels: str | None = None) -> Iterator[_Item]:
    """Yield the files of torchvision's data set `of`: its splits by our parts, and its fields of files and labels, or of both in pairs."""
    from torchvision import datasets

    for part, split in parts.items():
        found = getattr(datasets, of)(root, download=download, **({"split": split} if split else {}))
        pairs = zip(getattr(found, files), getattr(found, labels), strict=True) if labels else getattr(found, files)
        for path, label in pairs:
            name = found.classes[label]
            yield _Item(part, name if isinstance(name, str) else name[0], Path(path).name, path)


def _from_torchvision(name: str, archives: tuple[str, ...], read: _Read | None = None, **fields: Any) -> Callable[[], Path]:
    return partial(_materialize, name, archives, read or partial(_read_files, **fields))


BUILT_IN: dict[str, BuiltIn] = {
    "digits": BuiltIn(digits.CREDIT, digits.COUNT, digits.materialize, mirror=False),
    "cifar10": BuiltIn(
        "cifar10: Learning Multiple Layers of Features from Tiny Images, A. Krizhevsky, 2009, www.cs.toronto.edu/~kriz/cifar.html",
        60_000,
        _from_torchvision("cifar10", ("cifar-10-python.tar.gz",), _read_cifar10),
    ),
    "imagenette": BuiltIn(
        "imagenette: ten classes of ImageNet, J. Howard, github.com/fastai/imagenette; its validation part is the test part here",
        13_394,
        # Scores are published on its val; ours, to choose by, comes from train.
        _from_torchvision("imagenette", ("imagenette2.tgz",), of="Imagenette", parts={"train": "train", "test": "val"}, files="_samples"),
    ),
    "flowers102": BuiltIn(
        "flowers102: Automated Flower Classification over a Large Number of Classes, M.-E. Nilsback and A. Zisserman, 2008",
        8_189,
        _from_torchvision(
            "flowers102",
            ("flowers-102/102flowers.tgz", "flowers-102/imagelabels.mat", "flowers-102/setid.mat"),
            of="Flowers102",
            parts={"train": "train", "val": "val", "test": "test"},
            files="_image_files",
            labels="_labels",
        ),
    ),
    "oxford_pets": BuiltIn(
        "oxford_pets: Cats and Dogs, O. Parkhi, A. Vedaldi, A. Zisserman and C. V. Jawahar, 2012, CC BY-SA 4.0",
        7_349,
        _from_torchvision(
            "oxford_pets",
            ("oxford-iiit-pet/images.tar.gz", "oxford-iiit-pet/annotations.tar.gz"),
            of="OxfordIIITPet",
            parts={"train": "trainval", "test": "test"},
            files="_images",
            labels="_labels",
        ),
    ),
    "eurosat": BuiltIn(
        "eurosat: EuroSAT, Sentinel-2 scenes in RGB, P. Helber, B. Bischke, A. Dengel and D. Borth, 2019, github.com/phelber/EuroSAT",
        27_000,
        _from_torchvision("eurosat", ("eurosat/EuroSAT.zip",), of="EuroSAT", parts={"": ""}, files="samples"),
    ),
}
