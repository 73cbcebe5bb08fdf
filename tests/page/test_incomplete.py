"""An exported page of which a file is missing: it says so at once and of every picture, whichever file it is. The network is made up."""

import json
import shutil
from pathlib import Path

import pytest

from inceptions.data.preprocess import for_training
from tests.page.conftest import REFUSED, drop
from tests.page.fake_server import PAGE, card
from tests.page.file_server import Server

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

CHELSEA = Path(__file__).parents[2] / "docs" / "chelsea.jpg"
RUNTIME, MODEL, WASM = "ort.wasm.bundle.min.mjs", "model.onnx", "ort-wasm-simd-threaded.wasm"
STAND_IN = """export const env = { wasm: {} };
export class Tensor {}
export const InferenceSession = {
  create: async (model) => {
    if (!model.length) throw new Error("no network in model.onnx");
    return { run: async () => ({ probabilities: { data: [0.7, 0.2, 0.05, 0.03, 0.02] } }) };
  },
};
"""
MISSING = {
    "worker.js": "a file of the page is missing; copy the whole folder to the server",
    "preprocess.js": "a file of the page is missing; copy the whole folder to the server",
    RUNTIME: "a file of the page is missing; copy the whole folder to the server",
    MODEL: "model.onnx can't be loaded (404); copy the whole folder to the server.",
    WASM: f"{WASM} can't be loaded (404); copy the whole folder to the server.",
    "card.json": "card.json can't be read (404); copy the whole folder to the server.",
    "classifier.js": "classifier.js can't be loaded; see whether the server runs, or copy the whole folder to it",
}


@pytest.fixture
def folder(tmp_path):
    """What `export_web` writes, with a stand-in for ONNX Runtime."""
    for file in PAGE.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    shutil.copyfile(PAGE / "local.js", tmp_path / "classifier.js")
    (tmp_path / RUNTIME).write_text(STAND_IN)
    (tmp_path / MODEL).write_bytes(b"network")
    (tmp_path / WASM).write_bytes(b"runtime")
    told = card("made up", preprocess=for_training(32).to_dict(), files={MODEL: 7, WASM: 7})
    (tmp_path / "card.json").write_text(json.dumps(told))
    return tmp_path


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_said_at_once_and_of_every_picture(folder, visit, name):
    (folder / name).unlink()
    with Server(folder) as server:
        page = visit(server.url, allow=REFUSED)
        trouble = page.locator("#trouble")
        expect(trouble).to_contain_text(MISSING[name])
        expect(page.locator("#status")).to_have_text("")
        expect(page.locator("#loading")).to_be_hidden()
        told = trouble.inner_text()
        for times in (1, 2):
            drop(page, CHELSEA)
            expect(page.locator(".picture.failed .error")).to_have_text([told] * times)
            expect(trouble).to_contain_text(MISSING[name])
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#status")).to_have_text("")


def test_pictures_that_were_given_early_hear_of_it(folder, visit):
    (folder / RUNTIME).unlink()
    with Server(folder) as server:
        page = visit(server.url, allow=REFUSED)
        drop(page, *[CHELSEA] * 6)
        expect(page.locator(".picture.failed")).to_have_count(6)
        expect(page.locator("#status")).to_contain_text("0 of 6 pictures answered, 6 refused")


def test_a_network_that_is_none_is_said(folder, visit):
    (folder / MODEL).write_bytes(b"")
    with Server(folder) as server:
        expect(visit(server.url).locator("#trouble")).to_have_text("no network in model.onnx")


def test_a_whole_folder_answers(folder, visit):
    with Server(folder) as server:
        page = visit(server.url)
        expect(page.locator("#status")).to_have_text("Ready.")
        drop(page, CHELSEA)
        expect(page.locator(".bars li").first).to_contain_text("amber")
        expect(page.locator("#trouble")).to_be_hidden()


def test_a_page_without_its_own_script_says_what_to_do(folder, visit):
    (folder / "draw.js").unlink()
    with Server(folder) as server:
        page = visit(server.url, allow=REFUSED)
        expect(page.locator("#stuck")).to_be_visible()
        expect(page.locator("#stuck")).to_contain_text("a file of the page is missing: copy the whole folder")
