"""export: a model folder as one file of another runtime, checked by that runtime."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from inceptions.cli.terminal import Download, err, print_json, say, tell
from inceptions.weights.locate import find_model


def run_export(model: str, file: Path, *, to: str | None, preprocess: bool, force: bool, as_json: bool) -> None:
    """Write the model as `file` and print how what was written compares with torch."""
    with err.status("loading torch…"):
        from inceptions.inference.export import check_file, export_model

    check_file(file, to, replace_it=force)
    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    with err.status("exporting, and comparing what was written with torch…"):
        found = export_model(folder, file, to=to, preprocess=preprocess, replace_it=force)
    if as_json:
        print_json({**asdict(found), "file": str(found.file)})
        return
    say(f"wrote {found.file}: {found.form}, {found.size / 1e6:.1f} MB, {found.input} to {found.output}, any number of images at a time")
    agree = f"{found.same} of {found.pictures} pictures of the same class, " if found.output != "vectors" else ""
    say(f"run by {found.form} and compared with torch: {agree}largest difference {found.difference:.1g}")
    for note in found.notes:
        tell(f"note: {note}")
