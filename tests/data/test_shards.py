import errno
import functools
import http.server
import io
import itertools
import json
import os
import pickle
import shutil
import tarfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data import Augment, for_training, load_splits, read_image, remote, transfer
from inceptions.data.dataset import EpochOrder, ImageDataset, image_loader, interleave
from inceptions.data.shards import Member, find_shards
from inceptions.errors import DataError, ImageError


def encode(level: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (10, 8), (level, 0, 255 - level)).save(out, kind)
    return out.getvalue()


def write_shard(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def fill_shards(folder: Path, count: int, each: int = 6) -> str:
    """Shards of pictures whose red level is their number, in two classes, and the pattern of them."""
    folder.mkdir(exist_ok=True)
    for shard in range(count):
        members = []
        for place in range(each):
            number = shard * each + place
            members += [(f"a/{number:04}.png", encode(number)), (f"a/{number:04}.cls", str(number % 2).encode())]
        write_shard(folder / f"s-{shard:02}.tar", members)
    return f"{folder}/s-{{00..{count - 1:02}}}.tar"


def level(sample) -> int:
    return read_image(sample.path).getpixel((0, 0))[0]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served from this machine, with the count of what was asked for, and an empty cache.

    An address that ends in ?breaks=2 breaks off twice.
    """
    folder, asked = tmp_path / "served", Counter()
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked[self.path.lstrip("/")] += 1
            breaks = int(self.path.partition("?breaks=")[2] or 0)
            if asked[self.path.lstrip("/")] > breaks:
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *_):
            pass

    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "BACKOFF_S", 0.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.05,))
        thread.start()
        yield folder, f"http://127.0.0.1:{found.server_port}", asked
        found.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{x,y}/{0..1}.tar", ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]),
        ("{0..1}-{b,}.tar", ["0-b.tar", "0-.tar", "1-b.tar", "1-.tar"]),
    ],
)
def test_braces_hold_ranges_and_words(pattern, names):
    assert find_shards(f"https://host/{pattern}") == [f"https://host/{name}" for name in names]


def test_every_picture_is_found_with_its_label(tmp_path):
    splits = load_splits(fill_shards(tmp_path / "s", 4))
    assert splits.classes == ("0", "1")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [20, 2, 2]
    everything = [*splits.train, *splits.val, *splits.test]
    assert sorted(level(sample) for sample in everything) == list(range(24))
    assert all(level(sample) % 2 == sample.label for sample in everything)
    assert splits.notes == ("no val and no test part: of each class 10% set aside for val and as much for test, by seed 0",)
    assert load_splits(f"{tmp_path}/s/s-*.tar") == splits


def test_ten_shards_are_split_as_a_whole(tmp_path):
    pattern = fill_shards(tmp_path / "s", 11)
    splits = load_splits(pattern)
    shards = [{sample.path.shard for sample in part} for part in (splits.train, splits.val, splits.test)]
    assert [len(found) for found in shards] == [9, 1, 1]
    assert len(set.union(*shards)) == 11
    assert splits.notes[0] == "of 11 shards 1 set aside for val and 1 for test, by seed 0"
    assert len({load_splits(pattern, seed=seed).test[0].path.shard for seed in range(6)}) > 1


def test_kinds_of_pictures_and_labels(tmp_path):
    members = [
        ("./one.jpg", encode(1, "JPEG")),
        ("./one.txt", b"cat\n"),
        ("two.WEBP", encode(2, "WEBP")),
        ("two.json", json.dumps({"label": "dog", "width": 10}).encode()),
        ("d.v1/three.jpeg", encode(3, "JPEG")),  # a dot in a folder's name
        ("d.v1/three.cls", b"cat"),
        ("d.v1/three.txt", b"a caption"),
        ("d.v1/three.json", b'{"text": "no label"}'),
        ("four.seg.png", encode(4)),  # no picture by WebDataset's rule, but a mask
        ("readme", b""),
        ("five.png", encode(5)),
        ("five.json", b'{"label": "7"}'),
        ("six.png", encode(6)),
        ("six.json", b'{"label": 0}'),
    ]
    splits = load_splits(str(write_shard(tmp_path / "a.tar", members)))
    found = {sample.path.name: splits.classes[sample.label] for part in (splits.train, splits.val) for sample in part}
    assert found == {"./one.jpg": "cat", "two.WEBP": "dog", "d.v1/three.jpeg": "cat", "five.png": "7", "six.png": "0"}


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("null", "1 of 1 pictures have no label: a.png"),
        ("[1, 2]", r"the label in a.json is \[1, 2\]; it must be text or a whole number"),
        ("true", "the label in a.json is true"),
        ("0.5", "the label in a.json is 0.5"),
        (r'"d\ud83d"', "surrogates not allowed"),
    ],
)
def test_labels_that_are_none_are_told(tmp_path, label, said):
    shard = write_shard(tmp_path / "a.tar", [("a.png", encode(1)), ("a.json", f'{{"label": {label}}}'.encode())])
    with pytest.raises(DataError, match=said):
        load_splits(str(shard))


def test_a_member_is_a_name_for_people_and_travels_lightly(tmp_path):
    member = load_splits(fill_shards(tmp_path / "s", 1, each=60)).train[0].path
    assert str(member) == f"{tmp_path}/s/s-00.tar/{member.name}"
    assert pickle.loads(pickle.dumps(member)) == member
    assert hash(member) == hash(pickle.loads(pickle.dumps(member)))
    assert len(pickle.dumps(member)) < 400
    assert member.group == ""


def test_pictures_in_shards_load_as_files_do_in_any_order_and_with_workers(tmp_path):
    splits = load_splits(fill_shards(tmp_path / "s", 2, each=30))
    files = []
    for number, sample in enumerate(splits.train):
        (tmp_path / f"{number}.png").write_bytes(sample.path.read_bytes())
        files.append(sample._replace(path=tmp_path / f"{number}.png"))

    def load(samples, **options):
        dataset = ImageDataset(samples, for_training(8), augment=Augment(), seed=2)
        return list(image_loader(dataset, batch_size=7, shuffle=True, **options))

    plain = load(files)
    for other in (load(splits.train), load(splits.train, workers=2)):
        for first, second in zip(plain, other, strict=True):
            assert np.array_equal(first.pixels, second.pixels)
            assert first.indices.tolist() == second.indices.tolist()
    for first, second in zip(plain[3:], load(splits.train, start=3), strict=True):
        assert first.indices.tolist() == second.indices.tolist()


def test_a_damaged_picture_in_a_shard_is_told_by_its_name(tmp_path):
    members = [(f"{n}.png", encode(n)[: 40 if n == 3 else None]) for n in range(4)] + [(f"{n}.cls", str(n % 2).encode()) for n in range(4)]
    shard = write_shard(tmp_path / "a.tar", members)
    splits = load_splits(str(shard))
    bad = next(sample for part in (splits.train, splits.val, splits.test) for sample in part if sample.path.name == "3.png")
    with pytest.raises(ImageError, match=r"a\.tar/3\.png: (cut off or damaged|no image)"):
        read_image(bad.path)
    with pytest.raises(ImageError, match=r"a\.tar/x\.png: can't be read \(the shard ends within it, after"):
        read_image(Member(str(shard), "x.png", shard.stat().st_size - 10, 50))
    with pytest.raises(ImageError, match=r"a\.tar/x\.png: an empty file \(0 bytes\)"):
        read_image(Member(str(shard), "x.png", 0, 0))
    with pytest.raises(ImageError, match=r"b\.tar/x\.png: can't be read \(No such file"):
        read_image(Member(f"{tmp_path}/b.tar", "x.png", 0, 5))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.png", b"x"), ("b.png", b"x"), ("b.cls", b"1")], r"1 of 2 pictures have no label: a\.png; put a \.cls, \.txt or \.json"),
        ([("a.png", b"x"), ("a.cls", b"\xff")], "no plain tar file, or a damaged one"),
        ([("a.png", b"x"), ("a.json", b"{")], "no plain tar file, or a damaged one"),
        ([("a.cls", b"1")], "no pictures to train on"),
        ([("a.png", b"x"), ("a.cls", b"1")], "one class only"),
    ],
)
def test_shards_that_cannot_be_used_are_told(tmp_path, members, words):
    write_shard(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=words):
        load_splits(str(tmp_path / "a.tar"))


def test_shards_that_are_missing_packed_or_cut_off_are_told(tmp_path):
    pattern = fill_shards(tmp_path / "s", 2)
    with pytest.raises(DataError, match=r"1 of 3 shards aren't there: .*s-02\.tar; check the pattern"):
        load_splits(pattern.replace("01", "02"))
    with pytest.raises(DataError, match="no such shards; check the pattern"):
        load_splits(f"{tmp_path}/none-*.tar")
    write_shard(tmp_path / "a.tar", [("a.png", encode(1))], mode="w:gz")
    with pytest.raises(DataError, match=r"no plain tar file, or a damaged one .*; write it anew, uncompressed"):
        load_splits(str(tmp_path / "a.tar"))
    whole = (tmp_path / "s" / "s-00.tar").read_bytes()
    (tmp_path / "s" / "s-00.tar").write_bytes(whole[:700])
    with pytest.raises(DataError, match=r"s-00\.tar: no plain tar file, or a damaged one"):
        load_splits(pattern)


def test_shards_behind_a_url_are_the_same_pictures(server):
    folder, address, asked = server
    local = load_splits(fill_shards(folder, 3))
    found = load_splits(f"{address}/s-{{00..02}}.tar")
    assert [level(sample) for sample in found.train] == [level(sample) for sample in local.train]
    assert [sample.label for sample in found.test] == [sample.label for sample in local.test]
    assert set(asked.values()) == {1}
    assert load_splits(f"{address}/s-{{00..02}}.tar") == found
    assert set(asked.values()) == {1}


def test_an_epoch_goes_shard_by_shard_and_fetches_each_once(server, monkeypatch):
    folder, address, asked = server
    fill_shards(folder, 4, each=10)
    monkeypatch.setenv("INCEPTIONS_SHARD_CACHE_GB", "0")  # one shard at a time
    splits = load_splits(f"{address}/s-{{00..03}}.tar")
    assert splits.interleaved == 1
    dataset = ImageDataset(splits.train, for_training(8), seed=1, interleaved=splits.interleaved)
    orders = []
    for dataset.epoch in (0, 1):
        asked.clear()
        loader = image_loader(dataset, batch_size=5, shuffle=True)
        orders.append([int(index) for batch in loader for index in batch.indices])
        shards = [splits.train[index].path.shard for index in orders[-1]]
        changes = sum(first != second for first, second in itertools.pairwise(shards))
        assert changes == 3
        assert sum(asked.values()) <= 4
        assert sorted(orders[-1]) == list(range(len(splits.train)))
        assert orders[-1] != sorted(orders[-1])
    assert orders[0] != orders[1]
    order = EpochOrder(dataset, batch_size=5, shuffle=True, start=3)
    assert [index for asked in order for index in asked.indices] == orders[1][15:]


def fill_sorted_shards(folder: Path, count: int, *, classes: int, each: int = 30) -> None:
    """Shards of pictures of one class each, and as many of every class."""
    for shard in range(count):
        members = []
        for place in range(each):
            members += [(f"{place:02}.png", encode(shard)), (f"{place:02}.cls", str(shard * classes // count).encode())]
        write_shard(folder / f"s-{shard:02}.tar", members)


def count_classes(splits, *, batch_size: int) -> list[int]:
    """How many classes there are in each batch of an epoch."""
    dataset = ImageDataset(splits.train, for_training(8), interleaved=splits.interleaved)
    order = EpochOrder(dataset, batch_size=batch_size, shuffle=True, start=0)
    return [len({splits.train[index].label for index in asked.indices}) for asked in order]


def test_shards_that_are_sorted_by_class_are_mixed_as_far_as_the_cache_holds_them(server, monkeypatch):
    folder, address, _ = server
    fill_sorted_shards(folder, 12, classes=6)
    pattern, size = f"{address}/s-{{00..11}}.tar", (folder / "s-00.tar").stat().st_size
    whole = load_splits(pattern)
    assert whole.interleaved == 12
    assert min(count_classes(whole, batch_size=24)) >= 4
    monkeypatch.setenv("INCEPTIONS_SHARD_CACHE_GB", str(8 * size / 1e9))
    some = load_splits(pattern)
    assert 6 <= some.interleaved < 8  # three quarters of the cache; labels behind the last picture of a shard are not counted
    assert min(count_classes(some, batch_size=24)) >= 2
    assert not any("sorted by class" in note for note in (*whole.notes, *some.notes))


def test_shards_that_are_sorted_and_that_the_cache_cannot_mix_are_told(server, monkeypatch):
    folder, address, _ = server
    fill_sorted_shards(folder, 9, classes=9)
    monkeypatch.setenv("INCEPTIONS_SHARD_CACHE_GB", "0")
    note = next(note for note in load_splits(f"{address}/s-{{00..08}}.tar").notes if "sorted by class" in note)
    assert note.startswith("the shards are sorted by class, and an epoch mixes 1 of 9 at a time, so that batches will be of few classes; ")
    assert "set INCEPTIONS_SHARD_CACHE_GB to 1 or more, which holds all of them" in note
    fill_shards(folder / "fine", 9)
    assert not any("sorted" in note for note in load_splits(f"{address}/fine/s-{{00..08}}.tar").notes)


def test_sorted_shards_are_split_picture_by_picture_so_that_every_part_has_every_class(tmp_path):
    fill_sorted_shards(tmp_path, 20, classes=20, each=10)
    splits = load_splits(f"{tmp_path}/s-*.tar")
    assert [len({sample.label for sample in part}) for part in (splits.train, splits.val, splits.test)] == [20, 20, 20]


def test_an_interleaved_epoch_is_in_a_few_shards_at_a_time_and_comes_back_to_none():
    groups = torch.arange(40).repeat_interleave(50)
    orders = [interleave(groups, 8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])
    assert sorted(orders[0].tolist()) == list(range(2000))
    visited = groups[orders[0]].tolist()
    held, fetched = [], 0
    for group in visited:  # what a cache of ten shards would fetch
        fetched += group not in held
        held = [*(other for other in held if other != group), group][-10:]
    assert fetched == 40
    assert min(len(set(visited[start : start + 64])) for start in range(0, 2000 - 64)) >= 4


def test_the_cache_keeps_what_was_used_last(server, monkeypatch):
    folder, address, asked = server
    fill_shards(folder, 3)
    size = (folder / "s-00.tar").stat().st_size
    monkeypatch.setenv("INCEPTIONS_SHARD_CACHE_GB", str(2.5 * size / 1e9))
    urls = [f"{address}/s-{number:02}.tar" for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):  # 1 goes for 2, for 0 was used since
        remote.fetch_shard(urls[number]).close()
    assert asked == {"s-00.tar": 1, "s-01.tar": 2, "s-02.tar": 1}
    assert len(list((remote.cache_folder() / "shards").glob("*.tar"))) == 2


def test_a_shard_that_is_written_anew_is_not_read_with_the_labels_of_the_old_one(server):
    folder, address, _ = server
    fill_shards(folder, 1)
    sample = load_splits(f"{address}/s-00.tar").train[0]
    place = next((remote.cache_folder() / "shards").glob("*.tar"))
    place.unlink()
    assert level(sample) == int(sample.path.name[2:6])  # the same file comes again
    place.unlink()
    fill_shards(folder, 1, each=7)
    for _ in range(2):
        with pytest.raises(DataError, match=r"s-00\.tar: the file there is another than the one whose pictures.*delete .*shards$"):
            level(sample)
    shutil.rmtree(place.parent)
    new = load_splits(f"{address}/s-00.tar")
    assert sum(map(len, new.parts.values())) == 7
    assert all(level(sample) == int(sample.path.name[2:6]) for part in new.parts.values() for sample in part)


def test_an_index_of_before_is_made_anew(server):
    folder, address, _ = server
    fill_shards(folder, 1)
    first = load_splits(f"{address}/s-00.tar")
    written = next((remote.cache_folder() / "shards").glob("*.json"))
    written.write_text("[]")  # without the digest of the file that it is of
    assert load_splits(f"{address}/s-00.tar").train == first.train
    assert "digest" in json.loads(written.read_text())


def test_a_server_that_gives_no_reason_is_told_by_its_number(tmp_path, monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(b"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n")

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.handle_request).start()
        with pytest.raises(transfer.TransferError, match=r"^404$"):
            transfer.transfer(f"http://127.0.0.1:{found.server_port}/a", tmp_path / "a")


def test_what_goes_wrong_on_the_net_is_told_and_no_fault_of_the_picture(server, monkeypatch):
    folder, address, _ = server
    fill_shards(folder, 1)
    splits = load_splits(f"{address}/s-00.tar")
    with pytest.raises(DataError, match=r"s-09\.tar: can't be fetched \(404 File not found\); check the address"):
        load_splits(f"{address}/s-09.tar")
    for path in (remote.cache_folder() / "shards").glob("*.tar"):
        path.unlink()
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    dataset = ImageDataset(splits.train, for_training(8), on_error="skip")
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"s-00\.tar: not in the cache, and INCEPTIONS_OFFLINE is set; unset it$"):
            list(image_loader(dataset, batch_size=2, shuffle=False, workers=workers))
    monkeypatch.delenv("INCEPTIONS_OFFLINE")
    monkeypatch.setenv("INCEPTIONS_SHARD_CACHE_GB", "much")
    with pytest.raises(DataError, match="INCEPTIONS_SHARD_CACHE_GB is 'much'; it must be a number of gigabytes, such as 20"):
        dataset[0]


def test_a_full_disk_is_no_fault_of_the_picture(server, monkeypatch):
    folder, address, _ = server
    fill_shards(folder, 1)
    splits = load_splits(f"{address}/s-00.tar")
    for path in (remote.cache_folder() / "shards").glob("*.tar"):
        path.unlink()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(remote, "transfer", full)
    dataset = ImageDataset(splits.train, for_training(8), on_error="skip")
    with pytest.raises(DataError, match=r"can't write .*\.tar \(No space left on device\); set INCEPTIONS_CACHE"):
        dataset[0]


def test_what_has_come_of_another_version_goes_before_the_name_of_the_new_one(tmp_path, monkeypatch):
    """Killed between the two, the next call would go on from bytes of the old version."""
    path, version = tmp_path / "a.part", tmp_path / "a.part.etag"
    path.write_bytes(b"old")
    note = transfer._note_version

    def killed(place, response):
        note(place, response)
        raise KeyboardInterrupt

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("ETag", '"new"')
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"new")

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "_note_version", killed)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.handle_request).start()
        with pytest.raises(KeyboardInterrupt):
            transfer.transfer(f"http://127.0.0.1:{found.server_port}/a", path)
    assert (version.read_text(), path.exists()) == ('"new"', False)


def test_a_transfer_that_breaks_off_is_tried_again(server):
    folder, address, asked = server
    fill_shards(folder, 1)
    with remote.fetch_shard(f"{address}/s-00.tar?breaks=3") as file:
        assert file.read() == (folder / "s-00.tar").read_bytes()
    with pytest.raises(
        DataError, match=r"can't be fetched \(the connection was cut after 4 of 1,000 bytes; 4 attempts\); check the address"
    ):
        remote.fetch_shard(f"{address}/s-00.tar?breaks=4")
    assert set(asked.values()) == {4}
    assert not list((remote.cache_folder() / "shards").glob("*.part"))
