"""convert: other frameworks' files to model folders, with an account of every tensor; and model folders to their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from inceptions.cli.terminal import err, out, show_warnings
from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError

if TYPE_CHECKING:
    from inceptions.weights.importer import Audit


def run_import(
    source: Path,
    output: Path,
    *,
    model: str | None,
    framework: str | None,
    no_top: bool,
    classes_file: Path | None,
    mean: str | None = None,
    std: str | None = None,
) -> None:
    """Convert a checkpoint file to a model folder and print what became of it.

    mean, std: of the pixels that it was trained on, where they are not those of its framework; one number, or one for each channel.
    """
    show_warnings()
    if output.exists():
        raise UserError(f"{output} exists already; give another --output, or delete it")
    with err.status("reading the checkpoint…"):
        from inceptions.weights.convert import import_file, save_converted

        module, audit = import_file(source, framework=framework, network=model, no_top=no_top)
        audit = replace(audit, preprocess=_with_pixels(audit.preprocess, mean=mean, std=std))
    _print(audit)
    save_converted(module, audit, source, output, classes=_read_classes(classes_file))
    out.print(f"wrote {output}", soft_wrap=True)


def run_export(source: Path, output: Path, *, framework: str) -> None:
    """Write a model folder's weights as another framework's file."""
    show_warnings()
    if output.exists():
        raise UserError(f"{output} exists already; give another file, or delete it")
    from inceptions.weights.writers import write_tensors

    count = write_tensors(source, output, framework=framework)
    out.print(f"wrote {count} tensors as {framework}'s in {output}", soft_wrap=True)


def _with_pixels(preprocess: Preprocess, **given: str | None) -> Preprocess:
    changes = {name: _read_numbers(name, text, preprocess.channels) for name, text in given.items() if text is not None}
    return replace(preprocess, **changes)


def _read_numbers(name: str, text: str, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, channels):
        raise UserError(f"--{name} is {text!r}; give one number of 0 to 255, or {channels} with commas between: 127.5 or 124,117,104")
    return numbers if len(numbers) == channels else channels * numbers


def _read_classes(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path} can't be read ({error}); give a text file with a class name on each line") from None


def _print(audit: Audit) -> None:
    pixels = audit.preprocess
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    kinds: dict[str, int] = {}
    for what in audit.transformed.values():
        kinds[what] = kinds.get(what, 0) + 1
    changed = ", ".join(f"{count} {what}" for what, count in kinds.items())
    rows = (
        ("network", f"{audit.network}, from {audit.framework}"),
        ("tensors", f"{len(audit.matched)} as they are; {changed or 'none'} transformed; {len(audit.filled)} filled"),
        ("left aside", f"{len(audit.ignored)} that are no weights" if audit.ignored else "none"),
        ("classes", str(audit.classes) if audit.classes else "none: ends in its features"),
        ("numerics", f"epsilon {audit.numerics.bn_epsilon:g}; {audit.numerics_because}"),
        (
            "pixels",
            f"{pixels.image_size}x{pixels.image_size}, {pixels.resize}, mean {pixels.mean}, std {pixels.std}, {pixels.channel_order}",
        ),
        *(("note", note) for note in audit.notes),
    )
    for name, text in rows:
        table.add_row(name, text)
    out.print(table)
