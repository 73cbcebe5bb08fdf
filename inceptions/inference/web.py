"""A model as a folder for any web server, which classifies in the visitor's browser: enters a model folder, leaves a page and all it needs.

    index.html, style.css, page.js ...    the page, as `inceptions serve` shows it
    classifier.js                         page/local.js: the answers come from worker.js, in this browser
    model.onnx                            the network: pixels to probabilities, as `export --preprocess` writes and checks it
    ort.wasm.bundle.min.mjs, ort-wasm-simd-threaded.wasm    ONNX Runtime for browsers, from the npm registry
    card.json                             what is known of the model, its classes and preprocessing
    LICENCES.txt

ONNX Runtime is fetched once, checked by its hash, and kept beside the published weights. Needs torch to write, nothing to serve. What else
lies in a folder that is written over, such as `CNAME` or `.git`, stays in it.
"""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import replace
from pathlib import Path

from inceptions.data.transfer import Progress
from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.files import whole_folder, write_whole
from inceptions.inference.about import describe_model, own_name
from inceptions.inference.export import FORMS, Exported, export_model
from inceptions.json_text import to_json
from inceptions.names import shown
from inceptions.weights.card import read_card
from inceptions.weights.download import fetch
from inceptions.weights.unpack import unpack

PAGE = Path(__file__).parents[1] / "page"
OF_A_SERVER = ("remote.js", "local.js")  # copied under another name, or not at all
REGISTRY_VARIABLE, REGISTRY = "NPM_CONFIG_REGISTRY", "https://registry.npmjs.org"
RUNTIME_VERSION = "1.30.0"
RUNTIME_INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
MODEL, CARD = "model.onnx", "card.json"
CHANNELS = (1, 3)


def check_web(folder: Path, *, replace_it: bool = False) -> None:
    """Raise UserError where there is something at `folder` that isn't to be replaced, or what the export needs is not installed."""
    require("export", *FORMS[".onnx"].modules, needed_for="writing and checking a page with a network")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / CARD).is_file() or not (folder / "classifier.js").is_file():
        raise UserError(f"{shown(folder)} holds something else than an exported page; give a new or an empty folder")
    if not replace_it:
        raise UserError(f"{shown(folder)} exists already; give another folder, or say that it may be written over (--force)")


def export_web(
    folder: Path, target: Path, *, name: str | None = None, replace_it: bool = False, progress: Progress | None = None
) -> Exported:
    """Write the model in `folder` as a page in the folder `target`, and compare its network with torch as `export_model` does.

    name: what the page calls the model; None is the folder's, and the run's of its best and last.
    replace_it: write over a page that is there, beside which other files stay.
    progress: called as ONNX Runtime arrives, where it isn't in the cache.

    Raises UserError: something else is there, a model that a browser has no pictures or no names for, what can't be fetched, or a network
    that disagrees with torch; nothing is left.
    """
    check_web(target, replace_it=replace_it)
    _check_model(folder)
    runtime = fetch_runtime(progress=progress)
    with whole_folder(target) as fresh:
        found = export_model(folder, fresh / MODEL, preprocess=True)
        for file in sorted(PAGE.iterdir()):
            if file.name not in OF_A_SERVER:
                shutil.copyfile(file, fresh / file.name)
        shutil.copyfile(PAGE / "local.js", fresh / "classifier.js")
        for file in runtime:
            shutil.copyfile(file, fresh / file.name)
        sizes = {file.name: file.stat().st_size for file in (fresh / MODEL, fresh / RUNTIME_FILES[1])}
        about = {"engine": "ONNX Runtime in the browser", "precision": "float32"}
        card = describe_model(read_card(folder), name or own_name(folder)) | about
        write_whole(fresh / CARD, to_json({**card, "files": sizes}) + "\n")
        size = sum(file.stat().st_size for file in fresh.iterdir())
        _carry_over(target, fresh)
    return replace(found, file=target, form="web", size=size)


def _carry_over(page: Path, fresh: Path) -> None:
    """Copy into `fresh` what lies in the folder `page` and no export writes: of hosts, such as CNAME, or the folder's history."""
    if not page.exists():
        return
    written = {file.name for file in fresh.iterdir()}
    try:
        shutil.copytree(page, fresh, symlinks=True, dirs_exist_ok=True, ignore=lambda folder, _: written if Path(folder) == page else set())
    except shutil.Error as error:
        source, _, reason = error.args[0][0]
        place = shown(Path(source).relative_to(page))
        raise UserError(
            f"{shown(page)}: {place} lies in it and can't be copied ({reason}); move it elsewhere, or give another folder"
        ) from error


def _check_model(folder: Path) -> None:
    card = read_card(folder)
    if not card.classes:
        raise UserError(f"{shown(folder)}: a network without classes, and a page shows classes; export it as a file")
    if card.preprocess.channels not in CHANNELS:
        channels = card.preprocess.channels
        raise UserError(f"{shown(folder)}: a network of {channels} channels, and a browser's pictures have 1 or 3; export it as a file")


def fetch_runtime(*, progress: Progress | None = None) -> tuple[Path, ...]:
    """Return the files of ONNX Runtime for browsers, fetched, checked and unpacked where they are not in the cache.

    Raises UserError and WeightsError as `fetch` and `unpack` do: offline, it says where to put the archive by hand.
    """
    registry = (os.environ.get(REGISTRY_VARIABLE) or REGISTRY).rstrip("/")
    algorithm, _, digest = RUNTIME_INTEGRITY.partition("-")
    url = f"{registry}/onnxruntime-web/-/onnxruntime-web-{RUNTIME_VERSION}.tgz"
    archive = fetch(url, hashes={algorithm: base64.b64decode(digest).hex()}, progress=progress)
    return unpack(archive, member=RUNTIME_FILES)
