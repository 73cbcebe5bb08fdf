"""list, describe, draw: the tables and pictures, without torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from inceptions.cli.terminal import Column, print_json, print_table, say, tell
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
        print_json(rows)
        return

    def cells(row: dict[str, Any]) -> tuple[str, ...]:
        numbers = (str(row["image_size"]), f"{row['parameters'] / 1e6:.1f} M", f"{row['multiply_adds'] / 1e9:.2f} G")
        return row["name"], row["title"], *numbers

    columns = (Column("name", "name"), Column("what it is", "text"), Column("pixels"), Column("params"), Column("mult-adds"))
    print_table(columns, map(cells, rows))
    tell(f"Also known as: {', '.join(f'{alias} = {name}' for alias, name in ALIASES.items())}. Next: inceptions describe NAME")


def show_weights(*, as_json: bool) -> None:
    """Print every model that comes with the package and every published checkpoint that is known, a line each."""
    from inceptions.weights.tags import list_tags

    shipped = {name: read_card(folder) for name, folder in shipped_models().items()}

    tags = list_tags()
    if as_json:
        rows = [{**asdict(tag), "classes": tag.classes, "verified": tag.verified, "preprocess": tag.preprocess.to_dict()} for tag in tags]
        rows = [{key: value for key, value in row.items() if key != "_"} for row in rows]
        print_json([*(_shipped_row(name, card) for name, card in shipped.items()), *rows])
        return
    lines = []
    for name, card in shipped.items():
        accuracy = (f"{100 * card.metrics['test_accuracy']:.1f} %", "")
        size = (str(len(card.classes)), str(card.preprocess.image_size))
        lines.append((name, size, accuracy, (card.licence or "not stated", "the package")))
    for tag in tags:
        top1, top5 = ("" if value is None else f"{value:.1f} %" for value in (tag.top1, tag.top5))
        size = (str(tag.classes or "none"), str(tag.preprocess.image_size))
        lines.append((tag.name, size, (top1, top5), (tag.licence or "not stated", _place(tag.url))))
    pairs = (Column(("classes", "pixels")), Column(("top-1", "top-5")), Column(("licence", "from"), "text"))
    print_table((Column("tag", "name"), *pairs), lines)
    tell("Accuracy as published. Next: inceptions predict IMAGES --model TAG")


def _shipped_row(name: str, card: ModelCard) -> dict[str, Any]:
    """Return the row of a model that comes with the package, with the keys that a published one's has."""
    return {
        "name": name,
        "network": card.network.name,
        "framework": "inceptions",
        "url": None,
        "preprocess": card.preprocess.to_dict(),
        "sha256": card.sha256,
        "verified": "it comes with the package",
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
        print_json(table)
        return
    tell(f"{table['name']}  {table['title']}", style="bold")
    tell(f"{table['source']}, {table['image_size']}x{table['image_size']} pixels")
    _print_stages(table)
    for difference in table["differs_from_paper"]:
        tell(f"differs from the paper: {difference}")


def _print_stages(table: dict[str, Any]) -> None:
    rows = []
    for row in (*table["stages"], *table["auxiliary_heads"]):
        channels, height, width = row["output"]
        numbers = (f"{height}x{width}x{channels}", f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e6:,.1f} M")
        rows.append((row["name"], row["node"], *numbers))
    totals = [("total", "", "", f"{table['parameters']:,}", f"{table['multiply_adds'] / 1e6:,.1f} M")]
    if table["auxiliary_heads"]:
        totals.append(("with aux", "as it trains", "", f"{table['parameters_with_aux']:,}", ""))
    columns = (Column("stage", "name"), Column("node", "text"), Column("output"), Column("params"), Column("mult-adds"))
    print_table(columns, rows, totals=totals)


def write_drawing(name: str, *, stage: str | None, output: Path | None) -> None:
    """Write the SVG of a network or of one module."""
    from inceptions.networks.drawing.page import draw

    network = get_network(name)
    path = output or Path(f"{network.name}{f'-{stage}' if stage else ''}.svg")
    if path.suffix.lower() != ".svg":
        raise UserError(f"--output is {path}; drawings are SVG, so it must end in .svg")
    write_whole(path, draw(network, stage=stage))
    say(f"drew {network.name}{f', stage {stage},' if stage else ''} in {path}")
