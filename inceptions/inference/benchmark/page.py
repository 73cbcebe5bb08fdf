"""A benchmark for people and programs: enters a `Benchmark`, leaves benchmark.md, benchmark.json and benchmark.svg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from inceptions.files import whole_file, write_whole
from inceptions.inference.benchmark.benchmark import OURS, Benchmark, as_plain
from inceptions.inference.benchmark.by_hand import CONTENDERS, source_of
from inceptions.json_text import to_json
from inceptions.names import shown


def write_page(found: Benchmark, folder: Path, *, command: str) -> None:
    """Write the table, the numbers and the plot into `folder`."""
    write_whole(folder / "benchmark.md", as_markdown(found, command=command))
    write_whole(folder / "benchmark.json", to_json({"command": command, **as_plain(found)}))
    with whole_file(folder / "benchmark.svg") as scratch:
        _plot(found).savefig(scratch, metadata={"Date": None})


def rate_rows(found: Benchmark) -> list[tuple[str, ...]]:
    """Return a row for each batch size and contender: images at a time, name, images per second, how many times as fast ours is."""
    rows = []
    for rates in found.rates:
        for name in rates.rounds:
            ratio = rates.ratio(OURS, name)
            times = "" if name == OURS else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            rows.append((str(rates.batch_size), name, f"{rates.median(name):.1f}", times))
    return rows


def other_rows(found: Benchmark) -> list[tuple[str, str]]:
    """Return what else was measured, in words."""
    rows = [
        (f"one image, {name}", f"p50 {taken['p50']:.1f} ms, p95 {taken['p95']:.1f} ms, p99 {taken['p99']:.1f} ms")
        for name, taken in found.latency.items()
    ]
    if found.folder:
        for name in found.folder.seconds:
            times = "" if name == OURS else f"; ours is {found.folder.rate(OURS) / found.folder.rate(name):.2f} times as fast"
            count = found.folder.images if name == OURS else found.folder.plain_images
            rows.append((f"{count} files to CSV, {name}", f"{found.folder.rate(name):.1f} images/s{times}"))
        best = max(rates.median(OURS) for rates in found.rates)
        rows.append(("files to CSV, part of the model's own rate", f"{found.folder.rate(OURS) / best:.2f}"))
    if found.cold:
        seconds, memory = found.cold.seconds, found.cold.mebibytes
        rows.append((f"new process, one image, {len(seconds)} times", f"median {np.median(seconds):.2f} s, best {min(seconds):.2f} s"))
        rows.append(("its largest resident memory", f"{max(memory):.0f} MiB"))
    return rows


def as_markdown(found: Benchmark, *, command: str) -> str:
    """Return the benchmark as Markdown."""
    kit = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    lines = [
        f"# {found.network} at {found.image_size} pixels",
        "",
        f"{found.engine} in {found.precision}, on {found.processor}; {kit}; {found.date[:10]}.",
        "",
        "| at a time | | images/s | ours is so many times as fast |",
        "|---:|---|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rate_rows(found)),
        "",
        "Medians over rounds in which all took turns in one process, warm; ratios are of one round, with the interval of the bootstrap.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {said} |" for name, said in other_rows(found)),
        "",
        "![Images per second by batch size](benchmark.svg)",
        "",
        "```sh",
        shown(command),
        "```",
        "",
    ]
    for name, difference in found.differences.items():
        lines += [
            f"## {name}",
            "",
            f"{CONTENDERS[name].said}, with the same weights; the largest difference of a probability to ours is {difference:.2g}.",
            "",
            "```python",
            source_of(name, in_integers=found.precision == "int8").rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def _plot(found: Benchmark) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    sizes = [rates.batch_size for rates in found.rates]
    for name in found.rates[0].rounds:
        axes.plot(sizes, [rates.median(name) for rates in found.rates], marker="o", label=name)
    axes.set(xscale="log", xticks=sizes, xticklabels=list(map(str, sizes)), xlabel="images at a time", ylabel="images per second", ylim=0)
    axes.minorticks_off()
    axes.legend()
    return figure
