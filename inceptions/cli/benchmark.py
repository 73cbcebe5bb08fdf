"""benchmark: how fast a model runs here, against what people write by hand."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from inceptions.cli.terminal import Column, Download, err, print_json, print_table, tell, tell_on
from inceptions.errors import UserError
from inceptions.extras import REPORT_MODULES, require
from inceptions.files import new_folder
from inceptions.weights.locate import find_model


def run_benchmark_command(model: str, *, against: str | None, output: Path | None, as_json: bool, **settings: Any) -> None:
    """Measure, print the tables, and write the page where that is asked for."""
    names = [name for name in (against or "").split(",") if name]
    if output is not None:
        require("report", *REPORT_MODULES, needed_for="the page")
    from inceptions.inference.benchmark.benchmark import as_plain, run_benchmark
    from inceptions.inference.benchmark.by_hand import CONTENDERS
    from inceptions.inference.benchmark.page import other_rows, rate_rows, write_page

    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise UserError(f"against {', '.join(unknown)}: there are {', '.join(CONTENDERS)}")
    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    with new_folder(output) if output is not None else nullcontext():
        with err.status("measuring…") as status:
            found = run_benchmark(folder, against=names, tell=tell_on(status), **settings)
        if output is not None:
            write_page(found, output, command=shlex.join(["inceptions", *sys.argv[1:]]))
    if as_json:
        print_json(as_plain(found))
    else:
        print_table(
            (Column("at a time"), Column("", "name"), Column("images/s"), Column("ours is so many times as fast")), rate_rows(found)
        )
        print_table((Column("what", "text"), Column("measured", "text")), other_rows(found))
        tell(f"{found.network}, {found.engine} in {found.precision}, on {found.processor}")
    if output is not None:
        tell(f"wrote {output}/benchmark.md")
