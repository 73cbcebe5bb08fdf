"""The Hugging Face Hub as a server on 127.0.0.1 stands in for it; the real libraries ask it, in processes of their own."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from inceptions.data.preprocess import for_training
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.weights.folder import save_model

pytestmark = pytest.mark.slow
COMMITS = {"main": "b" * 40, "v1": "a" * 40}
LOAD = """
import inceptions, sys
from inceptions.errors import UserError
for name in sys.argv[1:]:
    try:
        print(*inceptions.load_model(name).card.classes)
    except UserError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does, with a model of two revisions."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(self.path)
        if found := re.fullmatch(r"/api/models/us/small/(?:revision|tree)/(\w+).*", self.path):
            self._tell_files(COMMITS.get(found[1], found[1]), tree="/tree/" in self.path)
        elif found := re.fullmatch(r"/us/small/resolve/(\w+)/(model\.\w+)", self.path):
            commit = COMMITS.get(found[1], found[1])
            content = (self.server.folder / commit / found[2]).read_bytes()
            self._send(content, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _tell_files(self, commit, *, tree):
        names = ("model.json", "model.safetensors")
        sizes = {name: (self.server.folder / commit / name).stat().st_size for name in names}
        files = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in sizes.items()]
        info = {"id": "us/small", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
        self._send(json.dumps(files if tree else info).encode(), {"Content-Type": "application/json"})

    def _send(self, content, headers):
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    network = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.125), 2)
    for revision, names in {"main": ("new", "newer"), "v1": ("old", "older")}.items():
        save_model(Classifier(network), folder / COMMITS[revision], preprocess=for_training(28), classes=names)
    return folder


@pytest.fixture
def hub(models):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.folder = [], models
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(hub, tmp_path):
    """Run a program that knows the stand-in as the Hub, and return what it prints, or the last line of its error."""
    left_out = {name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("HF_", "INCEPTIONS_"))}
    plain = {name: value for name, value in os.environ.items() if name not in left_out}
    address = f"http://127.0.0.1:{hub.server_port}"
    ours = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": address, "INCEPTIONS_CACHE": str(tmp_path / "cache")}
    ours |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}

    def run(code, *arguments, **variables):
        environment = {**plain, **ours, **{name: value.replace("HUB", address) for name, value in variables.items()}}
        done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]

    return run


def test_a_revision_of_a_model_is_asked_for_and_offline_what_is_there_is_used(hub, run):
    assert run(LOAD, "hf:us/small@v1", "hf:us/small").splitlines() == ["old older", "new newer"]
    asked = len(hub.asked)
    there, said = run(LOAD, "hf:us/small@v1", "hf:us/other", INCEPTIONS_OFFLINE="1").splitlines()
    assert there == "old older"
    assert "hf:us/other could not be fetched from the Hub" in said
    assert said.endswith("INCEPTIONS_OFFLINE is set; unset it")
    assert len(hub.asked) == asked


def test_a_mirror_stands_in_for_the_hub(hub, run):
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "INCEPTIONS_MIRROR": "HUB"}
    assert run(LOAD, "hf:us/small", "hf:us/small@v1", **nowhere).splitlines() == ["new newer", "old older"]
    assert hub.asked == [
        f"/us/small/resolve/{revision}/{file}" for revision in ("main", "v1") for file in ("model.safetensors", "model.json")
    ]


@pytest.mark.parametrize("variables", [{"INCEPTIONS_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "INCEPTIONS_MIRROR": "HUB"}])
def test_data_sets_go_by_the_same_variables(hub, run, variables):
    pytest.importorskip("datasets")
    code = "import sys, datasets; from inceptions.data import load_splits; load_splits(sys.argv[1])"
    said = run(code, "hf:us/pets@v2", **variables)
    if "INCEPTIONS_MIRROR" in variables:
        assert any(path.startswith("/datasets/us/pets/resolve/v2/") for path in hub.asked)
    else:
        assert "hf:us/pets@v2: can't be loaded (INCEPTIONS_OFFLINE is set)" in said
        assert hub.asked == []
