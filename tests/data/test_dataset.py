import itertools
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data import Augment, Preprocess, Sample, dataset, for_training, read_image
from inceptions.data.dataset import Batch, Example, ImageDataset, Unreadable, collate, image_loader, normalize, split_evenly
from inceptions.data.preprocess import CAFFE, IMAGENET_MEAN, IMAGENET_STD
from inceptions.errors import ImageError, UserError

COUNT = 11


@pytest.fixture
def samples(tmp_path):
    """Eleven noisy pictures of several sizes; the label is the number of the picture."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
        found.append(Sample(tmp_path / f"{number:02}.png", number))
    return tuple(found)


@pytest.fixture
def damaged(samples):
    """The same with two files, 3 and 4, that can't be read."""
    samples[3].path.write_bytes(samples[3].path.read_bytes()[:200])
    samples[4].path.write_bytes(b"")
    return samples


def load(dataset: ImageDataset, *, shuffle: bool = True, batch_size: int = 4, **options) -> list[Batch]:
    return list(image_loader(dataset, batch_size=batch_size, shuffle=shuffle, **options))


def order(batches: list[Batch]) -> list[int]:
    return [int(index) for batch in batches for index in batch.indices]


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(torch.equal(a.pixels, b.pixels) and torch.equal(a.indices, b.indices) and torch.equal(a.labels, b.labels) for a, b in pairs)


def test_an_item_is_what_reading_and_preprocessing_give(samples):
    """Training's checks and prediction see the very same numbers."""
    preprocess = Preprocess(16)
    item = ImageDataset(samples, preprocess)[5]
    assert isinstance(item, Example)
    assert (item.label, item.index, item.pixels.dtype, item.pixels.shape) == (5, 5, np.uint8, (16, 16, 3))
    images = load(ImageDataset(samples, preprocess), shuffle=False)[1].images()
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(images[1].numpy(), preprocess(read_image(samples[5].path)))


@pytest.mark.parametrize("preprocess", [CAFFE, Preprocess(16, mean=IMAGENET_MEAN, std=IMAGENET_STD), for_training(8, channels=1)])
def test_pixels_are_normalised_on_the_device_as_numpy_does_bit_for_bit(preprocess):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 9, preprocess.channels), dtype=np.uint8)
    found = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2), preprocess)
    assert np.array_equal(found.numpy(), preprocess.normalize_pixels(pixels.transpose(0, 3, 1, 2)))


def test_a_training_picture_is_augmented_and_then_normalised_as_in_prediction(samples):
    preprocess = Preprocess(16)
    whole = Augment(area=(1.0, 1.0), aspect=(0.5, 2.0), flip=False)
    square = Sample(samples[10].path, 10)  # 30 x 30: its whole area is one crop
    (batch,) = load(ImageDataset([square], preprocess, augment=whole))
    expected = preprocess.normalize(read_image(square.path).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(batch.images()[0].numpy(), expected)


def test_a_batch_has_the_shapes_and_types_that_it_says(samples):
    batches = load(ImageDataset(samples, for_training(28)), shuffle=False)
    assert [len(batch.labels) for batch in batches] == [4, 4, 3]
    assert tuple(batches[0].images().shape) == tuple(batches[0].pixels.shape) == (4, 3, 28, 28)
    assert (batches[0].images().dtype, batches[0].pixels.dtype) == (torch.float32, torch.uint8)
    assert batches[0].labels.dtype == batches[0].indices.dtype == torch.int64
    assert batches[1].labels.tolist() == [4, 5, 6, 7]
    assert batches[0].unreadable == ()


def test_one_channel_gives_one_plane(samples):
    assert tuple(load(ImageDataset(samples, for_training(28, channels=1)))[0].images().shape) == (4, 1, 28, 28)


def test_the_number_of_workers_changes_nothing(samples):
    dataset = ImageDataset(samples, for_training(16), augment=Augment(), seed=5)
    dataset.epoch = 2
    plain = load(dataset, workers=0)
    assert same(plain, load(dataset, workers=1))
    assert same(plain, load(dataset, workers=2))


def test_a_picture_is_varied_in_the_same_way_in_whatever_order_it_comes(samples):
    dataset = ImageDataset(samples, for_training(16), augment=Augment())
    alone = dataset[7].pixels
    shuffled = load(dataset)
    place = order(shuffled).index(7)
    assert np.array_equal(shuffled[place // 4].pixels[place % 4].permute(1, 2, 0), alone)


def test_variations_change_with_epoch_seed_and_picture(samples):
    def image(index: int = 0, *, seed: int = 0, epoch: int = 0) -> np.ndarray:
        dataset = ImageDataset([samples[0], samples[0]], for_training(16), augment=Augment(), seed=seed)
        dataset.epoch = epoch
        return dataset[index].pixels

    first = image()
    assert np.array_equal(first, image())
    for other in (image(1), image(seed=1), image(epoch=1)):
        assert not np.array_equal(first, other)


def test_pictures_take_turns_to_be_mirrored(samples):
    dataset = ImageDataset(samples * 20, for_training(16), augment=Augment(area=(1, 1), aspect=(1, 1), alternate=True))
    epochs = []
    for dataset.epoch in range(4):
        epochs.append(np.stack([dataset[index].pixels for index in range(len(dataset))]))
    assert all(np.array_equal(one, other[:, :, ::-1]) for one, other in itertools.pairwise(epochs))
    kinds = {place: {picture.tobytes() for picture in epochs[0][place::COUNT]} for place in range(COUNT)}
    assert all(len(pictures) == 2 for pictures in kinds.values())  # of each picture, some begin mirrored


def test_every_epoch_has_its_order_and_every_picture(samples):
    dataset = ImageDataset(samples, for_training(8))
    loader = image_loader(dataset, batch_size=4, shuffle=True)
    orders = []
    for dataset.epoch in (0, 1, 0):
        orders.append(order(list(loader)))
        assert sorted(orders[-1]) == list(range(COUNT))
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]
    assert order(load(ImageDataset(samples, for_training(8), seed=1))) != orders[0]
    assert order(load(dataset, shuffle=False)) == list(range(COUNT))


def test_the_epoch_reaches_worker_processes(samples):
    dataset = ImageDataset(samples, for_training(16), augment=Augment())
    loader = image_loader(dataset, batch_size=4, shuffle=False, workers=1)
    first = list(loader)
    dataset.epoch = 1
    assert not same(first, list(loader))


def test_processes_that_read_stay_for_all_epochs_and_know_the_size_of_each(samples):
    dataset = ImageDataset(samples, for_training(16), augment=Augment())
    loader, seen = image_loader(dataset, batch_size=4, shuffle=True, workers=1), set()
    for dataset.epoch, side in ((0, 8), (1, 16)):
        dataset.preprocess = for_training(side)
        loader.order.start = dataset.epoch
        batches = []
        for batch in loader:
            batches.append(batch)
            seen |= {process.pid for process in multiprocessing.active_children()}
        assert {tuple(batch.pixels.shape[1:]) for batch in batches} == {(3, side, side)}
        assert same(batches, load(dataset, start=dataset.epoch))
    assert len(seen) == 1


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_start_gives_exactly_the_batches_that_remain(samples, start):
    dataset = ImageDataset(samples, for_training(16), augment=Augment())
    dataset.epoch = 3
    loader = image_loader(dataset, batch_size=4, shuffle=True, start=start)
    assert len(loader) == 3 - start
    assert same(list(loader), load(dataset)[start:])


def test_even_batches_have_every_picture_of_an_epoch_once_and_nearly_as_many_each(samples):
    dataset = ImageDataset(samples, for_training(8))
    loader = image_loader(dataset, batch_size=4, shuffle=True, even=True)
    for dataset.epoch in range(3):
        batches = list(loader)
        assert [len(batch.labels) for batch in batches] == [3, 4, 4]
        assert sorted(order(batches)) == list(range(COUNT))
        assert same(list(image_loader(dataset, batch_size=4, shuffle=True, even=True, start=1)), batches[1:])


@pytest.mark.parametrize("batch_size", [2, 3, 32, 64, 1000])
def test_even_batches_are_no_larger_than_asked_nor_of_one_picture(batch_size):
    for count in range(2, 300):
        sizes = [end - first for first, end in itertools.pairwise([0, *split_evenly(count, batch_size)])]
        assert sum(sizes) == count
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2
        assert max(sizes) <= max(batch_size, 3)


def test_loading_leaves_torchs_random_numbers_alone(samples):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    load(ImageDataset(samples, for_training(8), augment=Augment()))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_picture_ends_the_pass_with_its_own_line(damaged, workers):
    with pytest.raises(ImageError) as error:
        load(ImageDataset(damaged, for_training(8)), shuffle=False, workers=workers)
    assert str(error.value).startswith(f"{damaged[3].path}: cut off or damaged (")
    assert "\n" not in str(error.value)
    assert type(error.value) is ImageError


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_pictures_are_left_out_and_named_and_none_takes_their_place(damaged, workers):
    batches = load(ImageDataset(damaged, for_training(8), on_error="skip"), shuffle=False, workers=workers)
    assert [batch.labels.tolist() for batch in batches] == [[0, 1, 2], [5, 6, 7], [8, 9, 10]]
    assert [len(batch.pixels) for batch in batches] == [3, 3, 3]
    assert batches[1].unreadable == (Unreadable(damaged[4].path, "an empty file (0 bytes); replace the file or leave it out"),)
    assert batches[0].unreadable[0].reason.startswith("cut off or damaged")


def test_unreadable_pictures_do_not_change_how_others_are_varied(samples):
    once, again = (ImageDataset(samples, for_training(8), augment=Augment(), on_error="skip") for _ in range(2))
    whole = load(once)
    samples[3].path.unlink()
    for before, after in zip(whole, load(again), strict=True):
        kept = before.indices != 3
        assert torch.equal(before.pixels[kept], after.pixels)


def test_a_batch_without_a_readable_picture_is_empty(damaged):
    dataset = ImageDataset(damaged[3:5], for_training(8), on_error="skip")
    (batch,) = load(dataset)
    assert tuple(batch.images().shape) == (0, 3, 8, 8)
    assert (len(batch.labels), batch.labels.dtype, len(batch.indices), len(batch.unreadable)) == (0, torch.int64, 0, 2)


def test_collate_keeps_the_order():
    items = [Example(np.full((2, 2, 1), index, np.uint8), index, 10 + index) for index in (2, 0)]
    batch = collate([items[0], Unreadable(None, "why"), items[1]], preprocess=for_training(2, channels=1))
    assert batch.pixels[:, 0, 0, 0].tolist() == [2, 0]
    assert (batch.labels.tolist(), batch.indices.tolist(), batch.unreadable) == ([2, 0], [12, 10], (Unreadable(None, "why"),))


def test_few_pictures_are_read_without_workers_and_many_with(samples, monkeypatch):
    import os

    def workers(count: int, cores: int) -> int:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        return image_loader(ImageDataset(samples[:1] * count, for_training(8)), batch_size=4, shuffle=True).num_workers

    assert [workers(10, 4), workers(2_000, 1), workers(2_000, 2), workers(2_000, 4), workers(2_000, 64)] == [0, 0, 1, 3, 8]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"start": -1}, {"workers": -1}])
def test_impossible_numbers_are_told(samples, options):
    with pytest.raises(UserError, match=f"{next(iter(options))}=.* at least"):
        load(ImageDataset(samples, for_training(8)), **options)


def test_workers_start_without_a_warning_and_end_when_the_pass_is_left_early(samples):
    code = f"""
import multiprocessing
from inceptions.data import Sample, for_training
from inceptions.data.dataset import ImageDataset, image_loader
from pathlib import Path
dataset = ImageDataset([Sample(Path({str(samples[0].path)!r}), 0)] * 50, for_training(8))
for batch in image_loader(dataset, batch_size=4, shuffle=True, workers=1):
    break
del batch
print(multiprocessing.active_children())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_small_pictures_are_read_once_and_large_ones_each_time(samples, monkeypatch):
    """Whatever is kept, and in whatever order it was read: the pictures are those of a data set that keeps nothing."""
    Image.new("RGB", (64, 65)).save(samples[7].path)  # one row too many to be kept
    Image.effect_noise((512, 512), 90).save(samples[8].path, "JPEG")  # is decoded at an eighth, and so 64 x 64, for some crops
    read, opened = dataset.read_image, []
    monkeypatch.setattr(dataset, "read_image", lambda path, **how: opened.append(path) or read(path, **how))
    one, fresh = (ImageDataset(samples, Preprocess(8), augment=Augment(area=(0.1, 1.0))) for _ in range(2))
    for epoch in range(9):
        one.epoch = fresh.epoch = epoch
        fresh._kept.clear()
        assert same(load(one), load(fresh))
    counts = [opened.count(sample.path) for sample in samples]
    assert counts == [10] * 7 + [18, 18] + [10] * 2  # by `fresh` in each epoch, and once by the other


def test_what_is_kept_has_a_limit(samples, monkeypatch):
    monkeypatch.setattr(dataset, "KEPT_BYTES", 30 * 20 * 3 + 30 * 21 * 3)
    first = ImageDataset(samples, Preprocess(8))
    assert len(load(first, shuffle=False)) == 3
    assert list(first._kept) == [0, 1]
