"""recipes: a table of the training recipes."""

from __future__ import annotations

from inceptions.cli.terminal import Column, print_json, print_table, tell
from inceptions.training.recipes import RECIPES


def show_recipes(*, as_json: bool) -> None:
    """Print every recipe with what it is from, costs and gives; as JSON, with all its fields."""
    if as_json:
        print_json([recipe.to_dict() for recipe in RECIPES.values()])
        return
    columns = (Column("recipe", "name"), Column("network", "text"), Column(("expect", "cost"), "text"), Column("source", "text"))
    print_table(columns, [(recipe.name, recipe.model, (recipe.expect, recipe.cost), recipe.source) for recipe in RECIPES.values()])
    tell("Train by one: inceptions train DATA --recipe NAME --set FIELD=VALUE")
