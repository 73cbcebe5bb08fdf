"""recipes: a table of the training recipes."""

from __future__ import annotations

import json

from rich.table import Table

from inceptions.cli.terminal import out
from inceptions.training.recipes import RECIPES


def show_recipes(*, as_json: bool) -> None:
    """Print every recipe with what it is from, costs and gives; as JSON, with all its fields."""
    if as_json:
        print(json.dumps([recipe.to_dict() for recipe in RECIPES.values()], indent=1))
        return
    table = Table("recipe", "network", "expect, cost", "source", show_lines=True)
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.model, f"{recipe.expect}\n[dim]{recipe.cost}[/dim]", recipe.source)
    out.print(table)
    out.print("Train by one: inceptions train DATA --recipe NAME --set FIELD=VALUE", soft_wrap=True)
