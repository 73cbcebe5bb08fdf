"""convert: other frameworks' files to model folders, with an account of every tensor; and model folders to their files."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.terminal import Column, err, print_json, print_table, say, tell
from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError
from inceptions.networks.registry import get_network
from inceptions.weights.card import read_card

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
    as_json: bool = False,
) -> None:
    """Convert a checkpoint file to a model folder and print what became of it.

    mean, std: of the pixels that it was trained on, where they are not those of its framework; one number, or one for each channel.
    """
    if output.exists():
        raise UserError(f"{output} exists already; give another --output, or delete it")
    if model is not None:
        get_network(model)  # a name that is none is told before a large file is read
    classes = _read_classes(classes_file)
    with err.status("reading the checkpoint…"):
        from inceptions.weights.convert import import_file, save_converted

        module, audit = import_file(source, framework=framework, network=model, no_top=no_top)
        audit = replace(audit, preprocess=_with_pixels(audit.preprocess, mean=mean, std=std))
    save_converted(module, audit, source, output, classes=classes)
    if as_json:
        print_json({"model": str(output), **_as_plain(audit)})
        return
    print_table((Column("what", "name"), Column("which", "text")), _rows(audit))
    tell(f"wrote {output}")


def run_export(source: Path, output: Path, *, framework: str, as_json: bool = False) -> None:
    """Write a model folder's weights as another framework's file."""
    if output.exists():
        raise UserError(f"{output} exists already; give another file, or delete it")
    from inceptions.weights.writers import write_tensors

    count, temperature = write_tensors(source, output, framework=framework), read_card(source).temperature
    if as_json:
        print_json({"file": str(output), "framework": framework, "tensors": count, "temperature": temperature})
        return
    say(f"wrote {count} tensors as {framework}'s in {output}")
    if temperature != 1:
        tell(f"note: the weights are as they were trained; divide logits by {temperature:g}, the model's temperature, before the softmax")


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
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--classes {path} can't be read ({error}); give a text file with a class name on each line") from None


def _count_kinds(audit: Audit) -> dict[str, int]:
    return dict(Counter(audit.transformed.values()))


def _as_plain(audit: Audit) -> dict[str, Any]:
    """Return the account in JSON's types: tensors by what became of them, and what was decided."""
    return {
        "network": audit.network,
        "framework": audit.framework,
        "classes": audit.classes,
        "matched": len(audit.matched),
        "transformed": _count_kinds(audit),
        "filled": audit.filled,
        "ignored": list(audit.ignored),
        "numerics": asdict(audit.numerics),
        "numerics_because": audit.numerics_because,
        "preprocess": audit.preprocess.to_dict(),
        "notes": list(audit.notes),
    }


def _rows(audit: Audit) -> list[tuple[str, str]]:
    pixels = audit.preprocess
    changed = ", ".join(f"{count} {what}" for what, count in _count_kinds(audit).items())
    seen = f"{pixels.image_size}x{pixels.image_size}, {pixels.resize}, mean {pixels.mean}, std {pixels.std}, {pixels.channel_order}"
    return [
        ("network", f"{audit.network}, from {audit.framework}"),
        ("tensors", f"{len(audit.matched)} as they are; {changed or 'none'} transformed; {len(audit.filled)} filled"),
        ("left aside", f"{len(audit.ignored)} that are no weights" if audit.ignored else "none"),
        ("classes", str(audit.classes) if audit.classes else "none: ends in its features"),
        ("numerics", f"epsilon {audit.numerics.bn_epsilon:g}; {audit.numerics_because}"),
        ("pixels", seen),
        *(("note", note) for note in audit.notes),
    ]
