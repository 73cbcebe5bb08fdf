"""Runs that are known by their numbers: enters the study.json of studies, leaves what their runs came to, by what they are known by."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.errors import UserError
from inceptions.studies.verdict import RunResult

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def read_known(folder: Path) -> dict[str, RunResult]:
    """Return the runs of every study.json in `folder` and its folders, by the digest of their settings; the first where there are several.

    Raises UserError where one can't be read, or none says what its runs are known by.
    """
    known: dict[str, RunResult] = {}
    for file in sorted(folder.rglob("study.json")):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):  # what another study is writing
            continue
        for result in read_results(file):
            known.setdefault(result.known_by, result)
    if not known:
        raise UserError(f"{folder} has no study.json whose runs say what they are known by; give the folder that studies lie in")
    return known


def read_results(file: Path) -> tuple[RunResult, ...]:
    """Return the runs that a study.json tells of and says what they are known by, those with other epochs too.

    Raises UserError where it can't be read.
    """
    try:
        study = json.loads(file.read_text(encoding="utf-8"))
        return tuple(map(_read_run, filter(lambda run: run.get("known_by"), each_run(study))))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} is not what a study leaves ({reason}); move it away, or take it anew from where it was made") from None


def each_run(study: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the runs of a study.json, those with other epochs too."""
    for budget in (study, *study.get("other_budgets", ())):
        yield from budget["runs"]


def machine_time(studies: Iterable[Mapping[str, Any]]) -> str:
    """Return how many runs there are in several study.json, and what they took in all; one that several share is counted once."""
    seconds = {(run["seed"], run["seconds"], tuple(run["curve"])): run["seconds"] for study in studies for run in each_run(study)}
    return f"{len(seconds)} runs, {sum(seconds.values()) / 3600:.1f} hours of training"


def _read_run(run: dict[str, Any]) -> RunResult:
    """Return a run of a study.json, in which what is no number is null; raises ValueError or TypeError where it is none."""
    found = _runs().validate_python({**run, "curve": tuple(math.nan if value is None else value for value in run["curve"])})
    if not found.curve:
        raise ValueError(f"{found.arm}, seed {found.seed}: a run of no epochs")
    return found


@cache
def _runs() -> TypeAdapter[RunResult]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunResult)
