"""A model as a page: ONNX Runtime for browsers comes whole and as it is known, or not at all; so does a folder. tests/page runs it."""

import base64
import hashlib
import io
import json
import os
import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

import pytest

from inceptions.data import transfer
from inceptions.data.preprocess import for_training
from inceptions.errors import UserError, WeightsError
from inceptions.inference import web
from inceptions.inference.web import PAGE, RUNTIME_FILES, RUNTIME_VERSION, export_web, fetch_runtime
from tests.tiny import CLASSES, save_tiny

ARCHIVE = f"onnxruntime-web-{RUNTIME_VERSION}.tgz"


def pack() -> bytes:
    """An npm package with what is wanted, more of its kind, and a name that would lead out of the folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in (*(f"package/dist/{one}" for one in RUNTIME_FILES), "package/dist/ort.all.mjs", "package/../../../evil.mjs"):
            content = f"// {name}".encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


PACKAGE = pack()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An npm registry on this machine; its answers are in `body`, its requests in `asked`."""

    class Registry(ThreadingHTTPServer):
        daemon_threads = False
        body, asked = PACKAGE, []

        def server_bind(self):
            TCPServer.server_bind(self)  # HTTPServer's own looks the name of the host up, which may take long
            self.server_name, self.server_port = self.server_address[:2]

    class Handler(BaseHTTPRequestHandler):
        server: Registry

        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, format, *args):
            pass

    for name in ("inceptions_offline", "inceptions_mirror", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "BACKOFF_S", 0.001)
    monkeypatch.setattr(web, "RUNTIME_INTEGRITY", "sha512-" + base64.b64encode(hashlib.sha512(PACKAGE).digest()).decode())
    with Registry(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/npm/")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def quick_export(monkeypatch):
    """The network is written at once, and agrees; what else is written is as it is."""

    def write(folder, file, *, preprocess):
        assert preprocess
        file.write_text("network")
        return web.Exported(file, "onnx", 7, "pixels", "probabilities", 32, 32, 1e-7, ())

    monkeypatch.setattr(web, "export_model", write)


def test_the_runtime_is_fetched_once_from_the_registry_that_is_set(registry, tmp_path):
    seen = []
    for _ in range(2):
        files = fetch_runtime(progress=lambda done, total: seen.append((done, total)))
        assert {file.name for file in files} == set(RUNTIME_FILES)
    assert registry.asked == [f"/npm/onnxruntime-web/-/{ARCHIVE}"]
    assert seen[-1] == (len(PACKAGE), len(PACKAGE))
    assert not list(tmp_path.rglob("evil*"))
    assert files[0].parent.is_relative_to(tmp_path / "cache" / "downloads")


def test_a_runtime_of_another_hash_is_refused_and_not_kept(registry, tmp_path):
    registry.body = PACKAGE + b"\0"
    with pytest.raises(WeightsError, match=r"its SHA512 is [0-9a-f]+, not [0-9a-f]+; it was removed"):
        fetch_runtime()
    assert not list(tmp_path.rglob("*.tgz")) and not list(tmp_path.rglob("*.mjs"))


def test_offline_it_is_said_where_to_put_the_archive_by_hand(registry, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    with pytest.raises(UserError, match=r"INCEPTIONS_OFFLINE is set .* or fetch http\S+\.tgz by other means and keep it as") as told:
        fetch_runtime()
    place = Path(str(told.value).rpartition("keep it as ")[2])
    place.parent.mkdir(parents=True)
    place.write_bytes(PACKAGE)
    assert len(fetch_runtime()) == 2
    assert registry.asked == []


def test_the_folder_has_the_page_the_network_and_its_card(registry, quick_export, tiny, tmp_path):
    found = export_web(tiny, tmp_path / "page")
    names = {file.name for file in (tmp_path / "page").iterdir()}
    page = {file.name for file in PAGE.iterdir()} - {"remote.js", "local.js"}
    assert names == page | {"classifier.js", "model.onnx", "card.json", *RUNTIME_FILES}
    assert (tmp_path / "page" / "classifier.js").read_bytes() == (PAGE / "local.js").read_bytes()
    assert (found.form, found.size) == ("web", sum(file.stat().st_size for file in (tmp_path / "page").iterdir()))
    told = json.loads((tmp_path / "page" / "card.json").read_text())
    assert (told["name"], told["class_names"], told["files"]["model.onnx"]) == ("model", list(CLASSES), 7)
    assert told["preprocess"] == for_training(16).to_dict()
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("cache", "page")] == []


def test_a_page_is_written_over_by_force_alone_and_other_things_never(registry, quick_export, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    export_web(tiny, tmp_path / "empty")
    with pytest.raises(UserError, match="empty exists already"):
        export_web(tiny, tmp_path / "empty")
    (tmp_path / "empty" / "page.js").write_text("old")
    export_web(tiny, tmp_path / "empty", replace_it=True)
    assert (tmp_path / "empty" / "page.js").read_bytes() == (PAGE / "page.js").read_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(UserError, match=f"{name} holds something else than an exported page; give a new or an empty folder"):
            export_web(tiny, tmp_path / name, replace_it=True)
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_what_else_lies_in_a_page_stays_there(registry, quick_export, tiny, tmp_path):
    """A host's own files and the folder's history; one that can't be copied is named, and nothing is changed."""
    page = tmp_path / "page"
    export_web(tiny, page)
    (page / "CNAME").write_text("pictures.example")
    (page / ".git" / "refs").mkdir(parents=True)
    (page / ".git" / "index.html").write_text("of the same name as one of ours")
    (page / "latest").symlink_to("nowhere")
    size = export_web(tiny, page, replace_it=True).size
    assert (page / "CNAME").read_text() == "pictures.example"
    assert (page / ".git" / "refs").is_dir() and (page / "latest").is_symlink()
    assert (page / ".git" / "index.html").read_text() == "of the same name as one of ours"
    assert size < sum(file.stat().st_size for file in page.iterdir() if file.is_file() and not file.is_symlink())
    (page / "page.js").write_text("old")
    os.mkfifo(page / "pipe")
    with pytest.raises(UserError, match=r"page: pipe lies in it and can't be copied \(.*\); move it elsewhere, or give another folder"):
        export_web(tiny, page, replace_it=True)
    assert (page / "page.js").read_text() == "old" and (page / "CNAME").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "page"}


def test_a_network_that_disagrees_leaves_no_folder(registry, tiny, tmp_path, monkeypatch):
    def disagree(folder, file, *, preprocess):
        file.write_text("half")
        raise UserError("what onnx makes of the file differs from torch")

    monkeypatch.setattr(web, "export_model", disagree)
    with pytest.raises(UserError, match="differs from torch"):
        export_web(tiny, tmp_path / "page")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_networks_that_a_browser_has_nothing_for_are_refused(tmp_path):
    with pytest.raises(UserError, match="a network without classes, and a page shows classes"):
        export_web(save_tiny(tmp_path / "embedding", classes=()), tmp_path / "page")
    from inceptions.networks.modules.models import create_model
    from inceptions.weights.folder import save_model

    module = create_model("inception_small", num_classes=2, in_chans=4)
    save_model(module, tmp_path / "bands", preprocess=for_training(28, channels=4), classes=("a", "b"))
    with pytest.raises(UserError, match="a network of 4 channels, and a browser's pictures have 1 or 3"):
        export_web(tmp_path / "bands", tmp_path / "page")
    assert not (tmp_path / "page").exists()
