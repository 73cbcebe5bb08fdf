"""train: from DATA to a run folder, told on the terminal as it goes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inceptions.cli.terminal import err, out, show_warnings
from inceptions.data.folders import load_splits
from inceptions.networks.registry import get_network
from inceptions.training.progress import EpochRow, Reporter, Result, Start

SECONDS_BETWEEN_LINES = 60  # in a log


def run_training(
    data: str, model: str, changes: dict[str, Any], *, image_size: int | None, output: Path | None, device: str | None, workers: int | None
) -> None:
    """Train `model` on `data` and print how it went."""
    show_warnings()
    network = get_network(model)
    with err.status("reading the list of images…"):
        splits = load_splits(data, seed=changes["seed"])
    with err.status("loading torch…"):
        from inceptions.training.loop import fit, prepare
        from inceptions.training.recipes import QUICK
        from inceptions.training.run_folder import new_run_path

    recipe = replace(QUICK, **changes)
    if not splits.mirror:
        recipe = replace(recipe, augment=replace(recipe.augment, flip=False))
    setup = prepare(network, splits, recipe, source=data, image_size=image_size, device=device)
    folder = output or new_run_path(Path("runs"), f"{network.name}-{Path(data).resolve().name if Path(data).exists() else data}")
    with Terminal() as terminal:
        result = fit(setup, folder, reporter=terminal, workers=workers)
    _conclude(result)


def _conclude(result: Result) -> None:
    score = result.score
    low, high = score.interval
    left_out = f" ({result.unreadable} unreadable files left out)" if result.unreadable else ""
    out.print(f"\n[bold]{result.on} accuracy {100 * score.accuracy:.2f} %[/bold] on {score.count} images{left_out}")
    out.print(f"  95 % interval {100 * low:.1f} to {100 * high:.1f} %; the model of epoch {result.best_epoch}")
    for name, what in (("best", "the model"), ("report.html", "how it did, with its mistakes"), ("metrics.csv", "every epoch")):
        if (result.folder / name).exists():
            out.print(f"  {result.folder / name}  [dim]{what}[/dim]", soft_wrap=True)
    out.print(f"Next: inceptions predict PICTURES --model {result.folder / 'best'}", soft_wrap=True)


class Terminal(Reporter):
    """A reporter with a progress bar and a line for each epoch."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(compact=True),
        )
        self.progress = Progress(*columns, console=err, transient=True, expand=True, disable=not err.is_terminal)

    def __enter__(self) -> Terminal:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def started(self, start: Start) -> None:
        """Print what is about to be trained."""
        self.epochs, self.steps, self.spoke = start.epochs, start.steps_per_epoch, time.monotonic()
        images = ", ".join(f"{count} {name}" for name, count in start.images.items())
        side = start.image_size
        err.print(f"[bold]{start.network}[/bold], {start.parameters:,} parameters, reads {side}x{side} pixels")
        err.print(f"{start.classes} classes: {images} images", soft_wrap=True)
        for note in start.notes:
            err.print(f"note: {note}", markup=False, soft_wrap=True)
        err.print(f"on {start.device} in {start.precision}; everything goes to {start.folder}", soft_wrap=True)
        self.bar = self.progress.add_task("epoch 1", total=start.epochs * start.steps_per_epoch, detail="")

    def stepped(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar; where there is none, as in a log, say once a minute how far it is."""
        if not err.is_terminal and time.monotonic() - self.spoke > SECONDS_BETWEEN_LINES:
            self.spoke = time.monotonic()
            err.print(f"epoch {epoch}/{self.epochs}, step {step}/{self.steps}: loss {loss:.3f}, {images_per_second:.0f} images/s")
        self.progress.update(
            self.bar,
            completed=(epoch - 1) * self.steps + step,
            description=f"epoch {epoch}/{self.epochs}",
            detail=f"loss {loss:.3f}  {images_per_second:.0f} images/s",
        )

    def finished_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Print the epoch's line."""
        place = f"epoch {row.epoch:>{len(str(self.epochs))}}/{self.epochs}"
        err.print(
            f"{place}  loss {row.train_loss:.3f}  validation {row.val_loss:.3f}, {100 * row.val_accuracy:5.2f} % right"
            f"  {row.images_per_second:.0f} images/s{'  best' if best else ''}",
            soft_wrap=True,
        )
