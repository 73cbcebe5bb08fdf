"""Running a study: enters a `Study` and images, leaves a folder with every run, and what they came to. Killed, it goes on.

OUTPUT/ARM/seed-N/     a run folder, and finished.json once it is through
OUTPUT/predictions.parquet     where models are averaged: what each average predicted of each image
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from inceptions.data.splits import Sample, Splits, divide
from inceptions.devices import pick_device
from inceptions.evaluation.saved import write_predictions
from inceptions.files import write_whole
from inceptions.networks.trace import trace
from inceptions.studies.averages import AverageRow, average, judge_averages, table
from inceptions.studies.study import Arm, Study
from inceptions.studies.verdict import Finished, Interval, Verdict, interval, judge
from inceptions.training.loop import Pace, Setup, fit, prepare
from inceptions.training.progress import Reporter
from inceptions.weights.folder import load_model

Told = Callable[[Finished], None]
TEST_SHARE = 10  # images that are cropped 144 times are so many times fewer than those of training


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run gets alike: seeds 0 to `seeds` - 1 and epochs (None: the study's), and training images (evenly of each class)."""

    seeds: int | None = None
    epochs: int | None = None
    images: int = 10_000


@dataclass(frozen=True, slots=True)
class ArmResult:
    """An arm by name: its cost, and accuracy with its interval over seeds."""

    name: str
    parameters: int
    multiply_adds: int
    accuracy: Interval
    seconds: float


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study came to; averages: of models and crops, where they are what it is about."""

    study: Study
    arms: tuple[ArmResult, ...]
    runs: tuple[Finished, ...]
    verdicts: tuple[Verdict, ...]
    averages: tuple[AverageRow, ...] = ()


def run_study(
    study: Study,
    splits: Splits,
    source: str,
    folder: Path,
    *,
    budget: Budget,
    device: str | None = None,
    workers: int | None = None,
    told: Told | None = None,
    reporter: Reporter | None = None,
) -> StudyResult:
    """Run what is not finished in `folder` yet, seed by seed so that all arms are equally far, and return what all of it came to.

    told: is given every run as it ends. Raises UserError as training does.
    """
    splits = replace(splits, train=fewer(splits.train, budget.images))
    runs = []
    for seed in range(budget.seeds or study.seeds):
        for arm in study.arms:
            recipe = replace(arm.recipe, seed=seed, epochs=budget.epochs or arm.recipe.epochs)
            setup = prepare(arm.network, splits, recipe, source=source, device=device)
            finished = _finish(arm, setup, folder / slug(arm.name) / f"seed-{seed}", workers, reporter)
            runs.append(finished)
            if told is not None:
                told(finished)
    costs = {arm.name: trace(replace(arm.network, aux=())).total for arm in study.arms}
    arms = tuple(_summary(arm.name, costs[arm.name].parameters, costs[arm.name].multiply_adds, runs) for arm in study.arms)
    if study.measure == "averages":
        models = [load_model(folder / slug(run.arm) / f"seed-{run.seed}" / "best") for run in runs]
        samples = fewer(splits.test or splits.val, budget.images // TEST_SHARE)
        found = average(models, samples, splits.classes, device=pick_device(device), workers=workers)
        write_predictions(found.scores, found.classes, found.paths, folder / "predictions.parquet")
        return StudyResult(study, arms, tuple(runs), judge_averages(found.rows), table(found.rows))
    verdicts = judge(study, runs, {name: cost.multiply_adds for name, cost in costs.items()})
    return StudyResult(study, arms, tuple(runs), tuple(verdicts))


def fewer(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
    """Return `count` samples, of each class its share, always the same ones; all where there are no more."""
    if len(samples) <= count:
        return tuple(samples)
    by_class: dict[int, list[Sample]] = {}
    for sample in samples:
        by_class.setdefault(sample.label, []).append(sample)
    shares = {"rest": 1 - count / len(samples)}
    kept = [divide(items, shares, key=lambda item: str(item.path), seed=0)["train"] for items in by_class.values()]
    return tuple(sample for part in kept for sample in part)


def slug(name: str) -> str:
    """Return a name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _finish(arm: Arm, setup: Setup, folder: Path, workers: int | None, reporter: Reporter | None) -> Finished:
    """Return what an arm's run came to, run now where there is no finished.json of the same settings."""
    file, settings = folder / "finished.json", json.loads(json.dumps(setup.to_dict()))
    if file.is_file():
        saved = json.loads(file.read_text(encoding="utf-8"))
        if saved["settings"] == settings:
            return Finished(**{**saved["run"], "curve": tuple(saved["run"]["curve"])})
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed, or of other settings
    result = fit(setup, folder, reporter=reporter, pace=Pace(workers=workers))
    steps = max(1, len(setup.splits.train) // setup.recipe.batch_size)
    curve = tuple(row.val_accuracy for row in result.rows)
    finished = Finished(arm.name, setup.recipe.seed, result.score.accuracy, curve, steps, result.rows[-1].seconds)
    write_whole(file, json.dumps({"run": asdict(finished), "settings": settings}, indent=1))
    return finished


def _summary(name: str, parameters: int, multiply_adds: int, runs: Sequence[Finished]) -> ArmResult:
    mine = [run for run in runs if run.arm == name]
    seconds = sum(run.seconds for run in mine) / len(mine)
    return ArmResult(name, parameters, multiply_adds, interval([run.accuracy for run in mine]), seconds)
