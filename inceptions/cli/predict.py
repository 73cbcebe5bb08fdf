"""predict: from image files to a table on the terminal and a CSV file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.progress import track
from rich.table import Table

from inceptions.cli.terminal import Download, err, out, show_warnings
from inceptions.data.folders import find_images

if TYPE_CHECKING:
    from inceptions.inference.predict import Prediction

SHOWN = 20


def run_prediction(
    source: str, model: str, *, output: Path | None, top_k: int, batch_size: int, on_error: Literal["fail", "skip"], device: str | None
) -> None:
    """Predict every image of `source` and print, and perhaps write, the classes."""
    show_warnings()
    paths = find_images(source)
    with err.status("loading torch…"):
        from inceptions.devices import pick_device
        from inceptions.inference.predict import predict, write_csv
        from inceptions.weights.published import load_model
    with Download(model) as download:
        loaded = load_model(model, progress=download.step)
    found = predict(loaded, paths, top_k=top_k, batch_size=batch_size, on_error=on_error, device=pick_device(device))
    shown = track(found, description="predicting", total=len(paths), console=err, transient=True, disable=not err.is_terminal)
    predictions = list(shown)
    top_k = min(top_k, len(loaded.card.classes))
    if output is not None:
        write_csv(predictions, output, top_k=top_k)
    _print(predictions, output)


def _print(predictions: list[Prediction], output: Path | None) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("class")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("then", style="dim")
    for item in predictions[:SHOWN]:
        if item.error:
            table.add_row(str(item.path), "[red]unreadable[/red]", "", "")
            continue
        then = ", ".join(f"{name} {100 * p:.1f}" for name, p in zip(item.classes[1:4], item.probabilities[1:4], strict=True))
        table.add_row(str(item.path), item.classes[0], f"{100 * item.probabilities[0]:.1f} %", then)
    out.print(table)
    readable = [item for item in predictions if not item.error]
    for item in predictions:
        if item.error:
            err.print(f"warning: left out: {item.path}: {item.error}", style="yellow", markup=False, soft_wrap=True)
    counts = Counter(item.classes[0] for item in readable).most_common(10)
    out.print(f"{len(readable)} images: {', '.join(f'{count} {name}' for name, count in counts)}", markup=False)
    if output is not None:
        out.print(f"all of them are in {output}", soft_wrap=True)
    elif len(predictions) > SHOWN:
        out.print(f"the first {SHOWN} are shown; --output FILE.csv writes all")
