from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data import Augment, Sample, for_training
from inceptions.data.dataset import EpochOrder, ImageDataset, image_loader
from inceptions.data.sampling import draw_places

COUNTS = (100, 0, 7, 50)  # pictures of each class
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(COUNTS)), COUNTS))
COUNT = len(LABELS)


def draw(sampling, seed=0):
    return draw_places(LABELS, sampling, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [("each_once", COUNTS), ("balanced", (1, 0, 1, 1)), ("square_root", np.sqrt(COUNTS))],
)
def test_classes_have_their_shares_of_as_many_pictures_as_there_are(sampling, shares):
    wanted = COUNT * np.array(shares) / np.sum(shares)
    drawn = [np.bincount(LABELS[draw(sampling, seed) % COUNT], minlength=len(COUNTS)) for seed in range(300)]
    assert {int(counts.sum()) for counts in drawn} == {COUNT}
    assert np.abs(drawn - wanted).max() < 1
    assert np.abs(np.mean(drawn, axis=0) - wanted).max() < 0.1  # of numbers that are one of two: five standard errors


@pytest.mark.parametrize("sampling", ["balanced", "square_root"])
def test_no_picture_comes_again_before_all_of_its_class_have_come(sampling):
    places = draw(sampling)
    assert len(set(places.tolist())) == COUNT  # each time that a picture comes is a place of its own
    times = Counter((places % COUNT).tolist())
    for label in set(LABELS.tolist()):
        seen = [times[place] for place in np.flatnonzero(LABELS == label)]
        assert max(seen) - min(seen) <= 1
    for place, number in times.items():
        assert {place + time * COUNT for time in range(number)} <= set(places.tolist())


def test_other_pictures_of_large_classes_come_in_other_epochs():
    first, second = (set((draw("balanced", seed) % COUNT).tolist()) for seed in (0, 1))
    assert first != second
    assert len(first | second) > len(first) + 10


@pytest.fixture
def dataset(tmp_path):
    """Pictures of noise of three classes, 24, 4 and 2, of which an epoch has ten each."""
    rng, samples = np.random.default_rng(0), []
    for number, label in enumerate([0] * 24 + [1] * 4 + [2] * 2):
        path = tmp_path / f"{number:02}.png"
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        samples.append(Sample(path, label))
    augment = Augment(policy="randaugment", erasing=0.5, alternate=True)
    return ImageDataset(samples, for_training(16), augment=augment, sampling="balanced", seed=3)


def load(dataset, **options):
    return list(image_loader(dataset, batch_size=7, shuffle=True, even=True, **options))


def same(first, second):
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a.pixels, b.pixels) and torch.equal(a.indices, b.indices) and torch.equal(a.labels, b.labels) for a, b in pairs)


def test_an_epoch_is_balanced_the_same_for_any_readers_and_goes_on_where_it_was(dataset):
    dataset.epoch = 2
    plain = load(dataset, workers=0)
    labels = torch.cat([batch.labels for batch in plain])
    assert torch.bincount(labels).tolist() == [10, 10, 10]
    assert torch.equal(labels, torch.tensor([dataset.samples.label(int(index)) for batch in plain for index in batch.indices]))
    assert same(plain, load(dataset, workers=2))
    assert same(plain[2:], load(dataset, workers=0, start=2))
    shares = [load(dataset, workers=0, part=(rank, 2)) for rank in (0, 1)]
    for whole, *parts in zip(plain, *shares, strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part.pixels, whole.pixels[rank::2]) and torch.equal(part.indices, whole.indices[rank::2])
    dataset.epoch = 3
    assert not torch.equal(labels, torch.cat([batch.labels for batch in load(dataset, workers=0)]))


def test_a_picture_is_varied_anew_each_time_that_an_epoch_has_it(dataset):
    pictures = {}
    for batch in load(dataset, workers=0):
        for index, pixels in zip(batch.indices.tolist(), batch.pixels, strict=True):
            pictures.setdefault(index, []).append(pixels.numpy().tobytes())
    assert [len(pictures[index]) for index in (28, 29)] == [5, 5]
    assert all(len(set(pictures[index])) == 5 for index in (28, 29))


def test_a_picture_that_comes_again_takes_the_next_turn_to_be_mirrored(dataset):
    dataset.augment = replace(dataset.augment, area=(1, 1), aspect=(1, 1), policy="none", erasing=0.0)
    found = [pixels for batch in load(dataset, workers=0) for index, pixels in zip(batch.indices, batch.pixels, strict=True) if index == 29]
    kinds = Counter(pixels.numpy().tobytes() for pixels in found)
    assert sorted(kinds.values()) == [2, 3]
    assert torch.equal(found[0].flip(-1), next(pixels for pixels in found if not torch.equal(pixels, found[0])))


def test_a_balanced_epoch_of_shards_is_in_a_few_of_them_at_a_time(dataset):
    dataset.groups, dataset.interleaved = np.arange(30) % 6, 2
    order = [place for asked in EpochOrder(dataset, batch_size=7, shuffle=True, start=0) for place in asked.indices]
    assert torch.bincount(torch.tensor([dataset.samples.label(place % 30) for place in order])).tolist() == [10, 10, 10]
    groups = [dataset.groups[place % 30] for place in order]
    spans = [len(groups) - groups[::-1].index(group) - groups.index(group) for group in set(groups)]
    assert max(spans) < 20  # of 30 in all, where two of six shards at a time are 10


def test_a_data_set_ends_after_its_last_picture(dataset):
    assert [item.index for item in dataset] == list(range(30))
    assert np.array_equal(dataset[-1].pixels, dataset[29].pixels)


def test_a_pass_that_is_not_shuffled_has_every_picture_once(dataset):
    assert [int(i) for batch in image_loader(dataset, batch_size=7, shuffle=False, workers=0) for i in batch.indices] == list(range(30))
