"""study: from images and a comparison's name to a table, a plot and a verdict; and the list of what can be compared."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.progress import track
from rich.table import Table

from inceptions.cli.terminal import err, out, show_warnings
from inceptions.errors import StoppedError

if TYPE_CHECKING:
    from inceptions.studies.verdict import Finished


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of a study."""

    name: str
    data: str
    seeds: int | None
    epochs: int | None
    split_seed: int
    images: int
    output: Path | None
    device: str | None
    workers: int | None


def show_studies() -> None:
    """Print every study with what it compares and how long it takes on this machine, by two real steps of each arm."""
    show_warnings()
    from inceptions.data.folders import load_splits
    from inceptions.studies.catalog import list_studies
    from inceptions.studies.run import Budget
    from inceptions.training.loop import prepare
    from inceptions.training.plan import measure_plan

    splits, budget = load_splits("digits"), Budget()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("study", no_wrap=True)
    table.add_column("what is compared")
    table.add_column("source")
    table.add_column("here", justify="right", no_wrap=True)
    for study in track(
        list_studies(), description="taking two steps of each arm", console=err, transient=True, disable=not err.is_terminal
    ):
        seconds = 0.0
        for arm in study.arms:
            plan = measure_plan(prepare(arm.network, splits, arm.recipe, source="digits"))
            seconds += study.seeds * arm.recipe.epochs * budget.images / plan.images_per_second
        table.add_row(study.name, f"{study.title}: {' | '.join(arm.name for arm in study.arms)}", study.source, f"{seconds / 60:.0f} min")
    out.print(table)
    out.print(
        f"for the studies' seeds and epochs, and {budget.images:,} images, validation not counted. Next: inceptions study NAME --data DATA",
        soft_wrap=True,
    )


def run_study_command(asked: Asked) -> None:
    """Run a study and print its table and verdicts."""
    show_warnings()
    with err.status("loading torch…"):
        from inceptions.data.folders import load_splits, name_source
        from inceptions.studies.catalog import get_study
        from inceptions.studies.pages import as_markdown, write_pages
        from inceptions.studies.run import Budget, run_study

    study = get_study(asked.name)
    splits = load_splits(asked.data, seed=asked.split_seed)
    folder = asked.output or Path("runs") / f"study-{study.name}"
    total, done = (asked.seeds or study.seeds) * len(study.arms), 0
    err.print(f"[bold]{study.title}[/bold]\n{study.hypothesis} ({study.source})", soft_wrap=True)

    def count(run: Finished) -> None:
        nonlocal done
        done += 1
        accuracy = f"{100 * run.accuracy:.2f} %"
        err.print(f"{done}/{total}  {run.arm}, seed {run.seed}: {accuracy} after {run.seconds:.0f} s", markup=False, soft_wrap=True)
        if done == total and study.measure == "averages":
            err.print("averaging, which takes many crops of each test image…")

    budget = Budget(asked.seeds, asked.epochs, asked.images)
    try:
        result = run_study(study, splits, asked.data, folder, budget=budget, device=asked.device, workers=asked.workers, callback=count)
    except StoppedError:
        raise StoppedError(f"stopped; what is done is in {folder}, and the same command goes on from there") from None
    command = shlex.join(["inceptions", *sys.argv[1:]])
    data = name_source(asked.data)
    out.print(as_markdown(result, command=command, data=data), markup=False, soft_wrap=True)  # first: the disk may be full
    write_pages(result, folder, command=command, data=data)
    out.print(f"  {folder / 'study.svg'}", soft_wrap=True)
