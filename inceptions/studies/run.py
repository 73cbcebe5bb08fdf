"""Running a study: enters a `Study` and images, leaves a folder with every run, and what they came to. Killed, it goes on.

OUTPUT/ARM/seed-N/     a run folder
OUTPUT/ARM/seed-N.json     its settings, written before the run begins; a run of other settings is never put in its place
OUTPUT/ARM/seed-N.died.json     of a run whose loss was no number any more: why
OUTPUT/ARM/seed-N.looks.json     where smoothness is measured: what was seen at some of its steps
OUTPUT/ARM/seed-N.round.json, seed-N.through.json     where surfaces are: the loss on planes
OUTPUT/predictions.parquet     where models are averaged: what each average predicted of each image

A run that another study is through with, alike in every setting, serves here too and is not done again (`planned`).
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from inceptions.data.splits import Sample, Splits, divide, name_within
from inceptions.devices import pick_device
from inceptions.errors import DivergedError, StoppedError, UserError
from inceptions.evaluation.interval import Interval
from inceptions.extras import REPORT_MODULES, require
from inceptions.files import write_whole
from inceptions.networks.trace import Cost, trace
from inceptions.studies import surface
from inceptions.studies.averages import AverageRow, average, judge_averages, table
from inceptions.studies.landscapes import Smoothness, Terrain, judge_smoothness, judge_surfaces, summarize_looks, summarize_surface
from inceptions.studies.planned import PlannedRun, checked, claim, plan_runs, refuse_other_results, refuse_other_settings, shared
from inceptions.studies.smoothness import SmoothnessLook, read_looks
from inceptions.studies.study import SCORED, Study
from inceptions.studies.verdict import RunResult, Verdict, interval, judge
from inceptions.training.loop import Pace, fit
from inceptions.training.processes import world_size
from inceptions.training.progress import Reporter
from inceptions.weights.folder import load_model

DEAD = 1.05  # times the share of the commonest class: an accuracy that is no higher is that of a network that says the same of all images


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run gets alike: seeds 0 to `seeds` - 1 and epochs (None: the study's), and training images (evenly of each class).

    Accuracies are of all test images all the same, and crops too.

    half_and_double: whether claims are judged with half and with double the epochs too.
    """

    seeds: int | None = None
    epochs: int | None = None
    images: int = 50_000
    half_and_double: bool = False


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
    """What a study came to; averages: of models and crops, where they are what it is about; others: what it came to with other epochs.

    smoothness, surfaces, terrains: the same of the landscape, and the surfaces in numbers. images: that are trained on, and others that
    accuracies in the end are of, 0 where there are none.
    """

    study: Study
    arms: tuple[ArmResult, ...]
    runs: tuple[RunResult, ...]
    verdicts: tuple[Verdict, ...]
    averages: tuple[AverageRow, ...] = ()
    smoothness: tuple[Smoothness, ...] = ()
    surfaces: tuple[surface.Surface, ...] = ()
    terrains: tuple[Terrain, ...] = ()
    others: tuple[StudyResult, ...] = ()
    images: tuple[int, int] = (0, 0)

    @property
    def epochs(self) -> int:
        """Of a run, the longest where arms differ."""
        return max(len(run.curve) for run in self.runs)


def run_study(
    study: Study,
    splits: Splits,
    source: str,
    folder: Path,
    *,
    budget: Budget,
    beside: Path | None = None,
    known: Mapping[str, RunResult] | None = None,
    device: str | None = None,
    workers: int | None = None,
    callback: Callable[[RunResult], None] | None = None,
    reporter: Reporter | None = None,
) -> StudyResult:
    """Run what is not finished in `folder` yet, seed by seed so that all arms are equally far, and return what all of it came to.

    beside: the folder in which other studies lie, that of `folder` if nothing is said. known: what `read_known` gives, of the same images;
    those alike in every setting count where a run's score is all that is needed. callback: is given every run as it ends.
    Raises UserError before the first step where a library is missing, or images to measure by, or `folder` holds runs of other settings;
    and as training does.
    """
    if world_size() > 1:
        raise UserError("a study is run by one process; start it without torchrun")
    require("report", *REPORT_MODULES, "scipy", needed_for=f"the study {study.name}")
    if any(arm.recipe.asynchronous for arm in study.arms):
        require("ray", "ray", needed_for=f"the study {study.name}")
    _require_images(study, splits, source)
    splits = replace(splits, train=take_evenly(splits.train, budget.images))
    planned = plan_study(study, splits, source, folder, budget=budget, beside=beside, known=known, device=device)
    runs = []
    for number, run in enumerate(planned):
        planned[number] = checked(run)
        runs.append(_finish(planned[number], workers, reporter, may_die=study.measure in SCORED))
        if callback is not None:
            callback(runs[-1])
    result = _conclude(study, planned, runs, splits, folder, device=device, workers=workers)
    used = planned[0].setup.splits
    return replace(result, images=(len(used.train), len(used.test or used.val)))


def plan_study(
    study: Study,
    splits: Splits,
    source: str,
    folder: Path,
    *,
    budget: Budget,
    beside: Path | None = None,
    known: Mapping[str, RunResult] | None = None,
    device: str | None = None,
) -> list[PlannedRun]:
    """Return the runs of a study of these images, seed by seed, each as far as it is; parameters and errors as of `run_study`."""
    seeds = budget.seeds or study.seeds
    arms = [plan_runs(study, arm, splits, folder, seeds=seeds, epochs=budget.epochs, source=source, device=device) for arm in study.arms]
    planned = list(chain.from_iterable(zip(*arms, strict=True)))
    for run in planned:
        refuse_other_settings(run)
    refuse_other_results(planned, folder / "study.json")
    by_numbers = known or {} if study.measure in SCORED else {}  # which are not enough where models are needed, or looks
    return [shared(run, beside or folder.parent, by_numbers) for run in planned]


def _conclude(
    study: Study, planned: Sequence[PlannedRun], runs: Sequence[RunResult], splits: Splits, folder: Path, **settings: Any
) -> StudyResult:
    """Return what all runs came to. settings: device and workers."""
    costs = {arm.name: trace(replace(arm.network, aux=())).total for arm in study.arms}
    arms = tuple(_summarize(name, cost, [run for run in runs if run.arm == name]) for name, cost in costs.items())
    result = StudyResult(study, arms, tuple(runs), ())
    match study.measure:
        case "averages":
            return _with_averages(result, planned, splits, folder, **settings)
        case "smoothness":
            found = tuple(map(_looked_at, planned, runs))
            return replace(result, smoothness=found, verdicts=judge_smoothness(study, found))
        case "surface":
            return _with_surfaces(result, planned, splits)
        case _:
            return replace(result, verdicts=tuple(judge(study, runs, {name: cost.multiply_adds for name, cost in costs.items()})))


def _with_averages(result: StudyResult, planned: Sequence[PlannedRun], splits: Splits, folder: Path, **settings: Any) -> StudyResult:
    """Return the result with the table of models and crops. settings: device and workers."""
    samples = splits.test or splits.val
    models = [load_model(run.home / "best", calibrated=False) for run in planned]  # as the papers averaged them
    what = {"crops": result.study.crops, "images": planned[0].setup.to_dict()["images"]}
    how = {**settings, "device": pick_device(settings["device"])}
    rows = average(models, samples, splits.classes, folder / "predictions.parquet", **what, **how)
    return replace(result, verdicts=judge_averages(rows), averages=table(rows))


def _with_surfaces(result: StudyResult, planned: Sequence[PlannedRun], splits: Splits) -> StudyResult:
    """Return the result with the loss on planes, which is measured where it isn't kept from before."""
    ends = [surface.End(run.arm, run.setup.recipe.seed, run.setup, run.home, kept_by=run.folder) for run in planned]
    surfaces = surface.survey(ends, take_evenly(splits.train, surface.IMAGES))
    terrains = tuple(map(summarize_surface, surfaces))
    return replace(result, surfaces=surfaces, terrains=terrains, verdicts=judge_surfaces(result.study, terrains))


def _looked_at(run: PlannedRun, done: RunResult) -> Smoothness:
    """Return what the looks of a run came to; raises UserError where they are gone."""
    looks = read_looks(run.looks_file, known_by=run.looks_known_by)
    if not looks:
        raise UserError(f"{run.looks_file}, what was seen of a run that is through, is gone; delete {run.home} to run it again")
    with (run.home / "metrics.csv").open(encoding="utf-8", newline="") as file:
        training = [float(row["train_accuracy"]) for row in csv.DictReader(file)]
    return summarize_looks(done, looks, training)


def run_budgets(study: Study, splits: Splits, source: str, folder: Path, *, budget: Budget, **settings: Any) -> StudyResult:
    """Run a study as `run_study` does, and with half and double its epochs where the budget says so; settings: as there.

    These runs are in folder/epochs-N. A study that averages models has no other budgets.
    """
    result, *others = (
        run_study(study, splits, source, place, budget=part, beside=folder.parent, **settings)
        for place, part in list_budgets(study, folder, budget)
    )
    return replace(result, others=tuple(others))


def list_budgets(study: Study, folder: Path, budget: Budget) -> tuple[tuple[Path, Budget], ...]:
    """Return the folder of a study and its budget, and where the budget asks for them those of half and double the epochs."""
    parts = [(folder, replace(budget, half_and_double=False))]
    if budget.half_and_double and study.measure != "averages":
        for epochs in other_budgets(budget.epochs or max(arm.recipe.epochs for arm in study.arms)):
            parts.append((folder / f"epochs-{epochs}", replace(budget, epochs=epochs, half_and_double=False)))
    return tuple(parts)


def other_budgets(epochs: int) -> tuple[int, ...]:
    """Return half and double as many epochs; of one there is no half."""
    return (epochs // 2, 2 * epochs) if epochs > 1 else (2,)


def _require_images(study: Study, splits: Splits, source: str) -> None:
    """Raise UserError where what the study measures can't be had of these images, for there are none of the part that it takes."""
    measures = {study.measure, *map(study.measure_of, study.claims)}
    if "steps" in measures and any(arm.recipe.train_on_val for arm in study.arms):
        raise UserError(f"the study {study.name} measures on validation images, and train_on_val leaves none; leave it out")
    if "steps" in measures and not splits.val:
        part = "validation"
    elif "averages" in measures and not (splits.test or splits.val):
        part = "test or validation"
    else:
        return
    raise UserError(f"the study {study.name} measures on {part} images, and {source} has none; give more images of each class")


def take_evenly(samples: Sequence[Sample], count: int) -> tuple[Sample, ...]:
    """Return `count` samples, of each class its share, always the same ones; all where there are no more."""
    if len(samples) <= count:
        return tuple(samples)
    by_class: dict[int, list[tuple[str, Sample]]] = {}
    for name, sample in zip(name_within(samples), samples, strict=True):
        by_class.setdefault(sample.label, []).append((name, sample))
    shares = {"rest": 1 - count / len(samples)}
    kept = [divide(items, shares, key=lambda item: item[0], seed=0)["train"] for items in by_class.values()]
    return tuple(sample for part in kept for _, sample in part)


def _finish(run: PlannedRun, workers: int | None, reporter: Reporter | None, *, may_die: bool) -> RunResult:
    """Return what a run came to, which begins now, or goes on where it was killed, unless it is through.

    may_die: whether a loss that is no number any more is what it came to, and no error.
    """
    if run.told:
        return replace(run.told, arm=run.arm)
    accuracy = run.accuracy
    if accuracy is None and not (may_die and run.died_file.is_file()):
        claim(run)
        look = SmoothnessLook(run.setup, run.noise, run.looks_file, known_by=run.looks_known_by) if run.is_looked_at else None
        try:
            accuracy = fit(run.setup, run.folder, reporter=reporter, pace=Pace(workers=workers), goes_on=True, look=look).score.accuracy
        except DivergedError as error:
            if not may_die:
                raise
            write_whole(run.died_file, json.dumps({"why": str(error)}))
        except UserError as error:
            accuracy = run.accuracy
            if accuracy is None or isinstance(error, StoppedError):  # else another process has ended it, while this one waited for it
                raise
        shutil.rmtree(run.folder / "checkpoints", ignore_errors=True)  # no run of a study goes on for more epochs
    return _result(run, accuracy)


def _result(run: PlannedRun, accuracy: float | None) -> RunResult:
    """Return what a run came to; one that has no accuracy died, and guesses: in the end, and in the epochs that it has no row of."""
    metrics, setup = run.home / "metrics.csv", run.setup
    rows: list[dict[str, str]] = []
    if metrics.is_file():
        with metrics.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    commonest = _commonest_share(setup.splits)
    curve = [float(row["val_accuracy"]) for row in rows]
    curve += [commonest] * (setup.recipe.epochs - len(curve)) if accuracy is None else []
    found = commonest if accuracy is None else accuracy
    seconds = float(rows[-1]["seconds"]) if rows else 0.0
    died = accuracy is None or accuracy <= DEAD * commonest
    return RunResult(run.arm, setup.recipe.seed, found, tuple(curve), setup.steps_per_epoch, seconds, died, run.known_by)


def _commonest_share(splits: Splits) -> float:
    """Return the share of the commonest class among the images that accuracy is of."""
    labels = [sample.label for sample in splits.test or splits.val or splits.train]
    return max(Counter(labels).values(), default=0) / max(1, len(labels))


def _summarize(name: str, cost: Cost, runs: Sequence[RunResult]) -> ArmResult:
    seconds = sum(run.seconds for run in runs) / len(runs)
    return ArmResult(name, cost.parameters, cost.multiply_adds, interval([run.accuracy for run in runs]), seconds)
