import gc
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from inceptions.data import Sample, for_training
from inceptions.data.dataset import EpochOrder, ImageDataset
from inceptions.data.packed import PackedSamples, number_groups
from inceptions.data.stored import Stored


@dataclass(frozen=True, slots=True)
class Slide(Stored):
    box: str
    number: int

    @property
    def group(self) -> str:
        return self.box

    def read_bytes(self) -> bytes:
        return b""

    def __str__(self) -> str:
        return f"{self.box}/{self.number}"


MIXED = (Sample(Path("a/ä.png"), 3), Sample(Slide("x", 7), 0), Sample(Path(os.fsdecode(b"b/\xff.png")), 1), Sample(Path(), 2))


def test_samples_come_out_as_they_went_in():
    packed = PackedSamples(MIXED)
    assert tuple(packed) == MIXED
    assert (len(packed), packed[-1], tuple(packed[1:3]), packed.label(2)) == (4, MIXED[3], MIXED[1:3], 1)
    assert tuple(pickle.loads(pickle.dumps(packed))) == MIXED
    with pytest.raises(IndexError):
        packed[4]
    assert list(PackedSamples(())) == []


def test_a_data_set_holds_no_object_for_each_picture():
    """What the garbage collector counts and worker processes would copy."""
    samples = tuple(Sample(Path(f"folder/{number}.png"), number) for number in range(5000))
    gc.collect()
    before = len(gc.get_objects())
    dataset = ImageDataset(samples, for_training(8))
    gc.collect()
    assert len(gc.get_objects()) - before < 100
    assert len(pickle.dumps(dataset)) < 5000 * 45
    assert dataset.samples[4321] == samples[4321]


def test_groups_are_numbered_as_they_appear_and_files_have_none():
    assert number_groups(MIXED[:1]) is None
    assert number_groups([Sample(Slide(box, 0), 0) for box in "bab"]).tolist() == [0, 1, 0]


def test_groups_come_one_after_another_in_an_order_of_each_epoch():
    samples = [Sample(Slide("abcdef"[number % 6], number), 0) for number in range(60)]
    dataset, seen = ImageDataset(samples, for_training(8), seed=3), []
    for dataset.epoch in range(4):
        order = [i for asked in EpochOrder(dataset, batch_size=7, shuffle=True, start=0) for i in asked.indices]
        boxes = [samples[index].path.box for index in order]
        assert sorted(order) == list(range(60))
        assert [boxes[place] for place in range(0, 60, 10) for _ in range(10)] == boxes
        seen.append((tuple(boxes[::10]), tuple(index for index in order if index % 6 == 0)))
        rest = [i for asked in EpochOrder(dataset, batch_size=7, shuffle=True, start=2) for i in asked.indices]
        assert rest == order[14:]
    assert len({boxes for boxes, _ in seen}) > 2
    assert len({within for _, within in seen}) == 4
