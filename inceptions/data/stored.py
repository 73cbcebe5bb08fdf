"""A picture that is no file of its own: in a shard, in a table, behind a library. Enters what finds it, leaves its bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Stored(ABC):
    """What `Sample.path` may be beside a Path.

    `str()` of it names the picture for people. It can be hashed and compared, and pickled in a few hundred bytes: worker processes get
    every one. So it holds names and numbers, no open files and no pixels.

    group: pictures of the same group lie together in something that is best read at once, so that a shuffled epoch is in few groups at a
        time; "" where any order is as good.
    """

    @property
    def group(self) -> str:
        """See above."""
        return ""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Return the encoded picture, as a file of it would hold it. Raises OSError where it can't be read."""

    @abstractmethod
    def __str__(self) -> str: ...
