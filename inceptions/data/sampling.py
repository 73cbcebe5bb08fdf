"""Which pictures an epoch is of: enters the class of each, leaves their places in the data set, as many as there are.

    each_once      every picture once
    balanced       every class as often as every other: pictures of small classes come several times, and some of large ones not at all
    square_root    classes in proportion to the square roots of their numbers of pictures, between the two (1910.09217, section 3)

A class without pictures is never drawn.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Sampling = Literal["each_once", "balanced", "square_root"]


def draw_places(labels: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> np.ndarray:
    """Return the places (N,) int64 of the pictures that an epoch has, in no order that matters, for the classes (N,) of all.

    A class has as many as its share of N says, and one more by chance where that is no whole number. Within a class no picture comes a
    second time before all have come once. The k-th time, counted from 0, it is `place + k * N`, so that each can be varied by itself.
    """
    if sampling == "each_once":
        return np.arange(len(labels))
    counts = np.bincount(labels)
    shares = (counts > 0).astype(float) if sampling == "balanced" else np.sqrt(counts)
    sums = shares.cumsum()
    ends = np.floor(len(labels) * sums[:-1] / sums[-1] + rng.random())  # of one draw for all, so that they add up to N
    wanted = np.diff(ends.astype(np.int64), prepend=0, append=len(labels))
    members = np.split(np.argsort(labels, kind="stable"), counts.cumsum()[:-1])
    return np.concatenate([_draw(places, count, len(labels), rng) for places, count in zip(members, wanted, strict=True) if count])


def _draw(places: np.ndarray, wanted: int, count: int, rng: np.random.Generator) -> np.ndarray:
    whole, rest = divmod(wanted, len(places))
    rounds = [places + time * count for time in range(whole)]
    return np.concatenate([*rounds, rng.permutation(places)[:rest] + whole * count])
