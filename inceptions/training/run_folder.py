"""The folder of one run: enters rows and models as they come, leaves recipe.yaml, metrics.csv, best/, last/, plots and a report."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from inceptions.errors import UserError
from inceptions.files import copy_whole, whole_folder, write_whole
from inceptions.training.progress import EpochRow
from inceptions.versions import now, versions

RECIPE_NAME = "recipe.yaml"
RESUME_NAME = "resume.json"
FINISHED_NAME = "finished.json"  # what it becomes when the run is finished: it can still go on for more epochs
LONGER_NAME = "longer"
LOCK_NAME = ".lock"
HELD_S = 15.0  # torch's readers look every 5 seconds whether the process that they read for is there
OF_THE_TEST = ("report.html", "curves.png", "confusion_matrix.png", "reliability.png", "predictions.parquet")


class RunFolder:
    """The folder of a run. is_kept: it stays when the run fails, for it can be gone on with.

    results: where its models, rows and report are written. That is the folder itself; of a finished run that goes on for more epochs, a
    folder within, until it is finished again, so that what is there stays whole and of one run.
    """

    def __init__(self, path: Path, *, is_kept: bool = True) -> None:
        self.path = path
        self.results = path / LONGER_NAME if (path / FINISHED_NAME).is_file() else path
        self.best, self.last, self.metrics = (self.results / name for name in ("best", "last", "metrics.csv"))
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.is_kept = is_kept

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder. Raises UserError where one trains in it, and doesn't end within seconds.

        A process that was killed leaves readers for some seconds, which hold what it held. Where the disk knows no locks, there is none.
        """
        lock = FileLock(self.path / LOCK_NAME)
        try:
            lock.acquire(timeout=HELD_S)
        except Timeout:
            raise UserError(f"another process trains in {self.path}; wait until it ends, or stop it") from None
        except (OSError, NotImplementedError):
            pass
        try:
            yield
        finally:
            if lock.is_locked:
                with suppress(OSError):  # while it is ours: behind that it may be another's; who waits for this one sees that it is gone
                    (self.path / LOCK_NAME).unlink(missing_ok=True)
            lock.release()

    def write_resume(self, values: dict[str, Any]) -> None:
        """Write what a resumed run is set up by."""
        write_whole(self.path / RESUME_NAME, json.dumps(values, indent=1), durable=True)

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Write metrics.csv: the names of the columns, and a row for each epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [column.name for column in fields(EpochRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _rounded(value) for name, value in asdict(row).items()})
        write_whole(self.metrics, text.getvalue())

    def reopen(self) -> None:
        """Prepare the results of a finished run that is to go on, which begin with its best model; `write_resume` then begins it."""
        shutil.rmtree(self.results, ignore_errors=True)  # of one that was killed before it had begun
        copy_whole(self.path / "best", self.best)

    def write_epochs(self, epochs: int) -> None:
        """Write recipe.yaml with another number of epochs."""
        settings = yaml.safe_load((self.path / RECIPE_NAME).read_text(encoding="utf-8"))
        settings["recipe"]["epochs"] = epochs
        write_whole(self.results / RECIPE_NAME, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))

    def conclude(self) -> None:
        """Put the results in their place, and mark the run as finished. Its last checkpoint stays, for more epochs to begin with."""
        if self.results != self.path:
            for name in OF_THE_TEST:
                if not (self.results / name).exists():  # nothing here can write it any more
                    (self.path / name).unlink(missing_ok=True)
            for made in self.results.iterdir():  # a run that is killed meanwhile does this again
                copy_whole(made, self.path / made.name)
        if (self.path / RESUME_NAME).is_file():
            (self.path / RESUME_NAME).replace(self.path / FINISHED_NAME)
        shutil.rmtree(self.path / LONGER_NAME, ignore_errors=True)
        self.checkpoints.keep(1)

    def discard(self) -> None:
        """Delete the folder unless there is something worth keeping in it."""
        if not self.is_kept and not self.metrics.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what a killed process was writing when it died."""
        for leftover in (*self.path.glob(".*-*"), *(self.path / LONGER_NAME).glob(".*-*")):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        for unfinished in self.checkpoints.folder.glob("*.unfinished"):
            unfinished.unlink(missing_ok=True)


def new_run_folder(path: Path, *, settings: dict[str, Any], resume: dict[str, Any]) -> RunFolder:
    """Make the folder of a run with all that it is set up by in it, in one move: it can be resumed from the moment that it is there.

    settings: what people read, into recipe.yaml, with the versions that it runs on; resume: for `read_resume`.
    Raises UserError: it can't be made, or there is something in it already.
    """
    there = f"{path} exists already, and the run in it is finished" if is_finished(path) else f"{path} exists already"
    taken = UserError(f"{there}; give another output folder, or delete it", resume=path if (path / RESUME_NAME).is_file() else None)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise taken
    with whole_folder(path, replace=False) as fresh:
        text = yaml.safe_dump({**settings, "versions": versions(), "started": now()}, sort_keys=False, allow_unicode=True)
        (fresh / RECIPE_NAME).write_text(text, encoding="utf-8")
        folder = RunFolder(fresh)
        folder.write_resume(resume)
        made = fresh.stat().st_ino
    if path.stat().st_ino != made:  # another process was first
        raise taken
    return RunFolder(path, is_kept=False)


def read_resume(path: Path) -> dict[str, Any]:
    """Return what `write_resume` wrote into the run folder `path`; UserError where nothing can be resumed."""
    file = path / RESUME_NAME
    if not file.is_file():
        if is_finished(path) or (path / "report.html").is_file() or (path / "best").is_dir():
            more = ", or go on with it for more epochs: --epochs N" if is_finished(path) else ""
            raise UserError(f"{path} is finished already; train further with the weights {path / 'best'}{more}")
        missing = f"there are no settings in it ({RESUME_NAME}); begin anew" if path.is_dir() else "it isn't there; check the name"
        raise UserError(f"{path} is no run folder that can be resumed: {missing}")
    return _read_settings(file)


def is_finished(path: Path) -> bool:
    """Return whether the run in `path` is finished, and can go on for more epochs."""
    return (path / FINISHED_NAME).is_file() and not (path / RESUME_NAME).is_file()


def read_finished(path: Path) -> dict[str, Any]:
    """Return what a run was set up by that is finished, as `is_finished` says."""
    return _read_settings(path / FINISHED_NAME)


def is_left_over(path: Path, values: dict[str, Any]) -> bool:
    """Return whether `path` is what a run of just these settings left behind when it was killed; where the images are doesn't matter."""
    file = path / RESUME_NAME
    if file.is_file():
        left = _read_settings(file)
        return {**left, "data": "", "place": ""} == {**json.loads(json.dumps(values)), "data": "", "place": ""}
    return False


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} can't be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); begin anew in another folder") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} is damaged: no settings are in it; begin anew in another folder")
    return values


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.6g}")


KEPT = 2
DAMAGE = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)  # of torch.load, for a file that is not whole


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
            raise self._failure(error) from None
        self.keep(KEPT)

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

    def keep(self, count: int) -> None:
        """Delete all but the last `count`."""
        for old in self.found()[:-count]:
            old.unlink(missing_ok=True)

    def _failure(self, error: Exception) -> UserError:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):  # torch's writer hides the system's error behind one of its own
            cause = cause.__context__
        reason = getattr(cause, "strerror", None) or str(error).splitlines()[0]
        last = self.found()
        if not last:  # there is nothing to go on from
            return UserError(f"can't write to {self.folder} ({reason}); no checkpoint was written; make room, or give another folder")
        kept = f"the last good checkpoint is {last[-1]}"
        return UserError(f"can't write to {self.folder} ({reason}); {kept}; make room, then go on", resume=self.folder.parent)
