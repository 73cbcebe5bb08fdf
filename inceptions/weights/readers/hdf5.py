"""HDF5, as far as it is one file of numbers: enters a path, leaves its groups and datasets, none of which leads out of the file.

Links to other files, numbers kept in other files, filters that would load a plug-in, and datasets that claim much more than is stored for
them are refused before they are followed or read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inceptions.errors import WeightsError
from inceptions.weights.readers.foreign import MAX_EXPANSION, MAX_TENSORS, Budget, damaged, quote, unfit

_ERRORS = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError)
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_MAX_CHUNK_BYTES = 64 * 2**20
_MAX_ATTRIBUTE_BYTES = 4 * 2**20
_SLACK_BYTES = 2**20


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; WeightsError without h5py, or for damage that shows while it is open."""
    try:
        import h5py
    except ImportError:
        raise WeightsError("it is read with h5py, which isn't installed; pip install 'inceptions[keras]'") from None
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except WeightsError:
        raise
    except _ERRORS as error:
        reason = quote(str(error).partition("\n")[0] or type(error).__name__)
        raise WeightsError(f"its HDF5 is damaged or cut short ({reason}); download it again") from None


def has(group: Any, name: str) -> bool:
    """Return whether a group has a link of that name; it isn't followed."""
    return bool(group.id.links.exists(name.encode()))


def child(group: Any, name: str) -> Any:
    """Return what lies at `name`, perhaps some groups below; WeightsError if it isn't in this file, or not there."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not part or not has(group, part):
            raise damaged(f"there is no {quote(name)} in it, which it says it has")
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:  # pyright: ignore[reportAttributeAccessIssue]
            raise WeightsError(f"{quote(name)} is a link, perhaps to another file, and isn't followed; save the weights whole, in one file")
        group = group[part]
    return group


def children(group: Any) -> list[str]:
    """Return the names in a group; WeightsError if they are too many."""
    if group.id.get_num_objs() > MAX_TENSORS:
        raise unfit(f"a group in it has more than {MAX_TENSORS:,} members")
    return list(group)


def identify(group: Any) -> int:
    """Return what is the same for two names of one group."""
    import h5py

    return int(h5py.h5o.get_info(group.id).addr)  # pyright: ignore[reportAttributeAccessIssue]


def texts(holder: Any, name: str) -> list[str] | None:
    """Return an attribute that is text, or a list of texts, perhaps in parts (`name0`, `name1`, …) as Keras writes long ones; or None."""
    if name in holder.attrs:
        return _texts(holder, name)
    found: list[str] = []
    for number in range(MAX_TENSORS):
        if f"{name}{number}" not in holder.attrs:
            return found if number else None
        found += _texts(holder, f"{name}{number}")
        if len(found) > MAX_TENSORS:
            break
    raise unfit(f"its attribute {quote(name)} has more than {MAX_TENSORS:,} names")


def _texts(holder: Any, name: str) -> list[str]:
    attribute = holder.attrs.get_id(name)
    if 0 in attribute.shape:
        return []
    if math.prod(attribute.shape) > MAX_TENSORS or attribute.get_storage_size() > _MAX_ATTRIBUTE_BYTES:
        raise unfit(f"its attribute {quote(name)} has more than {MAX_TENSORS:,} names")
    values = np.atleast_1d(np.asarray(holder.attrs[name], dtype=object)).tolist()
    if not all(isinstance(value, str | bytes) for value in values):
        raise damaged(f"its attribute {quote(name)} should be a list of names")
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def read_dataset(dataset: Any, name: str, budget: Budget) -> np.ndarray | None:
    """Return the numbers of a dataset, or None if they aren't floating-point. Raises WeightsError."""
    import h5py

    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise damaged(f"{quote(name)} is no dataset")
    plan = dataset.id.get_create_plist()
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise WeightsError(f"the numbers of {quote(name)} lie in another file, which isn't read; save the weights whole, in one file")
    filters = [plan.get_filter(place)[0] for place in range(plan.get_nfilters())]
    if any(code not in _FILTERS for code in filters):
        raise WeightsError(
            f"{quote(name)} is compressed in an unusual way (filter {filters[0]}); save it with {', '.join(_FILTERS.values())}"
        )
    wanted = budget.claim(name, dataset.shape, dataset.dtype.itemsize)
    chunk = math.prod(plan.get_chunk()) * dataset.dtype.itemsize if layout == h5py.h5d.CHUNKED else 0
    if chunk > _MAX_CHUNK_BYTES or wanted > dataset.id.get_storage_size() * MAX_EXPANSION + _SLACK_BYTES:
        raise damaged(f"{quote(name)} claims {max(chunk, wanted):,} bytes, more than is stored for it")
    if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and (texts(dataset, "dtype") or [""])[0] == "bfloat16":
        return (dataset[()].view("<u2").astype("<u4") << 16).view("<f4")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        return None
    array = np.empty(dataset.shape, dataset.dtype.newbyteorder("<"))
    if array.size:
        dataset.read_direct(array)
    return array
