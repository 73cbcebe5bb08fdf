"""study: from images and a comparison's name, or all, to tables, plots and verdicts; and the list of what can be compared."""

from __future__ import annotations

import logging
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.terminal import Column, err, print_json, print_table, say, tell, track
from inceptions.errors import StoppedError, UserError
from inceptions.studies.catalog import get_study, list_studies
from inceptions.studies.study import SCORED, change_recipes
from inceptions.training.recipe import Recipe
from inceptions.training.settings import change

if TYPE_CHECKING:
    from inceptions.data.splits import Splits
    from inceptions.studies.left import Left
    from inceptions.studies.run import Budget, StudyResult
    from inceptions.studies.study import Arm, Study
    from inceptions.studies.verdict import RunResult

log = logging.getLogger("inceptions")


def show_studies(*, as_json: bool) -> None:
    """Print every study with what it compares and how many runs of how many epochs it takes."""
    studies = list_studies()
    if as_json:
        print_json([_as_plain(study) for study in studies])
        return

    def cells(study: Study) -> tuple[str, ...]:
        arms = " | ".join(arm.name for arm in study.arms)
        return study.name, f"{study.title}: {arms}", study.source, str(study.seeds * len(study.arms)), _epochs(study)

    columns = (Column("study", "name"), Column("what is compared", "text"), Column("source", "text"), Column("runs"), Column("epochs"))
    print_table(columns, map(cells, studies))
    tell("Next: inceptions study NAME --data DATA, or all, with --dry-run to see how long it takes here")


def _as_plain(study: Study) -> dict[str, Any]:
    arms = [{"name": arm.name, "network": arm.network.name, "epochs": arm.recipe.epochs} for arm in study.arms]
    words = {"name": study.name, "title": study.title, "hypothesis": study.hypothesis, "source": study.source}
    return {**words, "measure": study.measure, "seeds": study.seeds, "arms": arms}


def _epochs(study: Study) -> str:
    return "/".join(str(number) for number in sorted({arm.recipe.epochs for arm in study.arms}))


def show_cost(
    name: str,
    data: str,
    *,
    changes: Sequence[str],
    known: Path | None,
    output: Path | None,
    split_seed: int,
    as_json: bool,
    device: str | None,
    **settings: Any,
) -> None:
    """Print how long what is left of each arm's runs takes on this machine, by two real steps of each, validation not counted.

    Of all studies, an arm that several have alike is told of once, for it runs once. Runs that are through take no time: in the output
    folder, or known from elsewhere; one that was killed counts whole. settings: seeds, epochs, half_and_double and images, as of the
    command. Of all, studies whose folders hold other runs are told and left out; they are named in the end, by a UserError.
    """
    studies, splits = _named(name, changes), _read(data, split_seed)
    with err.status("counting what is left…"):
        from inceptions.studies.known import read_known
        from inceptions.studies.run import Budget, take_evenly

        budget, told = Budget(**settings), read_known(known) if known else {}
        splits = replace(splits, train=take_evenly(splits.train, budget.images))
        left, missed = _count_left(studies, _folders(studies, output), splits, data, budget=budget, known=told, device=device)
    with track("taking two steps of each arm", len(left.arms)) as advance:
        rows, count = [], len(splits.train)
        for each in left.arms:
            rate = _images_per_second(each.arm, splits, data, device) if each.runs else math.inf
            title = f"{each.studies[0]}: {each.arm.name}" if len(studies) > 1 else each.arm.name
            seconds = each.epochs_in_all * count / rate
            rows.append({"arm": title, "runs": each.seeds, "epochs": each.epochs, "images": count, "seconds": seconds})
            advance(1)
    print_json(rows) if as_json else _tell_cost(rows)
    beside = [study.name for study in studies if study.measure in ("smoothness", "surface", "averages") and study.name in left.studies]
    if beside and not as_json:
        tell(f"What is measured beside training comes on top, in {' and '.join(beside)}: about as much again, of 144 crops twice as much")
    if missed:
        raise UserError(f"{len(missed)} of {len(studies)} studies are not counted: {', '.join(missed)}; what is above says why")


def _tell_cost(rows: Sequence[Mapping[str, Any]]) -> None:
    minutes = sum(row["seconds"] for row in rows) / 60
    numbers = ((row["arm"], *(f"{row[name]:,}" for name in ("runs", "epochs", "images")), f"{row['seconds'] / 60:.1f}") for row in rows)
    columns = (Column("arm", "text"), Column("runs"), Column("epochs"), Column("images"), Column("minutes"))
    print_table(columns, numbers, totals=[("total", "", "", "", f"{minutes:.1f}")])


def _named(name: str, changes: Sequence[str]) -> tuple[Study, ...]:
    """Return the study of that name, or all, with `field=value` lines applied to every arm's recipe.

    Of all, those whose arms differ in what is changed are told and left out. Raises UserError where that is the one, or none is left.
    """
    if name != "all":
        return (change_recipes(get_study(name), changes),)
    change(Recipe(), changes)  # what no recipe takes is no study's
    studies = []
    for study in list_studies():
        try:
            studies.append(change_recipes(study, changes))
        except UserError as error:
            log.warning("%s is left out: %s", study.name, error)
    if not studies:
        raise UserError("no study is left; change another field")
    return tuple(sorted(studies, key=lambda study: study.measure != "smoothness"))  # whose runs serve others, and not the other way round


def _count_left(
    studies: Sequence[Study], folders: Mapping[str, Path], splits: Splits, data: str, *, budget: Budget, **settings: Any
) -> tuple[Left, list[str]]:
    """Return what is left of studies, and the names of those whose folders hold other runs. settings: known and device."""
    from inceptions.studies.left import Left
    from inceptions.studies.run import list_budgets, plan_study

    left, missed = Left(), []
    for study in studies:
        folder = folders[study.name]
        settings["beside"] = folder.parent
        try:
            parts = list_budgets(study, folder, budget)
            left.add(study, [run for place, part in parts for run in plan_study(study, splits, data, place, budget=part, **settings)])
        except UserError as error:
            if len(studies) == 1:
                raise
            missed.append(study.name)
            log.warning("%s is left out: %s", study.name, error)
    return left, missed


def _folders(studies: Sequence[Study], output: Path | None) -> dict[str, Path]:
    """Return the folder of each study: `output` of one, and of several its own within that."""
    if output and len(studies) == 1:
        return {studies[0].name: output}
    return {study.name: output / study.name if output else Path("runs") / f"study-{study.name}" for study in studies}


def _images_per_second(arm: Arm, splits: Splits, data: str, device: str | None) -> float:
    from inceptions.training.loop import prepare
    from inceptions.training.plan import measure_plan

    return measure_plan(prepare(arm.network, splits, arm.recipe, source=data, device=device)).images_per_second


def _read(data: str, split_seed: int) -> Splits:
    from inceptions.data.folders import load_splits

    with err.status("reading the list of images…"):
        return load_splits(data, seed=split_seed)


def run_studies(
    name: str,
    data: str,
    *,
    changes: Sequence[str],
    known: Path | None,
    output: Path | None,
    split_seed: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Run a study, or all, and print the table and verdicts of each.

    changes: `field=value` lines, of every arm's recipe. known: a folder of studies whose runs count. settings: seeds, epochs,
    half_and_double, images, workers and device, as of the command. Of all, one that can't be run here, for want of a library or of images,
    is told and passed over, and one whose pages can't be written; they are named in the end, by a UserError.
    """
    studies, splits = _named(name, changes), _read(data, split_seed)
    with err.status("loading torch…"):
        from inceptions.studies.known import read_known
        from inceptions.studies.pages import as_markdown, as_plain, write_pages

    settings["known"] = read_known(known) if known else {}
    done, missed, folders = [], [], _folders(studies, output)
    for study in studies:
        folder = folders[study.name]
        try:
            result, words = _run_study(study, splits, data, folder, **settings)
            done.append(as_plain(result, **words))
            if not as_json:  # before it is written, for the disk may be full
                for line in as_markdown(result, **words).splitlines():
                    say(line)
            elif len(studies) == 1:
                print_json(done[0])
            write_pages(result, folder, **words)
            tell(f"  {folder / 'study.svg'}")
        except UserError as error:
            if len(studies) == 1 or isinstance(error, StoppedError):
                raise
            missed.append(study.name)
            log.warning("%s: %s", study.name, error)
    if len(studies) > 1:
        print_json(done) if as_json else _tell_all(done)
    if missed:
        raise UserError(f"{len(missed)} of {len(studies)} studies are not whole: {', '.join(missed)}; what is above says why")


def _tell_all(done: Sequence[dict[str, Any]]) -> None:
    """Print what each study came to, and the machine's time for all; a run that several share is counted once."""
    from inceptions.studies.known import machine_time

    rows = [(study["study"], ", ".join(verdict["word"] for verdict in study["verdicts"])) for study in done]
    print_table((Column("study", "name"), Column("verdicts", "text")), rows)
    say(machine_time(done))


def _run_study(
    study: Study,
    splits: Splits,
    data: str,
    folder: Path,
    *,
    seeds: int | None,
    epochs: int | None,
    images: int,
    workers: int | None,
    device: str | None,
    half_and_double: bool,
    known: Mapping[str, RunResult],
) -> tuple[StudyResult, dict[str, str]]:
    """Run a study and tell of every run; return what it came to, and the command and the images in words."""
    from inceptions.data.folders import name_source
    from inceptions.studies.run import Budget, run_budgets

    total, done = (seeds or study.seeds) * len(study.arms), 0
    tell(study.title, style="bold")
    tell(f"{study.hypothesis} ({study.source})")

    def count(run: RunResult) -> None:
        nonlocal done
        done += 1
        place = f"{done}/{total}" if done <= total else f"{done}"
        told = known.get(run.known_by) if study.measure in SCORED else None
        brought = ", as is known" if told and replace(told, arm=run.arm) == run else ""
        tell(f"{place}  {run.arm}, seed {run.seed}: {100 * run.accuracy:.2f} % after {run.seconds:.0f} s{brought}")
        if done == total and study.measure == "averages":
            tell("averaging, which takes many crops of each test image…")
        if done == total and study.measure == "surface":
            tell("measuring the loss on planes, for minutes; what is measured is kept…")

    budget = Budget(seeds, epochs, images, half_and_double)
    try:
        result = run_budgets(study, splits, data, folder, budget=budget, known=known, device=device, workers=workers, callback=count)
    except StoppedError:
        raise StoppedError(f"stopped; what is done is in {folder}, and the same command goes on from there") from None
    return result, {"command": shlex.join(["inceptions", *sys.argv[1:]]), "data": name_source(data)}
