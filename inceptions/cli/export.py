"""export: a model folder as one file of another runtime, checked by that runtime, or as a page that classifies in the browser."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from inceptions.cli.terminal import Download, err, print_json, say, tell
from inceptions.weights.locate import find_model

if TYPE_CHECKING:
    from inceptions.inference.export import Exported


def run_export(model: str, file: Path, *, to: str | None, preprocess: bool, force: bool, as_json: bool) -> None:
    """Write the model as `file`, or with to="web" into it as a folder, and print how what was written compares with the model."""
    if to == "web":
        _export_page(model, file, force=force, as_json=as_json)
        return
    with err.status("loading torch…"):
        from inceptions.inference.export import check_file, export_model

    check_file(file, to, replace_it=force)
    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    with err.status("exporting, and comparing what was written…"):
        found = export_model(folder, file, to=to, preprocess=preprocess, replace_it=force)
    kind = f"{found.form}, {found.size / 1e6:.1f} MB, {found.input} to {found.output}, any number of images at a time"
    _report(found, kind, as_json=as_json)


def _export_page(model: str, folder: Path, *, force: bool, as_json: bool) -> None:
    with err.status("loading torch…"):
        from inceptions.inference.web import check_web, export_web, fetch_runtime

    check_web(folder, replace_it=force)
    with Download(model) as download:
        source = find_model(model, progress=download.step)
    with Download("onnxruntime-web") as download:
        fetch_runtime(progress=download.step)
    name = None if Path(model).exists() else model
    with err.status("exporting, and comparing what was written…"):
        found = export_web(source, folder, name=name, replace_it=force)
    _report(found, f"a page for any web server, {found.size / 1e6:.1f} MB", as_json=as_json)
    if not as_json:
        tell(f"to see it: python -m http.server --directory {shlex.quote(str(folder))}, and http://localhost:8000")


def _report(found: Exported, kind: str, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "file": str(found.file)})
        return
    say(f"wrote {found.file}: {kind}")
    agree = f"{found.same} of {found.pictures} pictures of the same class, " if found.output != "vectors" else ""
    form = "onnx" if found.form == "web" else found.form
    say(f"run by {form} and compared with {found.against}: {agree}largest difference {found.difference:.1g}")
    for note in found.notes:
        tell(f"note: {note}")
