"""A headless Chromium for the tests of the page; without one they are skipped."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

OPTIONS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a camera with a test picture
REFUSED = "Failed to load resource"  # what the browser itself says of every answer above 399
DROP = """([type, files]) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) {
    data.items.add(new File([Uint8Array.from(atob(bytes), (one) => one.charCodeAt(0))], name));
  }
  const settings = { bubbles: true, cancelable: true };
  const event = type === "paste" ? new ClipboardEvent(type, { ...settings, clipboardData: data })
    : new DragEvent(type, { ...settings, dataTransfer: data });
  document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def browser():
    """The browser, for one module: while it is open, no other event loop can run in this thread."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    playwright.expect.set_options(timeout=30_000)  # for machines that are busy
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Open an address: at a width, light or dark. At the end nothing was asked of others, and the console has no error but `allowed`."""
    contexts, errors, outside, allowed = [], [], [], []

    def open_page(url: str, *, width: int = 1440, scheme: str = "light", allow: str | None = None):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        contexts.append(context)
        if allow:
            allowed.append(allow)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        ours = (urlsplit(url).netloc, "")  # blob: and data: have no host
        page.on("request", lambda request: outside.append(request.url) if urlsplit(request.url).netloc not in ours else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert outside == []
    assert [text for text in errors if not text.startswith(tuple(allowed))] == []


def drop(page, *files: Path | tuple[str, bytes], how: str = "drop") -> None:
    """Drop files, or (name, content) pairs, on the page; how: or paste them."""
    import base64

    pairs = [(file.name, file.read_bytes()) if isinstance(file, Path) else file for file in files]
    page.evaluate(DROP, [how, [[name, base64.b64encode(content).decode()] for name, content in pairs]])
