"""A model's page in Chromium against Python: `python scripts/measure_web.py MODEL PHOTOS`, PHOTOS a folder of JPEGs.

The page is exported, served by a plain file server, and opened by a browser that reaches nothing else. Each photo is answered twice: as it
is, by the browser's own JPEG decoder, and as a PNG of the pixels that Pillow decodes. Python's answers are torch's, in float32. A top-1
that differs counts as a near-tie where Python's first two classes are closer than 0.001.
"""

import json
import shutil
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, Route, sync_playwright

from inceptions.data.decode import read_image
from inceptions.inference.predict import predict
from inceptions.inference.web import export_web
from inceptions.weights.card import read_card
from inceptions.weights.locate import find_model

NEAR = 1e-3
ENDINGS = {".jpg", ".jpeg"}
ANSWER = """async ([folder, names]) => {
  const { predict } = await import("./classifier.js");
  const found = [];
  for (const name of names) {
    const response = await fetch(`${folder}/${encodeURIComponent(name)}`);
    const file = new File([await response.blob()], name);
    const began = performance.now();
    const [prediction] = await predict("", [file], { topK: 1e6 });
    found.push({ ...prediction, milliseconds: performance.now() - began });
  }
  return JSON.stringify(found);
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Python's own file server, which says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def open_page(browser: Browser, address: str) -> Page:
    """Return the page in a browser without a cache, which reaches that address alone."""
    page = browser.new_context().new_page()

    def only_ours(route: Route) -> None:
        if route.request.url.startswith((address, "blob:", "data:")):
            route.continue_()
        else:
            print("asked for", route.request.url)
            route.abort()

    page.route("**/*", only_ours)
    page.goto(address)
    return page


def seconds_to_first_answer(browser: Browser, address: str, photo: Path) -> float:
    """Return what passes from opening the page to the bars of the first photo."""
    began = time.perf_counter()
    page = open_page(browser, address)
    page.set_input_files("#files", [str(photo)])
    page.wait_for_selector(".bars", timeout=120_000)
    taken = time.perf_counter() - began
    page.context.close()
    return taken


def ask(page: Page, folder: str, names: list[str], classes: tuple[str, ...]) -> tuple[np.ndarray, float]:
    """Return the probabilities (N, K) of the photos in the order of `classes`, and the median milliseconds of an answer."""
    found = json.loads(page.evaluate(ANSWER, [folder, names]))
    told = [{item["class"]: item["probability"] for item in one["classes"]} for one in found]
    return np.array([[one[name] for name in classes] for one in told]), float(np.median([one["milliseconds"] for one in found]))


def compare(what: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Print how many photos have Python's class, how many of the others are near-ties, and how far probabilities differ."""
    same = found.argmax(1) == wanted.argmax(1)
    two = np.sort(wanted, 1)[:, -2:]
    near = two[:, 1] - two[:, 0] < NEAR
    difference = np.abs(found - wanted)
    print(
        f"{what}: {same.sum()} of {len(same)} of the same class ({(~same & near).sum()} of the others near-ties); "
        f"largest difference of a probability {difference.max():.2g}, of the median photo {np.median(difference.max(1)):.2g}"
    )


def main(model: str, photos: Path) -> None:
    """Export, serve, ask and compare."""
    files = sorted(file for file in photos.iterdir() if file.suffix.lower() in ENDINGS)
    folder = find_model(model)
    classes = read_card(folder).classes
    with tempfile.TemporaryDirectory() as scratch:
        page_folder = Path(scratch) / "page"
        exported = export_web(folder, page_folder, name="measured")
        print(f"{model}: {exported.size / 1e6:.1f} MB, {len(files)} photos; ONNX file against torch {exported.difference:.1g}")
        for name in ("jpeg", "png"):
            (page_folder / name).mkdir()
        for file in files:
            shutil.copy(file, page_folder / "jpeg")
            read_image(file).save(page_folder / "png" / f"{file.stem}.png", compress_level=1)
        wanted = np.array(
            [[dict(zip(one.classes, one.probabilities, strict=True))[name] for name in classes] for one in answers(folder, files)]
        )
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(page_folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            print(f"{browser.browser_type.name} {browser.version}")
            times = [seconds_to_first_answer(browser, address, files[0]) for _ in range(5)]
            print(f"first answer after {np.median(times):.2f} s (median of {len(times)}, nothing kept from before)")
            page = open_page(browser, address)
            png, _ = ask(page, "png", [f"{file.stem}.png" for file in files], classes)
            compare("as PNG", png, wanted)
            jpeg, milliseconds = ask(page, "jpeg", [file.name for file in files], classes)
            compare("as JPEG", jpeg, wanted)
            print(f"an answer takes {milliseconds:.0f} ms (median, decoding and all, one thread)")
            browser.close()
        server.shutdown()


def answers(folder: Path, files: list[Path]) -> list:
    """Return torch's predictions of all classes."""
    return predict(folder, files, engine="torch", device="cpu", top_k=1_000_000)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
