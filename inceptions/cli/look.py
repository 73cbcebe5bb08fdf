"""list, describe, draw, recipes: what there is, read from tables; the options of these verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inceptions.cli.app import Json, Name, command


@command("list")
def list_networks(
    weights: Annotated[bool, typer.Option("--weights", help="List the published weights that are known, by tag.")] = False,
    json: Json = False,
) -> None:
    """List the networks with their parameters and multiply-adds, or the published weights."""
    from inceptions.cli.show import show_list, show_weights

    show = show_weights if weights else show_list
    show(as_json=json)


@command()
def describe(
    name: Name,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the image in pixels; the network's own when not given.")] = None,
    num_classes: Annotated[int | None, typer.Option(min=0, help="Outputs; the network's own number when not given.")] = None,
    json: Json = False,
) -> None:
    """Print a network as its paper's table: stages, shapes, parameters, multiply-adds."""
    from inceptions.cli.show import show_table

    show_table(name, as_json=json, image_size=image_size, num_classes=num_classes)


@command()
def draw(
    name: Name,
    stage: Annotated[str | None, typer.Option(help="One stage's module instead of the whole network, such as 5b.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the SVG; NAME.svg when not given.")] = None,
) -> None:
    """Draw a network, or one module of it, as the papers do."""
    from inceptions.cli.show import write_drawing

    write_drawing(name, stage=stage, output=output)


@command()
def recipes(json: Json = False) -> None:
    """List the training recipes, the papers' and ours, with what each is from, costs and gives."""
    from inceptions.cli.recipes import show_recipes

    show_recipes(as_json=json)
