"""Against a server on 127.0.0.1 that answers as each test says."""

import hashlib
import io
import os
import random
import re
import socket
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

import pytest

from inceptions.data import transfer
from inceptions.errors import UserError, WeightsError
from inceptions.weights import download
from inceptions.weights.download import fetch, fetch_tag, find_place
from inceptions.weights.tags import get_tag

BODY = random.Random(0).randbytes(1_000_000)
OTHER = random.Random(1).randbytes(900_000)
SHA256, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Gives `answers` one after the other, then whole files for ever; remembers what it was asked."""

    daemon_threads = False  # so that closing waits for every thread, and no socket stays open

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.over = [], [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/weights/a.pth"

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer's own looks the name of the host up, which may take long
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        pass  # a client that hung up


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        (self.server.answers.pop(0) if self.server.answers else give)(self)

    def log_message(self, format, *args):
        pass


def give(handler, body=BODY, etag='"one"', ranges=True, honours_if_range=True, cut=None, length=True):
    """Send a file as a good server does, or less well; cut: hang up after that many bytes."""
    asked = re.match(r"bytes=(\d+)-", handler.headers.get("Range", "")) if ranges else None
    if asked and honours_if_range and handler.headers.get("If-Range") != etag:
        asked = None
    start = int(asked[1]) if asked else 0
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    if etag:
        handler.send_header("ETag", etag)
    if length:
        handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    handler.wfile.write(body[start:] if cut is None else body[start : start + cut])
    handler.close_connection = True


def refuse(handler, status=404):
    handler.send_response(status)
    handler.send_header("Content-Length", "4")
    handler.end_headers()
    handler.wfile.write(b"gone")


def redirect(handler, to=None):
    handler.send_response(302)
    handler.send_header("Location", to or f"http://127.0.0.1:{handler.server.server_port}/again/{len(handler.server.requests)}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def stall(handler, sent=0):
    if sent:
        give(handler, cut=sent)
    handler.wfile.flush()
    handler.server.over.wait(10)


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name in ("inceptions_offline", "inceptions_mirror", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "BACKOFF_S", 0.001)
    return tmp_path / "cache"


def files(folder: Path) -> set[str]:
    """Names of the files in a folder and below, but for the locks that older versions of filelock leave."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_is_fetched_once_and_kept_under_its_address(server, cache):
    seen = []
    path = fetch(server.url, progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "downloads" / f"127.0.0.1_{server.server_port}" / "weights" / "a.pth" == find_place(server.url)
    assert path.read_bytes() == BODY
    assert fetch(server.url) == path
    assert len(server.requests) == 1
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert files(cache) == {"a.pth"}


@pytest.mark.parametrize("known", [{"sha256": SHA256}, {"sha256": SHA256.upper()}, {"sha256": SHA256[:8]}, {"md5": MD5}])
def test_a_file_with_the_right_hash_is_taken(server, known):
    assert fetch(server.url, hashes=known).read_bytes() == BODY


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"sha256": "0" * 64}, f"its SHA-256 is {SHA256}, not {'0' * 64};"),
        ({"sha256": "01234567"}, f"its SHA-256 is {SHA256}, not 01234567...;"),
        ({"md5": "0" * 32}, f"its MD5 is {MD5}, not {'0' * 32};"),
    ],
)
def test_a_file_with_a_wrong_hash_is_removed_and_both_are_told(server, cache, known, said):
    with pytest.raises(WeightsError, match=re.escape(said)):
        fetch(server.url, hashes=known)
    assert files(cache) == set()
    assert fetch(server.url, hashes={"sha256": SHA256}).read_bytes() == BODY


def test_a_file_in_the_cache_that_is_damaged_is_fetched_anew(server):
    path = fetch(server.url, hashes={"sha256": SHA256})
    path.write_bytes(BODY[:-1])
    assert fetch(server.url, hashes={"sha256": SHA256}).read_bytes() == BODY


def test_a_cache_that_can_only_be_read_serves_what_is_in_it(server, monkeypatch):
    path = fetch(server.url, hashes={"sha256": SHA256})
    monkeypatch.setattr(download, "FileLock", None)
    assert fetch(server.url, hashes={"sha256": SHA256}) == path


def test_a_later_call_goes_on_where_a_cut_connection_stopped(server, cache, monkeypatch):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.answers = [partial(give, cut=600_000)]
    with pytest.raises(
        UserError, match=r"cut after 600,000 of 1,000,000 bytes; 1 attempts\); .* try again, it goes on from what has arrived"
    ):
        fetch(server.url, hashes={"sha256": SHA256})
    assert files(cache) == {"a.pth.part", "a.pth.part.etag"}
    seen = []
    path = fetch(server.url, hashes={"sha256": SHA256}, progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert server.requests[1][1]["Range"] == "bytes=600000-"
    assert server.requests[1][1]["If-Range"] == '"one"'
    assert seen[0][0] > 600_000
    assert seen[-1] == (len(BODY), len(BODY))
    assert files(cache) == {"a.pth"}


def test_one_call_goes_on_by_itself(server):
    server.answers = [partial(give, cut=300_000), partial(give, cut=300_000)]
    assert fetch(server.url).read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.requests] == [None, "bytes=300000-", "bytes=600000-"]


def test_a_server_without_ranges_sends_it_all_again(server):
    server.answers = [partial(give, ranges=False, cut=600_000), partial(give, ranges=False)]
    assert fetch(server.url).read_bytes() == BODY


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_a_file_that_changed_in_between_is_fetched_from_its_beginning(server, honours_if_range):
    changed = partial(give, body=OTHER, etag='"two"', honours_if_range=honours_if_range)
    server.answers = [partial(give, cut=600_000), changed, changed]
    assert fetch(server.url).read_bytes() == OTHER


def test_a_partial_file_longer_than_the_file_is_dropped(server):
    server.answers = [partial(give, cut=600_000), partial(refuse, status=416)]
    assert fetch(server.url).read_bytes() == BODY
    assert "Range" not in server.requests[2][1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_what_cannot_be_gone_on_from_is_not_kept(server, cache, monkeypatch, etag):
    monkeypatch.setattr(transfer, "ATTEMPTS", 1)
    server.answers = [partial(give, etag=etag, cut=600_000)]
    with pytest.raises(UserError, match=r"and try again, or fetch"):
        fetch(server.url)
    assert files(cache) == set()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_is_busy_is_asked_again(server, status):
    server.answers = [partial(refuse, status=status)]
    assert fetch(server.url).read_bytes() == BODY


def test_a_server_that_stays_broken_is_given_up(server, cache):
    server.answers = [partial(refuse, status=500)] * 9
    with pytest.raises(UserError, match=r"a\.pth can't be fetched \(500 Internal Server Error; 4 attempts\); check the address"):
        fetch(server.url)
    assert len(server.requests) == 4
    assert files(cache) == set()


def test_a_file_that_is_not_there_is_told_at_once(server, cache):
    server.answers = [refuse]
    with pytest.raises(
        UserError, match=r"a\.pth can't be fetched \(404 Not Found\); check the address .*, or fetch http.* and keep it as /.*a\.pth$"
    ):
        fetch(server.url)
    assert len(server.requests) == 1
    assert files(cache) == set()


@pytest.mark.parametrize("sent", [0, 1000])
def test_a_server_that_falls_silent_is_left(server, monkeypatch, sent):
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    server.answers = [partial(stall, sent=sent)] * 2
    with pytest.raises(UserError, match=r"timed out; 2 attempts|cut after 1,000 of"):
        fetch(server.url)


def test_a_server_that_is_down_is_told():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # it doesn't listen
        with pytest.raises(UserError, match=r"a\.pth can't be fetched \(.*Connection refused; 4 attempts\)"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/a.pth")


def test_a_redirect_is_followed_and_keeps_the_range(server):
    server.answers = [partial(give, cut=600_000), redirect]
    assert fetch(server.url).read_bytes() == BODY
    assert server.requests[2][1]["Range"] == "bytes=600000-"


@pytest.mark.parametrize("to", [None, "/weights/a.pth"])
def test_redirects_without_end_are_left(server, cache, to):
    server.answers = [partial(redirect, to=to)] * 20
    with pytest.raises(UserError, match=r"a\.pth can't be fetched \(302 The HTTP server returned a redirect error"):
        fetch(server.url)
    assert len(server.requests) <= 11
    assert files(cache) == set()


def test_a_redirect_to_where_nothing_is_safe_is_refused(server, monkeypatch):
    def to_nobody(url, has_hash, ask=download.require_safe):
        ask(url.replace("127.0.0.1", "example.org") if "again" in url else url, has_hash=has_hash)

    monkeypatch.setattr(download, "require_safe", to_nobody)
    server.answers = [redirect]
    with pytest.raises(UserError, match=r"^http://example.org:\d+/again/1: files are fetched by https only"):
        fetch(server.url, hashes={"sha256": SHA256})


def test_a_redirect_to_a_local_file_is_refused(server):
    server.answers = [partial(redirect, to="file:///etc/hostname")]
    with pytest.raises(UserError, match=r"a\.pth can't be fetched \(302 .*not allowed"):
        fetch(server.url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.pth",
        "http://data.lip6.fr/cadene/a.pth",  # a host that is known, but no hash
        "ftp://example.org/a.pth",
        "file:///etc/hostname",
        "a.pth",
        "https:///a.pth",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url):
    with pytest.raises(UserError, match=rf"^{url}: files are fetched by https only"):
        fetch(url)


@pytest.mark.parametrize(
    "url", ["https://example.org", "https://example.org/../a.pth", "https://example.org/%2e%2e/a.pth", "hf:timm/a.pth", "hf:timm/@v1/a.pth"]
)
def test_an_address_that_is_no_files_is_refused(url):
    with pytest.raises(UserError, match=rf"^{url} is not "):
        fetch(url)


def test_files_of_other_addresses_are_kept_apart(cache):
    urls = ("https://a.org/x.pth", "https://b.org/x.pth", "https://a.org/y/x.pth", "https://a.org/x.pth?v=2", "https://a.org:8443/x.pth")
    places = [find_place(url) for url in urls]
    assert len(set(places)) == len(urls)
    assert all(place.is_relative_to(cache / "downloads") for place in places)


def test_a_server_that_does_not_say_the_size_will_do(server):
    seen = []
    server.answers = [partial(give, length=False)]
    assert fetch(server.url, progress=lambda done, total: seen.append((done, total))).read_bytes() == BODY
    assert seen[-1] == (len(BODY), None)


def test_a_full_disk_is_told_and_what_has_arrived_stays(server, cache, monkeypatch):
    room = [300_000]

    def fill(done, total):
        room[0] -= done
        if room[0] < 0:
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"can't write .*a\.pth \(No space left on device\); set INCEPTIONS_CACHE to a folder"):
        fetch(server.url, progress=fill)
    assert len(server.requests) == 1
    assert files(cache) == {"a.pth.part", "a.pth.part.etag"}
    assert fetch(server.url).read_bytes() == BODY
    assert "Range" in server.requests[1][1]


def test_a_cache_that_is_no_folder_is_told(tmp_path, monkeypatch, server):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"a\.pth \((Not a directory|File exists)\); .*INCEPTIONS_CACHE"):
        fetch(server.url)
    assert server.requests == []


def test_a_read_only_cache_is_told(cache, server):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(UserError, match=r"a\.pth \(Permission denied\); .*INCEPTIONS_CACHE"):
        fetch(server.url)
    assert list(cache.iterdir()) == []


def test_offline_nothing_is_fetched_and_the_place_for_it_is_told(server, monkeypatch, cache):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    place = find_place(server.url)
    said = "INCEPTIONS_OFFLINE is set and a.pth can't be used: it is not in the cache; unset it"
    with pytest.raises(UserError, match=f"^{re.escape(f'{said}, or fetch {server.url} by other means and keep it as {place}')}$"):
        fetch(server.url, hashes={"sha256": SHA256})
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    assert fetch(server.url, hashes={"sha256": SHA256}) == place
    place.write_bytes(OTHER)
    with pytest.raises(UserError, match=rf"a\.pth can't be used: its SHA-256 is {hashlib.sha256(OTHER).hexdigest()}, not {SHA256}"):
        fetch(server.url, hashes={"sha256": SHA256})
    assert place.read_bytes() == OTHER
    assert server.requests == []


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_offline_may_be_said_to_be_off(server, monkeypatch, value):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", value)
    assert fetch(server.url).read_bytes() == BODY


def test_a_mirror_stands_in_the_place_of_scheme_and_host(server, cache, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_MIRROR", f"http://127.0.0.1:{server.server_port}/mirror/")
    path = fetch("https://download.pytorch.org/models/a.pth", hashes={"sha256": SHA256})
    assert path == cache / "downloads/download.pytorch.org/models/a.pth"
    assert server.requests[0][0] == "/mirror/models/a.pth"
    path = fetch("hf:timm/a.b_in1k/model.safetensors", hashes={"sha256": SHA256})
    assert path == cache / "downloads/huggingface.co/timm/a.b_in1k/resolve/main/model.safetensors"
    assert server.requests[1][0] == "/mirror/timm/a.b_in1k/resolve/main/model.safetensors"


@pytest.mark.parametrize("mirror", ["http://example.org/models", "example.org"])
def test_a_mirror_must_be_safe_too(monkeypatch, mirror):
    monkeypatch.setenv("INCEPTIONS_MIRROR", mirror)
    with pytest.raises(UserError, match=rf"^{mirror}/models/a.pth: files are fetched by https only"):
        fetch("https://download.pytorch.org/models/a.pth", hashes={"sha256": SHA256})


def test_two_processes_at_once_fetch_it_once(server, cache):
    def slowly(handler):
        time.sleep(1)
        give(handler)

    server.answers = [slowly, slowly]
    code = f"from inceptions.weights.download import fetch; print(fetch({server.url!r}, hashes={dict(sha256=SHA256)!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate(timeout=60)[0].strip() for process in processes} == {str(find_place(server.url))}
    assert len(server.requests) == 1
    assert files(cache) == {"a.pth"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for `hf_hub_download`; what it was called with."""
    import huggingface_hub

    calls, path = [], tmp_path / "hub" / "model.safetensors"
    path.parent.mkdir()

    def hf_hub_download(repo_id, filename, **options):
        calls.append((repo_id, filename, options["revision"], options["local_files_only"]))
        if options["local_files_only"] and not path.exists():
            raise FileNotFoundError("Cannot find the requested files in the disk cache\nand more")
        if repo_id == "timm/gone":
            raise OSError("404 Client Error.\n\nRepository Not Found")
        path.write_bytes(BODY)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    return calls


def test_files_on_the_hub_go_through_huggingface_hub(hub):
    assert fetch("hf:timm/a.b_in1k/model.safetensors", hashes={"sha256": SHA256}).read_bytes() == BODY
    assert fetch("hf:zoo/old/deep/er/a.onnx").read_bytes() == BODY
    assert fetch("hf:zoo/old@v1.0/a.onnx").read_bytes() == BODY
    assert hub == [
        ("timm/a.b_in1k", "model.safetensors", None, False),
        ("zoo/old", "deep/er/a.onnx", None, False),
        ("zoo/old", "a.onnx", "v1.0", False),
    ]


def test_a_file_from_the_hub_with_a_wrong_hash_stays_in_the_cache_that_others_share(hub, tmp_path):
    with pytest.raises(
        WeightsError, match=rf"hf:timm/a/model.safetensors: its SHA-256 is {SHA256}, not 0000.* is damaged: delete that file"
    ):
        fetch("hf:timm/a/model.safetensors", hashes={"sha256": "0" * 64})
    assert files(tmp_path / "hub") == {"model.safetensors"}


def test_what_the_hub_says_is_told_in_one_line(hub):
    said = r"^hf:timm/gone/a.bin: 404 Client Error\.; try again, or fetch https://huggingface.co/timm/gone/resolve/main/a.bin by other"
    with pytest.raises(UserError, match=said):
        fetch("hf:timm/gone/a.bin")


def test_offline_the_hub_is_not_asked(hub, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"^hf:timm/a/b.bin: INCEPTIONS_OFFLINE is set and it is not in the cache; unset it, or fetch https://hugg"
    ):
        fetch("hf:timm/a/b.bin")
    assert hub == [("timm/a", "b.bin", None, True)]


def test_a_file_of_the_hub_may_be_put_into_the_cache_by_hand(hub):
    place = find_place("hf:timm/a/b.bin")
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    assert fetch("hf:timm/a/b.bin", hashes={"sha256": SHA256}) == place
    assert hub == []


def test_a_missing_huggingface_hub_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        UserError,
        match=r"^hf:timm/a/b.bin: the Hugging Face Hub needs huggingface_hub; pip install 'inceptions\[hub\]', or fetch https://huggingface",
    ):
        fetch("hf:timm/a/b.bin")


def test_a_tag_is_fetched_verified_and_unpacked(server, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "packed", "w:gz") as tar:
        info = tarfile.TarInfo("inception_v3.ckpt")
        info.size = len(OTHER)
        tar.addfile(info, io.BytesIO(OTHER))
    packed = (tmp_path / "packed").read_bytes()
    monkeypatch.setenv("INCEPTIONS_MIRROR", f"http://127.0.0.1:{server.server_port}")
    server.answers = [partial(give, body=packed)]
    tag = replace(get_tag("inception_v3.slim_in1k"), sha256=hashlib.sha256(packed).hexdigest())
    assert [(path.name, path.read_bytes()) for path in fetch_tag(tag)] == [("inception_v3.ckpt", OTHER)]
    assert server.requests[0][0] == "/download.tensorflow.org/models/inception_v3_2016_08_28.tar.gz"
    plain = replace(get_tag("googlenet_bn.torchvision_in1k"), sha256_prefix=SHA256[:8])
    assert [path.read_bytes() for path in fetch_tag(plain)] == [BODY]
