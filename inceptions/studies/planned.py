"""A run of a study before it begins: enters an arm and a seed, leaves where it will lie, or what is through with it already.

A run that another study is through with, alike in every setting, serves and is not done again: as a run folder of a study that lies beside
this one, or as the numbers of a study.json, which may be another machine's. One that was looked at on its way serves those that aren't, for
looking changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inceptions.data.splits import Splits
from inceptions.errors import UserError
from inceptions.files import whole_file
from inceptions.studies.known import read_results
from inceptions.studies.smoothness import look_settings
from inceptions.studies.study import Arm, BatchNoise, Study
from inceptions.studies.verdict import RunResult
from inceptions.training.loop import prepare
from inceptions.training.run_folder import FINISHED_NAME, RESUME_NAME
from inceptions.training.setup import Setup
from inceptions.weights.card import CARD_NAME, read_card

PLACES = ("data", "place")  # of a setup's settings, which don't change what is computed; the images have a fingerprint
WORDS = ("name", "title", "source", "cost", "expect", "differs_from_paper")  # of recipes and networks, which say what they are


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run of an arm with a seed, which may be through already.

    folder: its place in the study. noise: of the arm; is_looked_at: whether its smoothness is measured. served_by: the folder of the same
    run of another study, which is through. told: what the same run came to elsewhere.
    """

    arm: str
    setup: Setup
    folder: Path
    noise: BatchNoise | None = None
    is_looked_at: bool = False
    served_by: Path | None = None
    told: RunResult | None = None

    @property
    def home(self) -> Path:
        """Where its models and what it came to are."""
        return self.served_by or self.folder

    @property
    def settings_file(self) -> Path:
        """Where its settings are kept, beside its folder."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def looks_file(self) -> Path:
        """Where what was seen of it is kept, beside its folder."""
        return file_beside(self.home, "looks")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides it, in JSON's types, the recipe's fields among the others."""
        values = json.loads(json.dumps(self.setup.to_dict()))
        recipe = values.pop("recipe")
        looks = {"looks": look_settings(self.noise)} if self.is_looked_at else {}
        return {name: value for name, value in {**values, **recipe, **looks}.items() if name not in PLACES}

    @property
    def looks_known_by(self) -> str:
        """What its looks are known by: the digest of its settings."""
        return _digest(self.settings)

    @property
    def known_by(self) -> str:
        """The digest of all that decides what it comes to, on whatever machine: of settings without words, and of the arithmetic."""
        deciding = {name: value for name, value in self.settings.items() if name not in WORDS}
        network = {name: value for name, value in deciding["network"].items() if name not in WORDS}
        return _digest({**deciding, "network": network, "autocast": str(self.setup.autocast)})

    @property
    def accuracy(self) -> float | None:
        """Of its best model, on the test images or for want of them on validation; None until the run is through."""
        best, splits = self.home / "best", self.setup.splits
        if (self.home / RESUME_NAME).exists() or not (best / CARD_NAME).is_file():
            return None
        return read_card(best).metrics.get("test_accuracy" if splits.test else "val_accuracy" if splits.val else "train_accuracy")

    @property
    def died_file(self) -> Path:
        """What tells, beside its folder, that its loss was no number any more."""
        return file_beside(self.folder, "died")

    @property
    def is_through(self) -> bool:
        """Whether nothing of it is left to do: it has an accuracy, or died."""
        return self.told is not None or self.accuracy is not None or self.died_file.is_file()


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def slug(name: str) -> str:
    """Return a name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def plan_runs(
    study: Study, arm: Arm, splits: Splits, folder: Path, *, seeds: int, epochs: int | None, source: str, device: str | None
) -> list[PlannedRun]:
    """Return the runs of an arm with the seeds from 0, in the study's `folder`; epochs: None for those of its recipe."""
    setup = prepare(arm.network, splits, replace(arm.recipe, epochs=epochs or arm.recipe.epochs), source=source, device=device)
    setups = (replace(setup, recipe=replace(setup.recipe, seed=seed)) for seed in range(seeds))
    place, is_looked_at = folder / slug(arm.name), study.measure == "smoothness"
    return [PlannedRun(arm.name, each, place / f"seed-{each.recipe.seed}", arm.noise, is_looked_at) for each in setups]


def refuse_other_settings(run: PlannedRun) -> None:
    """Raise UserError where there is a run already that differs in more than where its images are."""
    file = run.settings_file
    if not file.is_file():
        if run.folder.exists():
            raise UserError(f"{run.folder} is there, and no run of this study; it is kept: give another folder, or move this one away")
        return
    was, now = json.loads(file.read_text(encoding="utf-8")), run.settings
    differing = [_difference(name, was.get(name), now.get(name)) for name in {**was, **now} if was.get(name) != now.get(name)]
    if differing:
        raise UserError(
            f"{run.folder} holds a run of other settings ({'; '.join(differing)}); it is kept: give another folder for these, or delete it"
        )


def checked(run: PlannedRun) -> PlannedRun:
    """Return the run as it is when its turn comes, hours after it was planned, in which others may have used its folders.

    What served it may be gone, or be trained again. Raises UserError as `refuse_other_settings`.
    """
    if run.served_by is not None and run.accuracy is None:
        run = replace(run, served_by=None)
    if run.told is None and run.served_by is None:
        refuse_other_settings(run)
    return run


def claim(run: PlannedRun) -> None:
    """Write the settings of a run that is to begin, or to go on; raises UserError where another study was first with its own."""
    with whole_file(run.settings_file, replace=False) as scratch:
        scratch.write_text(json.dumps(run.settings, indent=1), encoding="utf-8")
    refuse_other_settings(run)


def refuse_other_results(planned: Sequence[PlannedRun], file: Path) -> None:
    """Raise UserError where a study.json tells of other runs of these arms and seeds, for it would be written over."""
    told: dict[tuple[str, int], set[str]] = {}
    for result in read_results(file) if file.is_file() else ():
        told.setdefault((result.arm, result.seed), set()).add(result.known_by)
    for run in planned:
        seed = run.setup.recipe.seed
        if run.known_by not in told.get((run.arm, seed), {run.known_by}):
            raise UserError(f"{file} tells of a run of other settings ({run.arm}, seed {seed}); it is kept: give another folder")


def shared(run: PlannedRun, studies: Path, known: Mapping[str, RunResult]) -> PlannedRun:
    """Return the run, or where it has not begun the same run that is through: of a study in the folder `studies`, or one of those `known`.

    Images in another place are others, even of the same names: copies may be smaller, or spoilt for the purpose. Of runs that are known
    by their numbers alone, whoever gives them says that the images are the same.
    """
    if run.settings_file.is_file():
        return run
    wanted, place = run.settings, run.setup.place
    for file in sorted(found for places in ("*/*", "*/epochs-*/*") for found in studies.glob(f"{places}/seed-*[0-9].json")):
        other = replace(run, served_by=file.with_suffix(""))
        if not _serves(_read_json(file), wanted) or other.accuracy is None:
            continue
        begun = _read_json(other.home / FINISHED_NAME)
        if isinstance(begun, dict) and begun.get("place") == place:
            return other
    return replace(run, told=known.get(run.known_by))


def _serves(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a run of the settings `found` is one of those `wanted`; looks without noise, which nobody asks for, may be among its own."""
    match found:
        case {"looks": {"noise": None}, **others} if "looks" not in wanted:
            return others == wanted
        case _:
            return found == wanted


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another's file, or one that is being written
        return None


def _difference(name: str, was: Any, now: Any) -> str:
    """Return "epochs 10, now 1", or the name alone of what is too long to be told."""
    short = isinstance(was, str | int | float | None) and isinstance(now, str | int | float | None) and name != "images"
    return f"{name} {was}, now {now}" if short else f"other {name}"


def file_beside(folder: Path, what: str) -> Path:
    """Return where something is kept beside a run's folder."""
    return folder.with_name(f"{folder.name}.{what}.json")
