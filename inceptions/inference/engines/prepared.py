"""What was prepared for this machine, kept in the user's cache: enters what it is of, leaves its folder, and what is known of it. No torch.

Each has a folder with `engine.json`: what it was made of and by, how it compares with torch in float32, how fast it was. A folder is there
whole or not at all. Together they take INCEPTIONS_ENGINES_LIMIT gigabytes at most (8); those that weren't used for longest go first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, cast

from inceptions.errors import UserError
from inceptions.files import cache_folder
from inceptions.inference.engines.base import EngineName, Precision
from inceptions.json_text import to_json
from inceptions.weights.card import WEIGHTS_NAME, ModelCard

FORM = 2
"""Raised when what is prepared changes otherwise than with the version of a library."""

RECORD = "engine.json"
LIMIT_VARIABLE = "INCEPTIONS_ENGINES_LIMIT"
_LIMIT = 8.0  # gigabytes


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an engine's answers to real pictures compare with those of torch in float32.

    pictures: how many. same: how many have the same likeliest class; ties: how many others have another, by less than `allowed`.
    difference: the largest, of a probability; in int8, of a logit, and of a network without classes, of a number in the vectors, in parts
    of the largest. In int8 there are ties where half of the pictures are alike. allowed: how large it may be.
    """

    pictures: int
    same: int
    ties: int
    difference: float
    allowed: float
    images_per_second: float

    @property
    def agrees(self) -> bool:
        """Whether the engine may be used."""
        return self.difference <= self.allowed and self.same + self.ties == self.pictures  # false where it is nan

    def __str__(self) -> str:
        ties = f", {self.ties} by a near tie" if self.ties else ""
        return f"{self.same} of {self.pictures} pictures alike{ties}; largest difference {self.difference:.2g} (allowed {self.allowed:g})"


@dataclass(frozen=True, slots=True)
class Made:
    """What an engine is of, and by: all that another one would have to be made for.

    model: names the weights and all that is done to them. device: "cpu", "cuda" and so on. library: its version. processor: what runs it.
    part: of a network that is cut at its auxiliary heads, which, from 0; None is the whole.
    """

    model: str
    engine: EngineName
    precision: Precision
    device: str
    library: str
    processor: str
    part: int | None = None
    form: int = FORM

    @property
    def key(self) -> str:
        """The name of its folder."""
        return f"{self.engine}-{self.precision}-{hashlib.blake2b(repr(self).encode(), digest_size=8).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An engine that was prepared: its folder, what it is of, the model folder that it was made from, its network, and how it compares.

    files: the CRC-32 of each, by name.
    """

    folder: Path
    made: Made
    source: str
    network: str
    comparison: Comparison
    date: str
    files: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return _bytes_in(self.folder)

    @property
    def is_whole(self) -> bool:
        """Whether the files hold what was prepared: of weights that were damaged, engines make wrong answers without a word."""
        try:
            return all(checksum(self.folder / name) == known for name, known in self.files.items())
        except OSError:
            return False

    def to_json(self) -> str:
        """Return what `read` takes."""
        values = {name: getattr(self, name) for name in ("source", "network", "date", "files")}
        return to_json({"made": asdict(self.made), "comparison": asdict(self.comparison), **values}) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return what was prepared in the folder, or None where its record isn't whole or not of this form."""
        try:
            values: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            difference = values["comparison"]["difference"]
            values["comparison"]["difference"] = float("nan") if difference is None else difference  # what JSON makes of it
            made, comparison = Made(**values.pop("made")), Comparison(**values.pop("comparison"))
            found = cls(folder, made, comparison=comparison, **values)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if made.form == FORM else None


def checksum(file: Path) -> int:
    """Return the CRC-32 of a file: three hundredths of a second for 100 MB."""
    found = 0
    with file.open("rb") as opened:
        while part := opened.read(2**20):
            found = zlib.crc32(part, found)
    return found


def describe_made(folder: Path, card: ModelCard, *, engine: EngineName, precision: Precision, device: str, part: int | None = None) -> Made:
    """Return what an engine of a model folder, or of a part of it, would be made of, on this machine."""
    fields = (card.sha256, (folder / WEIGHTS_NAME).stat().st_size, repr(card.network), repr(card.preprocess), card.provenance.get("int8"))
    fields += (card.temperature,) if card.temperature != 1 else ()
    model = hashlib.blake2b(repr(fields).encode(), digest_size=16).hexdigest()
    library = {"torch": "torch", "compiled": "torch"}.get(engine, engine)
    return Made(model, engine, precision, device, f"{library} {_version(library)}", processor(device), part)


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # onnxruntime-gpu, say, has another name than its module
        return "of another name"


def engines_folder() -> Path:
    """Return where all that is prepared lies."""
    return cache_folder() / "engines"


def iterate_prepared() -> Iterator[Prepared]:
    """Yield all that is prepared, by whatever version."""
    for record in sorted(engines_folder().glob(f"*/{RECORD}")):
        if found := Prepared.read(record.parent):
            yield found


def find_prepared(made: Made) -> Prepared | None:
    """Return what was prepared of just this, and mark it as used; None where there is none, or it is damaged."""
    found = Prepared.read(engines_folder() / made.key)
    if found is None or found.made != made or not found.is_whole:
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(found.folder / RECORD)
    return found


def clear_prepared(keep: int = 0) -> int:
    """Delete what is prepared, what was used longest ago first, until it takes `keep` bytes or less; return how many bytes went."""
    found = sorted((_last_used(path), _bytes_in(path), path) for path in engines_folder().glob("[!.]*") if path.is_dir())
    left = whole = sum(size for _, size, _ in found)
    for _, size, path in found:
        if left <= keep:
            break
        shutil.rmtree(path, ignore_errors=True)
        left -= size - _bytes_in(path)
    return whole - left


def read_limit() -> int:
    """Return how many bytes may be prepared. Raises UserError for what is no number of gigabytes."""
    given = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(given) if given else _LIMIT
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise UserError(f"{LIMIT_VARIABLE} is {given!r}; it must be a number of gigabytes, 0 or more")
    return int(min(1e9 * limit, 2**63))


def _last_used(folder: Path) -> float:
    """Return when; of what has no record yet, for it is being prepared, when it was begun."""
    for place in (folder / RECORD, folder):
        with suppress(OSError):
            return place.stat().st_mtime
    return 0.0


def _bytes_in(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except OSError:  # another process deletes it
        return 0


def processor(device: str = "cpu") -> str:
    """Return the name of what computes: of the CPU, and which of the instructions it has that matter here; or of the GPU."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device} of {platform.machine()}"
    found: dict[str, str] = {}
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            found[name.strip()] = value.strip()
    flags = set(found.get("flags", "").split())
    known = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 bf16", "avx512_vnni": "VNNI", "avx512f": "AVX-512", "avx2": "AVX2"}
    has = [name for flag, name in known.items() if flag in flags]
    name = cast("str", found.get("model name") or platform.processor() or platform.machine())
    return f"{name} ({', '.join(has)})" if has else name
