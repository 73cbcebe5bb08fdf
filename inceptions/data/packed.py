"""Many samples in little memory: enters samples, leaves a sequence of the same in three arrays.

A million tuples of Python objects grow in every worker process: reading one writes its count of references, and so copies its page of
memory (github.com/pytorch/pytorch/issues/13246). Arrays are only read, so that processes share them for ever.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from inceptions.data.splits import Sample
from inceptions.data.stored import Stored


class PackedSamples(Sequence[Sample]):
    """Samples as one run of bytes, where each begins in it, and their labels. A path is its name, a `Stored` its pickle."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        names, lengths, labels, pickled = bytearray(), [0], [], []
        for sample in samples:
            name = pickle.dumps(sample.path, pickle.HIGHEST_PROTOCOL) if isinstance(sample.path, Stored) else os.fsencode(sample.path)
            names += name
            lengths.append(len(name))
            labels.append(sample.label)
            pickled.append(isinstance(sample.path, Stored))
        self._names = np.frombuffer(bytes(names), np.uint8)
        self._starts = np.cumsum(lengths, dtype=np.int64)
        self._labels = np.array(labels, np.int64)
        self._pickled = np.array(pickled, np.bool_)

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> PackedSamples: ...
    def __getitem__(self, index: int | slice) -> Sample | PackedSamples:
        if isinstance(index, slice):
            return PackedSamples(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        name = self._names[self._starts[place] : self._starts[place + 1]].tobytes()
        path = pickle.loads(name) if self._pickled[place] else Path(os.fsdecode(name))  # pickled above, in this program
        return Sample(path, int(self._labels[place]))

    def __iter__(self) -> Iterator[Sample]:
        return (self[place] for place in range(len(self)))

    @property
    def labels(self) -> np.ndarray:
        """All labels, (N,) int64."""
        return self._labels

    def label(self, index: int) -> int:
        """Return the label alone."""
        return int(self._labels[index])


def number_groups(samples: Iterable[Sample]) -> np.ndarray | None:
    """Return the number of each sample's group, in order of appearance; None where no sample has one."""
    numbers: dict[str, int] = {}
    groups = [sample.path.group if isinstance(sample.path, Stored) else "" for sample in samples]
    if not any(groups):
        return None
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])
