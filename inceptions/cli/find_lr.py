"""train --find-lr: from a run that is set up to its loss at rising learning rates, and the command that trains it at one of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inceptions.cli.terminal import say, tell, track
from inceptions.data.folders import name_source
from inceptions.extras import missing_modules
from inceptions.files import new_folder, new_path

if TYPE_CHECKING:
    from inceptions.training.range_test import LrRange
    from inceptions.training.setup import Setup  # which imports torch


def run_range_test(setup: Setup, output: Path | None, *, workers: int | None, command: Sequence[str]) -> None:
    """Take the steps, write their plot and numbers, print what they suggest. command: what trains this run, but for its learning rate."""
    from inceptions.training.range_test import STEPS, check_setup, find_lr, write_range

    check_setup(setup)
    for note in setup.notes:
        tell(f"note: {note}")
    folder = output or new_path(Path("runs"), f"lr-{setup.network.name}-{name_source(setup.source)}")
    with new_folder(folder):
        with track("trying learning rates", STEPS) as advance:
            found = find_lr(setup, workers=workers, stepped=advance)
        written = write_range(found, folder)
    for line in _describe(found, setup.peak_lr):
        say(line)
    for path in written:
        say(f"  {path}  {'the loss at each, drawn' if path.suffix == '.png' else 'the same in numbers'}")
    if missing_modules("matplotlib"):
        tell("note: it is not drawn, for matplotlib is not installed; pip install 'inceptions[report]'")
    if found.suggested is not None:
        tell(f"Next: {shlex.join([*command, '--lr', f'{found.suggested:.2g}'])}")


def _describe(found: LrRange, own: float) -> Iterator[str]:
    """Yield what was tried and what it suggests. own: the rate of the run as it is."""
    if not found.rates:
        yield "the loss is no number at the first step already; look at the images and the recipe"
        return
    ended = "and the loss diverged" if found.has_diverged else "and the loss did not diverge"
    yield f"{len(found.rates)} steps at learning rates from {found.rates[0]:.2g} to {found.rates[-1]:.2g}, {ended}"
    if found.suggested is None:
        yield f"no rate is suggested, for the loss never fell; the run as it is has {own:.2g}"
        return
    falls = "" if found.steepest is None else f"it falls most steeply at {found.steepest:.2g}"
    lowest = "" if found.tenth_of_lowest is None else f"a tenth of where it is lowest is {found.tenth_of_lowest:.2g}"
    rules = f"{falls}{' and ' if falls and lowest else ''}{lowest}"
    yield f"suggested: {found.suggested:.2g}, the lower of two rules ({rules}); the run as it is has {own:.2g}"
