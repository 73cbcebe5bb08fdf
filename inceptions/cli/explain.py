"""explain: from pictures to what spoke for their classes: an overlay of each, and a page with the likeliest side by side."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inceptions.cli.terminal import Column, Download, err, print_json, print_table, tell, track
from inceptions.data.stored import Stored
from inceptions.errors import ImageError, UserError
from inceptions.extras import require
from inceptions.files import cannot_write, new_path, whole_file
from inceptions.inference.sources import check_sources, iterate_pictures
from inceptions.names import shown

if TYPE_CHECKING:
    from inceptions.explain.explanation import Explanation
    from inceptions.weights.folder import LoadedModel

PAGE_NAME = "explanations.html"
LONGEST_PX = 2048  # of an overlay
LONGEST_NAME = 150  # bytes, without number and ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of an explanation; target: a class, None for the likeliest; output: None is a folder in runs."""

    model: str
    method: Any
    target: str | None
    stage: str | None
    top_k: int
    output: Path | None
    force: bool
    seed: int
    device: str | None


def run_explanation(sources: Sequence[str], options: Options, *, as_json: bool) -> None:
    """Explain every picture of `sources`; write the overlays and the page, and print what was explained.

    Raises UserError, too, when no picture at all can be read, and where something would be written over.
    """
    require("explain", "captum", "jinja2", needed_for="explain")
    check_sources(sources)
    pictures = list(iterate_pictures(sources))
    model = open_loaded(options.model, options.device)
    from inceptions.explain.attribution import check_explainable
    from inceptions.explain.page import write_page

    check_explainable(model.card, method=options.method, target=options.target, stage=options.stage)
    folder = options.output or new_path(Path("runs"), f"explain-{model.card.network.name}")
    places = place_overlays(folder, pictures)
    check_free([folder / PAGE_NAME, *places], force=options.force)
    rows: list[dict[str, Any]] = []
    with track("explaining", len(pictures)) as advance:
        explained = _explain(model, pictures, places, options, advance, rows)
        write_page(explained, folder / PAGE_NAME, title=f"What {model.card.network.name} looks at", facts=_facts(options, model))
    _show(rows, folder, as_json=as_json)


def open_loaded(name: str, device: str | None) -> LoadedModel:
    """Return a model by folder or tag with its module on the device; UserError for a network's name, which has no weights."""
    from inceptions.networks.registry import ALIASES, NETWORKS
    from inceptions.weights.locate import find_model

    if name in {*NETWORKS, *ALIASES} and not Path(name).exists():
        from inceptions.weights.shipped import shipped_models
        from inceptions.weights.tags import best_tag

        network = ALIASES.get(name, name)
        tag = next((tag for tag in shipped_models() if tag.startswith(f"{network}.")), None) or best_tag(network)
        given = f"a tag such as {tag}, or the model folder of a run" if tag else "the model folder of a run"
        raise UserError(f"{name} is a network and has no weights, so that it answers to nothing; give {given}")
    with Download(name) as download:
        folder = find_model(name, progress=download.step)
    with err.status("loading the model…"):
        from inceptions.devices import pick_device
        from inceptions.weights.folder import load_model

        model = load_model(folder)
        model.module.to(pick_device(device))
    return model


def place_overlays(folder: Path, pictures: Sequence[Path | Stored]) -> list[Path]:
    """Return where the overlay of each picture goes: NAME.png, or NAME-2.png and so on where several are called the same."""
    taken: set[str] = {PAGE_NAME}
    places = []
    for picture in pictures:
        stem = Path(str(picture)).stem.strip(". ") or "picture"
        while len(os.fsencode(stem)) > LONGEST_NAME:
            stem = stem[:-1]
        name, number = f"{stem}.png", 1
        while name.lower() in taken:  # some disks know no capitals
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.lower())
        places.append(folder / name)
    return places


def check_free(paths: Sequence[Path], *, force: bool) -> None:
    """Raise UserError where one of the files to write is there and wasn't said to be written over, or its folder can't be made.

    What is written takes minutes to make: that it can't be is told before.
    """
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        if path.is_dir() or (path.exists() and not force):
            remedy = "give another place" if path.is_dir() else "give another place, or --force to write over it"
            raise UserError(f"{shown(path)} exists already; {remedy}")


def _explain(
    model: LoadedModel,
    pictures: Sequence[Path | Stored],
    places: Sequence[Path],
    options: Options,
    advance: Any,
    rows: list[dict[str, Any]],
) -> Iterator[tuple[str, list[Explanation]]]:
    """Yield the explanations of each picture, with its overlay written and its row added; what can't be read is told and left out."""
    from inceptions.explain.attribution import explain_classes

    settings = {"method": options.method, "target": options.target, "stage": options.stage, "seed": options.seed}
    for picture, place in zip(pictures, places, strict=True):
        try:
            explained = explain_classes(model, picture, count=options.top_k, **settings)
        except ImageError as error:
            tell(f"warning: left out: {error}", style="yellow")
            advance(1)
            continue
        with whole_file(place) as file:
            explained[0].overlay(max_side=LONGEST_PX).save(file, "PNG")
        rows.append(_row(picture, explained[0], place))
        advance(1)
        yield str(picture), explained
    if not rows:
        raise UserError("none of the images can be read")


def _facts(options: Options, model: LoadedModel) -> tuple[tuple[str, str], ...]:
    from inceptions.explain.layers import last_grid

    card = model.card
    stage = options.stage or last_grid(card.network, card.preprocess.image_size)
    return (
        ("method", f"{options.method}, of stage {stage}" if options.method == "gradcam" else options.method),
        ("model", f"{options.model}, SHA-256 {card.sha256[:16]}"),
        ("command", shlex.join(["inceptions", *sys.argv[1:]])),
    )


def _row(picture: Path | Stored, item: Explanation, place: Path) -> dict[str, Any]:
    """Return what is printed of a picture; not the picture, of which there may be many."""
    named = {"file": str(picture), "class": item.target, "probability": item.probability, "method": item.method}
    return {**named, "box": item.box, "overlay": str(place)}


def _show(rows: Sequence[dict[str, Any]], folder: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"page": str(folder / PAGE_NAME), "images": list(rows)})
        return
    columns = (Column("file", "text"), Column("class", "text"), Column(""), Column("overlay", "text"))
    print_table(columns, ((row["file"], row["class"], f"{100 * row['probability']:.1f} %", row["overlay"]) for row in rows))
    tell(f"side by side in {folder / PAGE_NAME}")
