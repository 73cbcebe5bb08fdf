"""Checkpoints of a run: enters its whole state, leaves files from which it goes on bit for bit.

A file is written beside its place, flushed to the disk and then renamed, so that it is whole or not there; the last two are kept. They
hold tensors and plain values only and are read with `weights_only`.
"""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from inceptions.errors import UserError

KEPT = 2
DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    KeyError,
    pickle.UnpicklingError,
)  # from torch.load of a file that is not whole


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path`, flush it to the disk, then put it in its place in one move; what was there stays until then.

    Raises OSError, or RuntimeError from torch's writer, when the folder can't be written to; nothing is left behind.
    """
    scratch = path.with_suffix(".unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def read_state(path: Path) -> dict[str, Any]:
    """Return what `write_state` wrote, tensors and plain values alone: no code in the file is run. Raises one of DAMAGE."""
    return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoints:
    """The folder of a run's checkpoints, `step-000000123.pt` each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step`, and delete all but the last two.

        Raises UserError when it can't be written, a full disk for one; the ones before stay.
        """
        try:
            write_state(self.folder / f"step-{step:09}.pt", state)
        except (OSError, RuntimeError) as error:
            raise UserError(self._failure(error)) from None
        for old in self.found()[:-KEPT]:
            old.unlink(missing_ok=True)

    def found(self) -> list[Path]:
        """Return the files that there are, the oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def read_last(self) -> dict[str, Any] | None:
        """Return the last state that can be read, or None where none was written.

        Raises UserError when there are files and none can be read.
        """
        paths = self.found()
        for path in reversed(paths):
            try:
                return read_state(path)
            except DAMAGE:
                continue
        if paths:
            raise UserError(f"{self.folder}: none of {len(paths)} checkpoints can be read; start the run again in another folder")
        return None

    def remove(self) -> None:
        """Delete all of them: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _failure(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        last = self.found()
        kept = f"the last good checkpoint is {last[-1]}" if last else "no checkpoint was written"
        return f"can't write to {self.folder} ({reason}); {kept}; make room, then inceptions train --resume {self.folder.parent}"
