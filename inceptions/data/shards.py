"""Pictures in WebDataset's tar shards: enters a pattern of paths or URLs, leaves samples in three parts.

    shards/train-{000..099}.tar        braces hold a range, or words with commas between; `*` stands for anything on this disk
    https://host/train-{000..099}.tar  for data larger than a disk: `remote` keeps a part of them

In a shard, files of one name before the first dot belong together: a picture (.jpg, .jpeg, .png, .webp) and its label: .cls or .txt hold
it, .json has it as "label". A label is a number or the name of a class.

The headers are read once, and of each picture its place is kept. So a sample is a sample as in a folder: any order, and a run that goes on
within an epoch, work as for files. Shards behind a URL are fetched about once an epoch: it takes them in an order of its own, and mixes the
pictures of as many as the cache holds; of all, where it holds all. A note says so where that isn't enough, as shards are sorted by class.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from glob import glob
from math import ceil, exp, lgamma
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from inceptions.data.remote import LIMIT_VARIABLE, fetch_shard, is_remote, read_limit, recall_index
from inceptions.data.splits import TEST_SHARE, VAL_SHARE, Labelled, Splits, hash_key, list_names, sort_names, split_labelled
from inceptions.data.stored import Stored
from inceptions.errors import DataError
from inceptions.files import expand_home

PICTURES = frozenset(("jpg", "jpeg", "png", "webp"))
LABELS = ("cls", "txt", "json")  # the first that is there counts
SPLIT_BY_SHARD = 10  # so many shards or more are split as a whole

_LABEL_BYTES = 1 << 20
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True, slots=True)
class Member(Stored):
    """A picture in a shard, a path or a URL: the name it has there, and where its bytes are."""

    shard: str
    name: str
    offset: int
    size: int

    @property
    def group(self) -> str:
        """The shard, where it is fetched as a whole."""
        return self.shard if is_remote(self.shard) else ""

    def read_bytes(self) -> bytes:
        """Return the picture, whose shard is fetched if it has to be."""
        with fetch_shard(self.shard) if is_remote(self.shard) else Path(self.shard).open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"the shard ends within it, after {len(data)} of {self.size} bytes")
        return data

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


_Shards = dict[str, list[Labelled]]


class Entry(NamedTuple):
    """What the index of a shard says of a picture."""

    name: str
    offset: int
    size: int
    label: str


def load_shards(pattern: str, *, seed: int) -> Splits:
    """Return the parts of all labelled pictures in the shards; from ten shards on, whole shards are set aside for val and test.

    Shards that are sorted by class are split picture by picture, as folders are: one of them would be a test of one class.

    Raises DataError: shards that aren't there or can't be read, pictures without a label; and as `split_labelled`.
    """
    shards = find_shards(pattern)
    found = {shard: [_label(shard, entry) for entry in _index(shard)] for shard in shards}
    classes = sort_names({item.name for items in found.values() for item in items})
    parts, notes = _divide(found, seed=seed)
    together = _count_interleaved(found)
    if not _is_mixed(found, together):
        notes.append(_tell_sorted(found, together))
    splits = split_labelled(parts, source=pattern, seed=seed, classes=classes)
    return replace(splits, notes=(*notes, *splits.notes), set_aside=("val", "test"), interleaved=together)


def _divide(found: _Shards, *, seed: int) -> tuple[dict[str, list[Labelled]], list[str]]:
    """Return the parts that whole shards make, and what there is to say of it; all is train where pictures are to be split one by one."""
    shards = list(found)
    if len(shards) < SPLIT_BY_SHARD or not _is_mixed(found, round(VAL_SHARE * len(shards))):
        return {"train": [item for items in found.values() for item in items]}, []
    order = sorted(shards, key=lambda shard: hash_key(shard.rsplit("/", 1)[-1], seed=seed))
    val, test = (round(share * len(shards)) for share in (VAL_SHARE, TEST_SHARE))
    chosen = {"val": set(order[:val]), "test": set(order[val : val + test]), "train": set(order[val + test :])}
    parts = {part: [item for shard in shards if shard in members for item in found[shard]] for part, members in chosen.items()}
    return parts, [f"of {len(shards)} shards {val} set aside for val and {test} for test, by seed {seed}"]


def _count_interleaved(found: _Shards) -> int:
    """Return how many shards an epoch can be in at a time: all, where they are on this disk or fit on it, else three quarters of the cache.

    The rest of it is for what is fetched ahead, and for what another process still reads.
    """
    if not any(map(is_remote, found)):
        return len(found)
    sizes, limit = _measure(found), read_limit()
    return len(found) if sum(sizes) <= limit else max(1, int(0.75 * limit / max(sizes)))


def _measure(found: _Shards) -> list[int]:
    """Return the bytes of each shard to the end of its last picture, behind which there is little."""
    return [
        max((item.path.offset + item.path.size for item in items if isinstance(item.path, Member)), default=0) for items in found.values()
    ]


def _is_mixed(found: _Shards, together: int) -> bool:
    """Return whether so many shards, drawn at random, hold at least half of the classes that as many pictures of the whole would."""
    shards, pictures = len(found), sum(map(len, found.values()))
    holding = Counter(name for items in found.values() for name in {item.name for item in items})
    having = Counter(item.name for items in found.values() for item in items)
    here = sum(1 - _miss(shards, count, together) for count in holding.values())
    anywhere = sum(1 - _miss(pictures, count, round(together * pictures / shards)) for count in having.values())
    return here >= anywhere / 2


def _miss(number: int, marked: int, drawn: int) -> float:
    """Return the probability that none of the `marked` among `number` things is drawn: C(number - marked, drawn) / C(number, drawn)."""
    if drawn > number - marked:
        return 0.0
    return exp(lgamma(number - marked + 1) - lgamma(number - marked - drawn + 1) - lgamma(number + 1) + lgamma(number - drawn + 1))


def _tell_sorted(found: _Shards, together: int) -> str:
    gigabytes = sum(_measure(found)) / 1e9
    return (
        f"the shards are sorted by class, and an epoch mixes {together} of {len(found)} at a time, so that batches will be of few classes; "
        f"write them anew in random order, or set {LIMIT_VARIABLE} to {max(1, ceil(gigabytes))} or more, which holds all of them"
    )


def find_shards(pattern: str) -> list[str]:
    """Return the paths or URLs that the pattern means, in order. Raises DataError where one isn't there, or none is."""
    names = list(_expand(pattern))
    if is_remote(pattern):
        return names
    names = [str(expand_home(name)) for name in names]
    paths = [path for name in names for path in (sorted(glob(name)) if "*" in name else [name])]  # noqa: PTH207 - strings
    missing = [path for path in paths if not Path(path).is_file()]
    if missing or not paths:
        which = f"{len(missing)} of {len(paths)} shards aren't there: {list_names(missing, most=4)}" if paths else "no such shards"
        raise DataError(f"{pattern}: {which}; check the pattern")
    return paths


def _expand(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if not braces:
        yield pattern
        return
    for word in _list_words(braces[1]):
        yield from _expand(pattern[: braces.start()] + word + pattern[braces.end() :])


def _list_words(inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if not numbers:
        return inside.split(",")
    first, last = numbers.groups()
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


def _label(shard: str, entry: Entry) -> Labelled:
    return Labelled(Member(shard, entry.name, entry.offset, entry.size), entry.label, f"{shard.rsplit('/', 1)[-1]}/{entry.name}")


def _index(shard: str) -> list[Entry]:
    if not is_remote(shard):
        with _open(shard) as file:
            return read_index(shard, file)
    return [Entry(*row) for row in recall_index(shard, lambda file: read_index(shard, file))]


def _open(shard: str) -> BinaryIO:
    try:
        return Path(shard).open("rb")
    except OSError as error:
        raise DataError(f"{shard} can't be read ({error.strerror or error})") from error


def iterate_members(pattern: str) -> Iterator[Member]:
    """Yield the pictures in the shards, labelled or not, shard by shard and in their order there. Raises DataError as `load_shards`."""
    for shard in find_shards(pattern):
        with fetch_shard(shard) if is_remote(shard) else _open(shard) as file:
            pictures, _ = _read_members(shard, file)
        yield from (Member(shard, member.name, member.offset_data, member.size) for member in pictures.values())


def read_index(shard: str, file: IO[bytes]) -> list[Entry]:
    """Return the labelled pictures in a tar file, in its order; `shard` is what messages call it.

    Raises DataError for a file that is no plain tar, or is cut off, and for pictures without a label.
    """
    return _join(shard, *_read_members(shard, file))


def _read_members(shard: str, file: IO[bytes]) -> tuple[dict[str, tarfile.TarInfo], dict[tuple[str, str], str]]:
    """Return the pictures by name before the first dot, and the labels by this name and ending."""
    pictures: dict[str, tarfile.TarInfo] = {}
    labels: dict[tuple[str, str], str] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, ending = name.partition(".")
                key, ending = f"{folder}/{stem}", ending.lower()
                if not stem or not member.isreg() or member.issparse():
                    continue
                if ending in PICTURES:
                    pictures.setdefault(key, member)
                elif ending in LABELS:
                    labels[key, ending] = _read_label(tar, member, ending)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise DataError(f"{shard}: no plain tar file, or a damaged one ({error}); write it anew, uncompressed") from error
    return pictures, labels


def _join(shard: str, pictures: dict[str, tarfile.TarInfo], labels: dict[tuple[str, str], str]) -> list[Entry]:
    entries, without = [], []
    for key, member in pictures.items():
        label = next((labels[key, ending] for ending in LABELS if labels.get((key, ending))), None)
        if label is None:
            without.append(member.name)
        else:
            entries.append(Entry(member.name, member.offset_data, member.size, label))
    if without:
        raise DataError(
            f"{shard}: {len(without)} of {len(pictures)} pictures have no label: {list_names(without, most=4)}; "
            'put a .cls, .txt or .json (with a "label") of the same name beside each'
        )
    return entries


def _read_label(tar: tarfile.TarFile, member: tarfile.TarInfo, ending: str) -> str:
    """Return the label in a member; "" of a JSON that has none, or null. Raises ValueError where it is no text and no whole number."""
    if member.size > _LABEL_BYTES:
        raise ValueError(f"{member.name} has {member.size:,} bytes, too many for a label")
    file = tar.extractfile(member)
    assert file is not None  # a regular file
    text = file.read().decode()
    if ending == "json":
        values = json.loads(text)
        text = values.get("label") if isinstance(values, dict) else None
        text = "" if text is None else text
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise ValueError(f"the label in {member.name} is {json.dumps(text)[:40]}; it must be text or a whole number")
    str(text).encode()  # raises for half a character, which JSON can hold
    return str(text).strip()
