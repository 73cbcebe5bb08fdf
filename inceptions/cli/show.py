"""list, describe, draw: the tables and pictures, without torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from inceptions.cli.terminal import out
from inceptions.errors import UserError
from inceptions.files import write_whole
from inceptions.networks import reshape
from inceptions.networks.describe import describe, summarize
from inceptions.networks.registry import ALIASES, NETWORKS, get_network
from inceptions.weights.card import ModelCard, read_card
from inceptions.weights.shipped import shipped_models


def show_list(*, as_json: bool) -> None:
    """Print every network, a line each."""
    rows = [summarize(network) for network in NETWORKS.values()]
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    for column in ("pixels", "params", "mult-adds"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        numbers = (str(row["image_size"]), f"{row['parameters'] / 1e6:.1f} M", f"{row['multiply_adds'] / 1e9:.2f} G")
        table.add_row(row["name"], row["title"], *numbers)
    out.print(table)
    out.print(f"Also known as: {', '.join(f'{alias} = {name}' for alias, name in ALIASES.items())}. Next: inceptions describe NAME")


def show_weights(*, as_json: bool) -> None:
    """Print every model that comes with the package and every published checkpoint that is known, a line each."""
    from inceptions.weights.tags import list_tags

    shipped = {name: read_card(folder) for name, folder in shipped_models().items()}

    tags = list_tags()
    if as_json:
        rows = [{**asdict(tag), "classes": tag.classes, "verified": tag.verified, "preprocess": tag.preprocess.to_dict()} for tag in tags]
        rows = [{key: value for key, value in row.items() if key != "_"} for row in rows]
        print(json.dumps([*(_shipped_row(name, card) for name, card in shipped.items()), *rows], indent=1, ensure_ascii=False))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tag", no_wrap=True)
    for column in ("classes", "pixels", "top-1", "top-5"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("licence")
    table.add_column("from", overflow="fold")
    for name, card in shipped.items():
        accuracy = f"{100 * card.metrics['test_accuracy']:.1f} %"
        size = str(card.preprocess.image_size)
        table.add_row(name, str(len(card.classes)), size, accuracy, "", card.licence or "not stated", "the package")
    for tag in tags:
        accuracy = ("" if value is None else f"{value:.1f} %" for value in (tag.top1, tag.top5))
        size = str(tag.preprocess.image_size)
        table.add_row(tag.name, str(tag.classes or "none"), size, *accuracy, tag.licence or "not stated", _place(tag.url))
    out.print(table)
    out.print("Accuracy as published. Next: inceptions predict PICTURES --model TAG")


def _shipped_row(name: str, card: ModelCard) -> dict[str, Any]:
    """Return the row of a model that comes with the package, with the keys that a published one's has."""
    return {
        "name": name,
        "network": card.network.name,
        "framework": "inceptions",
        "url": None,
        "preprocess": card.preprocess.to_dict(),
        "sha256": card.sha256,
        "licence": card.licence,
        "top1": 100 * card.metrics["test_accuracy"],
        "classes": len(card.classes),
    }


def _place(url: str) -> str:
    return "/".join(url.split("/")[:2]) if url.startswith("hf:") else url.split("/")[2]


def show_table(name: str, *, as_json: bool, image_size: int | None, num_classes: int | None) -> None:
    """Print a network's table."""
    network = get_network(name)
    if num_classes is not None:
        network = reshape.with_classes(network, num_classes)
    table = describe(network, image_size=image_size)
    if as_json:
        print(json.dumps(table, indent=1, ensure_ascii=False))
        return
    out.print(f"[bold]{table['name']}[/bold]  {table['title']}\n{table['source']}, {table['image_size']}x{table['image_size']} pixels")
    out.print(_stages(table))
    for difference in table["differs_from_paper"]:
        out.print(f"differs from the paper: {difference}", markup=False)


def _stages(table: dict[str, Any]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    shown.add_column("stage", no_wrap=True, footer="total")
    shown.add_column("node")
    shown.add_column("output", justify="right", no_wrap=True)
    shown.add_column("params", justify="right", no_wrap=True, footer=f"{table['parameters']:,}")
    shown.add_column("mult-adds", justify="right", no_wrap=True, footer=f"{table['multiply_adds'] / 1e6:,.1f} M")
    for row in (*table["stages"], *table["auxiliary_heads"]):
        channels, height, width = row["output"]
        cells = (f"{height}x{width}x{channels}", f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e6:,.1f} M")
        shown.add_row(row["name"], row["node"], *cells)
    if table["auxiliary_heads"]:
        shown.add_section()
        shown.add_row("with aux", "as it trains", "", f"{table['parameters_with_aux']:,}", "")
    return shown


def write_drawing(name: str, *, stage: str | None, output: Path | None) -> None:
    """Write the SVG of a network or of one module."""
    from inceptions.networks.drawing.page import draw

    network = get_network(name)
    path = output or Path(f"{network.name}{f'-{stage}' if stage else ''}.svg")
    if path.suffix.lower() != ".svg":
        raise UserError(f"--output is {path}; drawings are SVG, so it must end in .svg")
    write_whole(path, draw(network, stage=stage))
    out.print(f"drew {network.name}{f', stage {stage},' if stage else ''} in {path}", soft_wrap=True)
