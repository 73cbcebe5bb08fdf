"""train: from DATA to a run folder, told on the terminal as it goes."""

from __future__ import annotations

import logging
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from inceptions.cli.find_lr import run_range_test
from inceptions.cli.terminal import err, say, tell
from inceptions.data.folders import name_source
from inceptions.errors import UserError
from inceptions.files import new_path
from inceptions.networks.registry import get_network
from inceptions.training.progress import EpochRow, Pace, Reporter, Result, Start, peak_memory
from inceptions.weights.card import read_card

if TYPE_CHECKING:
    from inceptions.evaluation.report import HeatMap
    from inceptions.training.plan import Plan
    from inceptions.training.recipe import Recipe
    from inceptions.training.setup import Setup  # which imports torch
    from inceptions.weights.folder import LoadedModel

log = logging.getLogger("inceptions")

SECONDS_BETWEEN_LINES = 60  # in a log
LINES_BETWEEN_TITLES = 20
FEW_IMAGES = 5000  # to train on; with fewer, weights that were trained on other images mostly make the better model


def run_training(
    data: str,
    *,
    model: str | None,
    recipe: str,
    changes: Sequence[str],
    weights: str | None,
    image_size: int | None,
    channels: int | None,
    output: Path | None,
    device: str | None,
    log_with: Sequence[str],
    pace: Pace,
    finds_batch: bool,
    instead: Literal["plan", "find_lr"] | None,
) -> None:
    """Train and print how it went.

    model: None is the recipe's. changes: lines FIELD=VALUE. finds_batch: as many images a step as memory holds. instead of training: "plan"
    prints what would be trained and what it would cost, "find_lr" looks for the learning rate.
    """
    if output is None and instead != "find_lr" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("several processes write one run folder, which each of them must know; give --output FOLDER")
    _silence_all_but_the_first()
    if instead == "find_lr" and _is_given("lr", changes):
        log.warning("the learning rate that is given changes nothing: --find-lr tries others")
    chosen = _change_recipe(recipe, changes, finds_batch=finds_batch, workers=pace.workers)
    network = get_network(model or chosen.model)
    with err.status("loading torch…"):
        from inceptions.training.loop import fit, prepare
        from inceptions.training.setup import divide_images

    with err.status("reading the list of images…"):
        splits = divide_images(data, chosen, None if _is_given("split_seed", changes) else weights)
    setup = prepare(
        network, splits, chosen, source=data, image_size=image_size, channels=channels, device=device, weights=weights, log_with=log_with
    )
    if model and setup.network.name != network.name:
        raise UserError(f"--weights {weights} holds {setup.network.name}, not {network.name}; leave out --model")
    setup = _fit_batch(setup) if finds_batch else setup
    setup = replace(setup, notes=(*setup.notes, *_advise_weights(setup, data)))
    if instead == "plan":
        show_plan(setup, workers=pace.workers)
        return
    if instead == "find_lr":
        given = {"--model": model, "--image-size": image_size, "--channels": channels, "--weights": weights, "--device": device}
        given["--recipe"] = None if recipe == ("finetune" if weights else "quick") else recipe
        sized = [f"batch_size={setup.recipe.batch_size}"] if finds_batch else []
        command = ["inceptions", "train", data, *_options(given, [*changes, *sized], log_with, pace)]
        run_range_test(setup, output, workers=pace.workers, command=command)
        return
    folder = output or new_path(Path("runs"), f"{setup.network.name}-{name_source(data)}")
    with Terminal() as terminal:
        result = fit(setup, folder, reporter=terminal, pace=replace(pace, workers=None) if chosen.asynchronous else pace)
    _conclude(result)


def heat_maps() -> Callable[[LoadedModel], HeatMap]:
    """Return what explains the mistakes of a trained model, for the report; UserError where a library for it is missing."""
    from inceptions.extras import REPORT_MODULES, require

    require("report", *REPORT_MODULES, needed_for="train --explain")
    require("explain", "captum", needed_for="train --explain")

    def heat_map_of(model: LoadedModel) -> HeatMap:
        from inceptions.explain import mistakes

        return mistakes.heat_map_of(model)

    return heat_map_of


def _change_recipe(name: str, changes: Sequence[str], *, finds_batch: bool, workers: int | None) -> Recipe:
    from inceptions.training.recipes import get_recipe
    from inceptions.training.settings import change

    if finds_batch and _is_given("batch_size", changes):
        raise UserError("--batch-size auto finds the size that --set batch_size=N gives; leave one of them out")
    recipe = change(get_recipe(name), changes)
    return replace(recipe, asynchronous=workers) if recipe.asynchronous and workers else recipe


def _is_given(field: str, changes: Sequence[str]) -> bool:
    return any(line.partition("=")[0].strip() == field for line in changes)


def _options(given: Mapping[str, object], changes: Sequence[str], log_with: Sequence[str], pace: Pace) -> Iterator[str]:
    """Yield the options of a command again that were given, but for the learning rate and the place of what comes out."""
    minutes = None if pace.minutes == Pace().minutes else pace.minutes
    for name, value in {**given, "--workers": pace.workers, "--checkpoint-minutes": minutes, "--address": pace.address}.items():
        if value is not None:
            yield from (name, str(value))
    for line in changes:
        if not _is_given("lr", [line]):
            yield from ("--set", line)
    for tracker in log_with:
        yield from ("--log-with", tracker)
    if pace.explain:
        yield "--explain"


def resume_training(folder: Path, *, data: str | None, epochs: int | None, pace: Pace) -> None:
    """Go on with a run, and print how it went. data: where the images are now, if they have moved. epochs: of a longer run, in all."""
    _silence_all_but_the_first()
    with err.status("loading torch…"):
        from inceptions.training.loop import resume

    with Terminal() as terminal:
        result = resume(folder, data=data, epochs=epochs, reporter=terminal, pace=pace)
    _conclude(result)


def _fit_batch(setup: Setup) -> Setup:
    from inceptions.training.plan import STEPS, find_batch_size

    with err.status("finding the largest batch that fits…"):
        size = find_batch_size(setup)
    count = len(setup.splits.train)
    few = f"with twice as many, an epoch of {count:,} images would have fewer than {STEPS} steps"
    full = f"twice as many are too many for the memory of {setup.device}"
    note = f"batch size {size}: {few if 2 * size > count // STEPS else full}"
    return replace(setup, recipe=replace(setup.recipe, batch_size=size), notes=(*setup.notes, note))


def _advise_weights(setup: Setup, data: str) -> Iterator[str]:
    """Say what trained weights would give, where there are few images and the network has some."""
    from inceptions.weights.tags import best_tag

    count, tag = len(setup.splits.train), best_tag(setup.network.name)
    if setup.weights is None and tag and count < FEW_IMAGES:
        yield (
            f"{count:,} images are few to learn everything from, for the weights begin at random; trained ones know edges and textures "
            f"already: inceptions train {shlex.quote(data)} --weights {tag}"
        )


def show_plan(setup: Setup, *, workers: int | None = None) -> None:
    """Print the resolved recipe, the network's cost, and the memory and time that two real steps and some reading foretell.

    workers: processes that read; None lets the machine decide.
    """
    import yaml

    from inceptions.training.plan import measure_plan
    from inceptions.training.report import settings_of

    with err.status("taking two steps, reading some images…"):
        plan = measure_plan(setup, workers=workers)
    if not is_first_process():
        return
    for line in yaml.safe_dump(settings_of(setup), sort_keys=False, allow_unicode=True).splitlines():
        say(line)
    say(f"cost: {plan.parameters:,} parameters, {plan.multiply_adds / 1e6:,.1f} M multiply-adds an image, forward")
    say(f"memory: {plan.memory / 2**20:,.0f} MiB at the highest, in the last two steps")
    if plan.read_images_per_second is not None:
        say(_compare_speeds(plan))
    minutes = round(plan.seconds / 60)
    shared = "; longer, as steps and reading share the cores" if plan.readers and setup.device.type == "cpu" else ""
    duration = f"all epochs in about {minutes // 60} h {minutes % 60:02} min, without validation"
    say(f"time: {plan.images_per_second:,.0f} images/s; {duration}{shared}")


def _compare_speeds(plan: Plan) -> str:
    steps, reading = f"{plan.step_images_per_second:,.0f} images/s in steps", f"{plan.read_images_per_second:,.0f} in reading"
    slower = "reading is slower" if plan.is_slower_to_read else "the step is slower"
    if not plan.readers:
        return f"speed: {steps}, {reading}, which is done in between; {slower}"
    return f"speed: {steps}, {reading} by {plan.readers} process{'es' if plan.readers > 1 else ''}, each alone; {slower}"


def is_first_process() -> bool:
    """Return whether this is the process that prints and writes, of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _silence_all_but_the_first() -> None:
    if not is_first_process():
        logging.getLogger("inceptions").setLevel(logging.CRITICAL)  # the first says the same


def _conclude(result: Result) -> None:
    if not is_first_process():
        return
    score = result.score
    accuracy = score.interval
    left_out = f" ({result.unreadable} unreadable files left out)" if result.unreadable else ""
    tell()
    say(f"{result.on} accuracy {100 * accuracy.value:.2f} % on {score.count} images{left_out}", style="bold")
    say(f"  95 % interval {100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %; the model of epoch {result.best_epoch}")
    _tell_confidence(result)
    files = (("best", "the model"), ("report.html", "how it did, with its mistakes"), ("metrics.csv", "every epoch"))
    for name, what in (*files, ("tensorboard", "every epoch and step, for tensorboard --logdir")):
        if (result.folder / name).exists():
            say(f"  {result.folder / name}  {what}")
    tell(f"Next: inceptions predict IMAGES --model {shlex.quote(str(result.folder / 'best'))}")


def _tell_confidence(result: Result) -> None:
    """Say how far the model's confidence is from its accuracy, and was before its logits were divided by a temperature."""
    from inceptions.training.report import NAMES

    part = next(part for part, name in NAMES.items() if name == result.on)
    card = read_card(result.folder / "best")
    errors = [card.metrics.get(f"{part}_calibration_error{of}") for of in ("", "_undivided")]
    if errors[0] is not None and errors[1] is not None:
        say(f"  calibration error {100 * errors[0]:.1f} %, and {100 * errors[1]:.1f} % without its temperature of {card.temperature:.3g}")


class Terminal(Reporter):
    """A reporter with a progress bar and a line for each epoch."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),  # what the others leave
            TextColumn("{task.percentage:.0f} %"),  # the number of steps has no room in 80 columns
            TextColumn("{task.fields[detail]}", markup=False),
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
        self.validates, self.columns, self.told = bool(start.images["val"]), tuple(_columns(start)), 0
        self.device, self.memory, self.looked = start.device, "", -math.inf
        self.progress.disable = self.progress.disable or not is_first_process()
        self.bar = self.progress.add_task("epoch 1", total=start.epochs * start.steps_per_epoch, detail="")
        if not is_first_process():
            return
        images = ", ".join(f"{count} {name}" for name, count in start.images.items())
        side = start.image_size
        tell(f"{start.network}, {start.parameters:,} parameters, reads {side}x{side} pixels", style="bold")
        tell(f"{start.classes} classes: {images} images")
        for note in start.notes:
            tell(f"note: {note}")
        if start.epoch > 1 or start.step:
            tell(f"going on at epoch {start.epoch}, after step {start.step}")
        tell(f"on {start.device} in {start.precision}; everything goes to {start.folder}")

    def stepped(self, epoch: int, step: int, loss: float, images_per_second: float, lr: float) -> None:
        """Move the bar; where there is none, as in a log, say once a minute how far it is."""
        if is_first_process() and not err.is_terminal and time.monotonic() - self.spoke > SECONDS_BETWEEN_LINES:
            self.spoke = time.monotonic()
            done = f"epoch {epoch}/{self.epochs}, step {step}/{self.steps}"
            tell(f"{done}: loss {loss:.3f}, lr {lr:.3g}, {images_per_second:.0f} images/s, {self._memory()}")
        self.progress.update(
            self.bar,
            completed=(epoch - 1) * self.steps + step,
            description=f"epoch {epoch}/{self.epochs}",
            detail=f"loss {loss:.3f}  lr {lr:.2g}  {images_per_second:.0f} img/s  {self._memory()}",
        )

    def finished_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Print the epoch's line, and what its columns are every so often."""
        if not is_first_process():
            return
        if self.told % LINES_BETWEEN_TITLES == 0:
            tell("  ".join(title.rjust(width) for title, width, _ in self.columns), style="dim")
        self.told += 1
        line = "  ".join(value(row).rjust(width) for _, width, value in self.columns)
        tell(f"{line}  best" if best and self.validates else line)  # without validation images each is, as the last of them counts

    def _memory(self) -> str:
        """Return the accelerator's memory that was held at the most, or what this process holds of the machine's; a second old at most."""
        if time.monotonic() - self.looked > 1:
            held = peak_memory(self.device)
            self.memory, self.looked = f"{(_resident() if held is None else held) / 2**30:.1f} GiB", time.monotonic()
        return self.memory


def _columns(start: Start) -> Iterator[tuple[str, int, Callable[[EpochRow], str]]]:
    """Yield title, width and value of what is told of each epoch."""
    yield "epoch", max(5, 2 * len(str(start.epochs)) + 1), lambda row: f"{row.epoch}/{start.epochs}"
    yield "loss", 6, lambda row: f"{row.train_loss:.3f}"
    if start.images["val"]:
        yield "val loss", 8, lambda row: f"{row.val_loss:.3f}"
        yield "val right", 9, lambda row: f"{100 * row.val_accuracy:.2f} %"
        if start.classes > 5:
            yield "in top 5", 8, lambda row: f"{100 * row.val_top5:.2f} %"
    else:
        yield "right", 8, lambda row: f"{100 * row.train_accuracy:.2f} %"
    yield "lr", 8, lambda row: f"{row.lr:.3g}"
    yield "images/s", 8, lambda row: f"{row.images_per_second:.0f}"
    if peak_memory(start.device) is not None:
        yield "GiB", 5, lambda _: f"{(peak_memory(start.device) or 0) / 2**30:.1f}"


def _resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system doesn't say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
