"""The folder of one run: enters rows and models as they come, leaves recipe.yaml, metrics.csv, best/, last/, plots and a report."""

from __future__ import annotations

import csv
import platform
import shutil
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors
import torch
import torchvision
import yaml

import inceptions
from inceptions.errors import UserError
from inceptions.training.progress import EpochRow


class RunFolder:
    """A new folder for a run; `discard` takes it away again when nothing worth keeping was written."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise UserError(f"{path} exists already; give another --output, or delete it")
        try:
            path.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"can't make the run folder {path} ({error.strerror}); give another --output") from None
        self.path = path
        self.best, self.last, self.metrics = path / "best", path / "last", path / "metrics.csv"

    def write_recipe(self, settings: dict[str, Any]) -> None:
        """Write everything that the run was asked for, with the versions that it runs on."""
        text = yaml.safe_dump({**settings, "versions": versions(), "started": now()}, sort_keys=False, allow_unicode=True)
        (self.path / "recipe.yaml").write_text(text, encoding="utf-8")

    def add_row(self, row: EpochRow) -> None:
        """Append an epoch to metrics.csv, with the names of the columns first."""
        fresh = not self.metrics.exists()
        with self.metrics.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [column.name for column in fields(EpochRow)])
            if fresh:
                writer.writeheader()
            writer.writerow({name: _rounded(value) for name, value in asdict(row).items()})

    def discard(self) -> None:
        """Delete the folder unless an epoch was saved in it."""
        if not self.metrics.exists():
            shutil.rmtree(self.path, ignore_errors=True)


def new_run_path(parent: Path, name: str) -> Path:
    """Return `parent/name`, or `parent/name-2` and so on: the first that is not there."""
    path, number = parent / name, 1
    while path.exists():
        number += 1
        path = parent / f"{name}-{number}"
    return path


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {
        "inceptions": inceptions.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "safetensors": safetensors.__version__,
    }


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.6g}")
