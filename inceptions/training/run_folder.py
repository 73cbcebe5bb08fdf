"""The folder of one run: enters rows and models as they come, leaves recipe.yaml, metrics.csv, best/, last/, plots and a report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from inceptions.errors import UserError
from inceptions.files import write_whole
from inceptions.training.checkpoint import Checkpoints
from inceptions.training.progress import EpochRow
from inceptions.versions import now, versions

RESUME_NAME = "resume.json"


class RunFolder:
    """The folder of a run, new or, with `resumed`, one that is gone on with."""

    def __init__(self, path: Path, *, resumed: bool = False) -> None:
        self.path = path
        self.best, self.last, self.metrics = path / "best", path / "last", path / "metrics.csv"
        self.checkpoints = Checkpoints(path / "checkpoints")
        self.is_kept = resumed
        if resumed:
            return
        if path.exists():
            raise UserError(f"{path} exists already; give another --output, delete it, or go on with it by --resume {path}")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"can't make the run folder {path} ({error.strerror}); give another --output") from None

    def write_recipe(self, settings: dict[str, Any]) -> None:
        """Write everything that the run was asked for, with the versions that it runs on."""
        text = yaml.safe_dump({**settings, "versions": versions(), "started": now()}, sort_keys=False, allow_unicode=True)
        write_whole(self.path / "recipe.yaml", text)

    def write_resume(self, values: dict[str, Any]) -> None:
        """Write what a resumed run is set up by."""
        write_whole(self.path / RESUME_NAME, json.dumps(values, indent=1))

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Write metrics.csv: the names of the columns, and a row for each epoch."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [column.name for column in fields(EpochRow)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _rounded(value) for name, value in asdict(row).items()})
        write_whole(self.metrics, text.getvalue())

    def discard(self) -> None:
        """Delete the folder unless there is something worth keeping in it."""
        if not self.is_kept and not self.metrics.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what a killed process was writing when it died."""
        for leftover in self.path.glob(".*-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        for unfinished in self.checkpoints.folder.glob("*.unfinished"):
            unfinished.unlink(missing_ok=True)


def read_resume(path: Path) -> dict[str, Any]:
    """Return what `write_resume` wrote into the run folder `path`; UserError where nothing can be resumed."""
    file = path / RESUME_NAME
    if not file.is_file():
        if (path / "report.html").is_file() or (path / "best").is_dir():
            raise UserError(f"{path} is finished already; train further from its model with --weights {path / 'best'}")
        raise UserError(f"{path} is no run folder that can be resumed: there is no {RESUME_NAME} in it")
    return json.loads(file.read_text(encoding="utf-8"))


def is_left_over(path: Path, values: dict[str, Any]) -> bool:
    """Return whether `path` is what a run of just these settings left behind when a process died; torchrun then begins anew."""
    file = path / RESUME_NAME
    if file.is_file():
        return json.loads(file.read_text(encoding="utf-8")) == json.loads(json.dumps(values))
    return path.is_dir() and not any(path.iterdir())


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.6g}")
