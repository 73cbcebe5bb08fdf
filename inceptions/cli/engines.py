"""engines: what can run a model here, how each compares with torch, how fast it is; what is prepared, and clearing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from inceptions.cli.terminal import Column, Download, print_json, print_table, say, tell
from inceptions.errors import UserError
from inceptions.inference.engines.base import ENGINE_NAMES, EngineName
from inceptions.inference.engines.choose import automatic_engines, choices, find_device, prepare
from inceptions.inference.engines.prepared import (
    Prepared,
    clear_prepared,
    describe_made,
    engines_folder,
    find_prepared,
    iterate_prepared,
    processor,
)
from inceptions.weights.card import ModelCard, read_card
from inceptions.weights.locate import find_model

PLAIN = "torch's own numbers, which the others are compared with"


def show_engines(model: str, *, engine: str | None, device: str | None, prepare_them: bool, as_json: bool) -> None:
    """Print a row for each engine that could run the model here, prepared first where that is asked for.

    engine: one alone. Raises UserError when there is no such model or device.
    """
    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    card, place = read_card(folder), find_device(device)
    rows = []
    for name in ENGINE_NAMES if engine in (None, "auto") else (cast("EngineName", engine),):
        rows += _rows_of(name, folder, card, place, prepare_it=prepare_them)
    chosen = next((row for name in automatic_engines(place) for row in rows if row["engine"] == name and row["usable"]), None)
    for row in rows:
        row["auto"] = row is chosen
    if as_json:
        print_json({"model": str(folder), "device": place, "processor": processor(place), "engines": rows})
        return
    columns = (Column("engine", "name"), Column("in", "name"), Column("auto", "name"), Column("images/s"), Column("compared", "text"))
    print_table(columns, map(_cells, rows))
    tell(f"on {processor(place)}; images/s as it was when it was prepared, 32 pictures")
    if not all(row["prepared"] for row in rows) and not prepare_them:
        tell("what isn't prepared is when it is first used; --prepare does it now")


def _rows_of(name: EngineName, folder: Path, card: ModelCard, device: str, *, prepare_it: bool) -> Iterator[dict[str, Any]]:
    try:
        found = list(choices(folder, card, engine=name, device=device))
    except UserError as error:
        yield _row(name, "", None, str(error))
        return
    agrees = False
    for choice in found:
        if name == "torch" and choice.precision == "float32":
            yield _row(name, choice.precision, None, PLAIN, usable=True)
            continue
        made = describe_made(folder, card, engine=name, precision=choice.precision, device=device)
        there = find_prepared(made)
        prepare_it = prepare_it and not agrees  # the fastest that agrees will do
        try:
            there = there or (prepare(folder, card, made, lambda line: tell(f"{line}…")) if prepare_it else None)
        except UserError as error:
            yield _row(name, choice.precision, None, str(error))
            continue
        agrees = there is not None and there.comparison.agrees
        yield _row(name, choice.precision, there, "not prepared yet" if there is None else str(there.comparison), usable=True)


def _row(name: EngineName, precision: str, there: Prepared | None, said: str, *, usable: bool = False) -> dict[str, Any]:
    comparison = there.comparison if there else None
    return {
        "engine": name,
        "precision": precision,
        "prepared": there is not None or said == PLAIN,
        "usable": usable and (comparison is None or comparison.agrees),
        "images_per_second": comparison.images_per_second if comparison else None,
        "compared": said if comparison is None or comparison.agrees else f"not used, for it disagrees: {said}",
        "largest_difference": comparison.difference if comparison else None,
        "bytes": there.size if there else None,
        "library": there.made.library if there else None,
        "folder": str(there.folder) if there else None,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rate = f"{row['images_per_second']:.0f}" if row["images_per_second"] else ""
    return row["engine"], row["precision"], "yes" if row["auto"] else "", rate, row["compared"]


def show_prepared(*, as_json: bool) -> None:
    """Print what is prepared on this machine, of every model."""
    found = list(iterate_prepared())
    if as_json:
        print_json([{"network": item.network, "source": item.source, "date": item.date, **_row_of(item)} for item in found])
        return
    columns = (Column("network", "name"), Column("engine", "name"), Column("in", "name"), Column("MB"), Column("made of", "text"))
    print_table(columns, [(_name(item), item.made.engine, item.made.precision, f"{item.size / 1e6:.0f}", item.source) for item in found])
    tell(f"{sum(item.size for item in found) / 1e6:.0f} MB in {engines_folder()}; inceptions engines MODEL shows what could run a model")


def _row_of(item: Prepared) -> dict[str, Any]:
    return {**_row(item.made.engine, item.made.precision, item, str(item.comparison), usable=True), "part": item.made.part}


def _name(item: Prepared) -> str:
    return item.network if item.made.part is None else f"{item.network}, part {item.made.part + 1}"


def clear_engines() -> None:
    """Delete all that is prepared."""
    say(f"{clear_prepared() / 1e6:.0f} MB deleted from {engines_folder()}; engines are prepared anew when they are used")
