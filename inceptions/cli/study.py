"""study: from images and a comparison's name to a table, a plot and a verdict; and the list of what can be compared."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.terminal import Column, err, print_json, print_table, say, tell, track
from inceptions.errors import StoppedError
from inceptions.studies.catalog import get_study, list_studies

if TYPE_CHECKING:
    from inceptions.data.splits import Splits
    from inceptions.studies.study import Arm, Study
    from inceptions.studies.verdict import RunResult


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
    tell("Next: inceptions study NAME --data DATA, with --dry-run to see how long it takes here")


def _as_plain(study: Study) -> dict[str, Any]:
    arms = [{"name": arm.name, "network": arm.network.name, "epochs": arm.recipe.epochs} for arm in study.arms]
    words = {"name": study.name, "title": study.title, "hypothesis": study.hypothesis, "source": study.source}
    return {**words, "measure": study.measure, "seeds": study.seeds, "arms": arms}


def _epochs(study: Study) -> str:
    return "/".join(str(number) for number in sorted({arm.recipe.epochs for arm in study.arms}))


def show_cost(
    name: str, data: str, *, seeds: int | None, epochs: int | None, split_seed: int, images: int, device: str | None, as_json: bool
) -> None:
    """Print how long each arm's runs take on this machine, by two real steps of each, validation not counted."""
    study, splits = get_study(name), _read(data, split_seed)
    with err.status("loading torch…"):
        from inceptions.studies.run import take_evenly

    count = len(take_evenly(splits.train, images))
    with track("taking two steps of each arm", len(study.arms)) as advance:
        rows = []
        for arm in study.arms:
            runs, times = seeds or study.seeds, epochs or arm.recipe.epochs
            rate = _images_per_second(arm, splits, data, device)
            rows.append({"arm": arm.name, "runs": runs, "epochs": times, "images": count, "seconds": runs * times * count / rate})
            advance(1)
    if as_json:
        print_json(rows)
        return
    minutes = sum(row["seconds"] for row in rows) / 60
    numbers = ((row["arm"], *(f"{row[name]:,}" for name in ("runs", "epochs", "images")), f"{row['seconds'] / 60:.1f}") for row in rows)
    columns = (Column("arm", "text"), Column("runs"), Column("epochs"), Column("images"), Column("minutes"))
    print_table(columns, numbers, totals=[("total", "", "", "", f"{minutes:.1f}")])
    if study.measure in ("smoothness", "surface"):
        tell("What is measured beside training comes on top: about as much again")


def _images_per_second(arm: Arm, splits: Splits, data: str, device: str | None) -> float:
    from inceptions.training.loop import prepare
    from inceptions.training.plan import measure_plan

    return measure_plan(prepare(arm.network, splits, arm.recipe, source=data, device=device)).images_per_second


def _read(data: str, split_seed: int) -> Splits:
    from inceptions.data.folders import load_splits

    with err.status("reading the list of images…"):
        return load_splits(data, seed=split_seed)


def run_study_command(
    name: str,
    data: str,
    *,
    seeds: int | None,
    epochs: int | None,
    split_seed: int,
    images: int,
    output: Path | None,
    workers: int | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Run a study and print its table and verdicts."""
    study, splits = get_study(name), _read(data, split_seed)
    with err.status("loading torch…"):
        from inceptions.data.folders import name_source
        from inceptions.studies.pages import as_markdown, as_plain, write_pages
        from inceptions.studies.run import Budget, run_study

    folder = output or Path("runs") / f"study-{study.name}"
    total, done = (seeds or study.seeds) * len(study.arms), 0
    tell(study.title, style="bold")
    tell(f"{study.hypothesis} ({study.source})")

    def count(run: RunResult) -> None:
        nonlocal done
        done += 1
        tell(f"{done}/{total}  {run.arm}, seed {run.seed}: {100 * run.accuracy:.2f} % after {run.seconds:.0f} s")
        if done == total and study.measure == "averages":
            tell("averaging, which takes many crops of each test image…")
        if done == total and study.measure == "surface":
            tell("measuring the loss on planes, for minutes; what is measured is kept…")

    budget = Budget(seeds, epochs, images)
    try:
        result = run_study(study, splits, data, folder, budget=budget, device=device, workers=workers, callback=count)
    except StoppedError:
        raise StoppedError(f"stopped; what is done is in {folder}, and the same command goes on from there") from None
    command = shlex.join(["inceptions", *sys.argv[1:]])
    source = name_source(data)
    if as_json:
        print_json(as_plain(result, command=command, data=source))
    else:  # before it is written, for the disk may be full
        for line in as_markdown(result, command=command, data=source).splitlines():
            say(line)
    write_pages(result, folder, command=command, data=source)
    tell(f"  {folder / 'study.svg'}")
