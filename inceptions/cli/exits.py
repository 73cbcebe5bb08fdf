"""exits: when auxiliary heads may answer, what it loses and how much faster it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inceptions.cli.terminal import Column, err, print_json, print_table, tell, tell_on
from inceptions.errors import UserError
from inceptions.inference.exits.table import Exits, require_heads
from inceptions.weights.card import read_card


def run_exits(model: str, data: str, *, engine: str | None, device: str | None, as_json: bool) -> None:
    """Find the thresholds, keep them in the folder, and print a row for each."""
    folder = Path(model)
    if not folder.is_dir() and "/" not in model:
        raise UserError(f"{model} is no folder; what is found is kept in the model's own folder, so give one that is yours")
    require_heads(read_card(folder).network)
    with err.status("loading torch…") as status:
        from inceptions.inference.exits.choose import choose_exits

        found = choose_exits(folder, data, engine=engine, device=device, tell=tell_on(status))
    if as_json:
        print_json({"model": str(folder), **found.to_dict()})
        return
    leaving = [Column(f"leave by {head}") for head in found.heads]
    print_table([Column("most lost"), Column("lost"), Column("interval"), *leaving, Column("multiply-adds"), Column("speed")], _rows(found))
    for note in found.notes:
        tell(f"note: {note}")
    tell(f"chosen on {found.chosen_on} validation images, judged on {found.judged_on} {found.judged_part} images; points of accuracy lost")
    tell(f"speed: times the whole network's, {found.engine} in {found.precision}, {found.processor}")
    tell(f"kept in {folder}; predict and evaluate take --exit-early --most-lost POINTS")


def _rows(found: Exits) -> Iterator[list[str]]:
    for row in found.rows:
        lost = [f"{row.lost.value:.2f}", f"{row.lost.low:.2f} to {row.lost.high:.2f}"]
        yield [
            f"{row.most_lost:g}",
            *lost,
            *(f"{100 * share:.0f} %" for share in row.leave),
            f"{100 * row.multiply_adds:.0f} %",
            f"{row.speed.value:.2f}",
        ]
