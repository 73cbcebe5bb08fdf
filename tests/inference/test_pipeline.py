"""From pictures to predictions with an engine that answers at once: order, pictures that can't be read, and memory that stays."""

import gc
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inceptions.errors import ImageError, UserError
from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.pipeline import iterate_predictions, read_batches
from inceptions.inference.sources import iterate_pictures
from inceptions.weights.card import read_card
from tests.tiny import CLASSES


class Brightness(Engine):
    """Answers with the mean of an image as its vector, and the class by it; several batches are on the way at a time."""

    name, precision, batch_size = "torch", "float32", 4
    most = 3

    def run(self, pixels):
        means = pixels.reshape(len(pixels), -1).mean(1, dtype=np.float32)
        return Answers(np.stack([means / 255, 1 - means / 255, np.full(len(pixels), -9, np.float32)], 1), means[:, None])

    def stream(self, batches):
        waiting = deque()
        for pixels in batches:
            waiting.append(self.run(pixels))
            if len(waiting) == self.most:
                yield waiting.popleft()
        yield from waiting


@pytest.fixture
def card(tiny):
    return read_card(tiny)


@pytest.fixture
def files(tmp_path):
    """Twenty pictures, each a little brighter."""
    for number in range(20):
        Image.new("L", (16, 16), 10 * number).save(tmp_path / f"{number:02}.png")
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_predictions_come_in_the_order_of_the_pictures(card, files, workers):
    engine = Brightness()
    batches = list(iterate_predictions(engine, card, iter(files), workers=workers))
    assert [len(batch) for batch in batches] == [4] * 5
    found = [item for batch in batches for item in batch]
    assert [item.path for item in found] == files
    assert [float(item.vector[0]) for item in found] == [10.0 * number for number in range(20)]
    assert all(list(item.probabilities) == sorted(item.probabilities, reverse=True) for item in found)
    assert (found[0].classes[0], found[19].classes[0]) == (CLASSES[1], CLASSES[0])


@pytest.mark.parametrize("broken", [(0,), (3, 4, 5, 6, 7), range(4, 12), range(16, 20), range(20)], ids=str)
def test_a_picture_that_cant_be_read_has_its_place_and_its_reason(card, files, broken):
    """Among them batches that have no other pictures: at the beginning, in a row, at the end, all."""
    for number in broken:
        files[number].write_bytes(b"no picture")
    found = [item for batch in iterate_predictions(Brightness(), card, files, on_error="skip") for item in batch]
    assert [item.path for item in found] == files
    assert [number for number, item in enumerate(found) if item.error] == list(broken)
    for number, item in enumerate(found):
        assert item.vector is None if item.error else item.vector[0] == 10 * number
        assert bool(item.classes) != bool(item.error)
        assert not item.error or item.error.startswith("no image")


def test_one_that_cant_be_read_is_an_error_where_that_is_asked_for(card, files):
    files[9].write_bytes(b"")
    found = []
    with pytest.raises(ImageError, match=r"09\.png"):
        for batch in iterate_predictions(Brightness(), card, files, on_error="fail"):
            found += batch
    assert [item.path for item in found] == files[: len(found)]


def test_classes_are_as_many_as_are_asked_for_and_there_are(card, files):
    for asked, given in ((1, 1), (2, 2), (9, 3)):
        (batch,) = iterate_predictions(Brightness(), card, files[:2], top_k=asked)
        assert [len(item.classes) for item in batch] == [given] * 2
    for name in ("top_k", "batch_size"):
        with pytest.raises(UserError, match=f"{name} is 0; it must be at least 1"):
            list(iterate_predictions(Brightness(), card, files, **{name: 0}))


def test_no_pictures_are_no_predictions(card):
    assert list(iterate_predictions(Brightness(), card, [])) == []


def test_no_more_than_a_few_batches_are_read_ahead_whatever_is_in_them(card, files):
    """Neither of pictures nor of what can't be read; the engine has three batches, and as many are read meanwhile."""
    for broken in (False, True):
        taken = []

        def pictures(places=taken, path=files[0].parent / "nothing.png" if broken else files[0]):
            for number in range(400):
                places.append(number)
                yield path

        for done, _ in enumerate(iterate_predictions(Brightness(), card, pictures(), on_error="skip")):
            assert len(taken) <= 4 * (done + 1 + 3 + 3 + 1)
        assert done == 99


def test_readers_end_with_whoever_reads(card, files):
    batches = read_batches(files, card.preprocess, batch_size=2)
    next(batches)
    batches.close()
    with pytest.raises(ImageError):
        list(read_batches([*files, Path("nothing.png")], card.preprocess, batch_size=2))


@pytest.mark.parametrize("count", [1_500, pytest.param(200_000, marks=pytest.mark.exhaustive)])
def test_memory_doesnt_grow_with_the_number_of_pictures(card, tmp_path, count):
    """Of each picture that is held there are several of Python's blocks. Each folder has 500 names, which are held while it is open."""
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "kept.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for number in range(count):
        folder = tmp_path / "all" / f"{number // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06}.png").symlink_to(tmp_path / ("broken.png" if number % 50 == 7 else "kept.png"))
    done, marks = 0, []
    pictures = iterate_pictures([str(tmp_path / "all")])
    for batch in iterate_predictions(Brightness(), card, pictures, on_error="skip", batch_size=50, workers=1):
        done += len(batch)
        if done % 500 == 250:  # in the middle of a folder
            gc.collect()
            marks.append(sys.getallocatedblocks())
    assert done == count
    assert marks[-1] - marks[1] < max(500, 0.05 * count), marks  # less than a block for each of the 500 pictures between two marks
