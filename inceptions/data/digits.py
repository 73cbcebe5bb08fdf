"""The built-in set: enters nothing, leaves a folder of 1,797 small pictures of handwritten digits, in train, val and test.

"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, CC BY 4.0: the test set of that collection, 8 x 8 pixels of 0 to 16. It is shipped as `digits.csv.gz`
(a row is 64 pixels and the label) and becomes PNG files in class folders on first use, so that everything else meets an ordinary folder.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from hashlib import blake2b
from importlib import resources
from pathlib import Path

from PIL import Image

from inceptions.files import cache_folder, whole_folder

CREDIT = "digits: UCI Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0, doi.org/10.24432/C50P49"
COUNT = 1797
SIDE_PX = 8

_TEST_SHARE, _VAL_SHARE = 0.2, 0.1  # of each digit's pictures; the rest is to learn from


def materialize() -> Path:
    """Return the folder `digits/{train,val,test}/<digit>/NNNN.png` in the cache, written if it isn't there; NNNN is the row in the table.

    Raises DataError when the cache can't be written.
    """
    folder = cache_folder() / "digits"
    if not folder.is_dir():
        with whole_folder(folder, replace=False) as unfinished:
            _write(unfinished)
    return folder


def _write(folder: Path) -> None:
    for label, rows in _read_table().items():
        for part, numbers in _divide(label, list(rows)).items():
            target = folder / part / label
            target.mkdir(parents=True)
            for number in numbers:
                Image.frombytes("L", (SIDE_PX, SIDE_PX), rows[number]).save(target / f"{number:04}.png")


def _read_table() -> dict[str, dict[int, bytes]]:
    """Return the grey levels of each picture, by label and by row: value v of 0..16 becomes v * 255 / 16, rounded."""
    pictures: dict[str, dict[int, bytes]] = defaultdict(dict)
    with resources.files("inceptions.data").joinpath("digits.csv.gz").open("rb") as packed, gzip.open(packed, "rt") as table:
        for number, row in enumerate(csv.reader(table)):
            pictures[row[-1]][number] = bytes((int(value) * 255 + 8) // 16 for value in row[:-1])
    return pictures


def _divide(label: str, rows: list[int]) -> dict[str, list[int]]:
    """Return the rows of one digit by part; in the order of a hash, so that the parts are the same for everybody and for ever."""
    order = sorted(rows, key=lambda row: blake2b(f"{label}/{row:04}".encode()).digest())
    test = round(_TEST_SHARE * len(rows))
    val = round(_VAL_SHARE * len(rows))
    return {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
