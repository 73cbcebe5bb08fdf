"""A server of its own process, asked over the network."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import inceptions
from inceptions.files import whole_folder
from inceptions.weights.card import CARD_NAME, read_card
from tests.serving.conftest import PATIENT, children_of
from tests.tiny import CLASSES, SIZE_PX, save_tiny

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "docs" / "chelsea.jpg"
NAME = "inception_small.cifar10"
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
CURL = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("curl ")
]


def post(body: bytes, path: str = "/v1/predict") -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("line", CURL)
def test_every_curl_command_of_the_page_is_answered(live, line):
    command = line.replace("http://127.0.0.1:8000", live.url).replace("curl ", "curl --fail-with-body --silent --show-error ", 1)
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)


def test_commands_of_the_page_are_found():
    assert len(CURL) >= 9


def test_python_example_of_the_page_runs(live, monkeypatch, capsys):
    pytest.importorskip("tritonclient.http")
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(code.replace("127.0.0.1:8000", f"127.0.0.1:{live.port}"), names)
    names["client"].close()
    assert capsys.readouterr().out.split()[0] in CLASSES


def test_answers_are_those_of_predict(live, environment, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", environment["INCEPTIONS_CACHE"])
    answer = json.loads(live.raw(post(PHOTO.read_bytes())).partition(b"\r\n\r\n")[2])
    folder = next(arg.partition("=")[2] for arg in live.process.args if arg.startswith(NAME))
    (wanted,) = inceptions.predict(folder, PHOTO, engine="openvino")
    (found,) = answer["predictions"]
    assert [item["class"] for item in found["classes"]] == list(wanted.classes)
    assert [item["probability"] for item in found["classes"]] == pytest.approx(wanted.probabilities, abs=1e-6)
    embedded = json.loads(live.raw(post(PHOTO.read_bytes(), "/v1/embed")).partition(b"\r\n\r\n")[2])
    np.testing.assert_allclose(embedded["embeddings"][0]["vector"], wanted.vector, atol=1e-5)


def test_another_ones_client_gets_answers_of_files_and_of_pixels(live):
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"127.0.0.1:{live.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(NAME)
    assert metadata["inputs"][1] == {"name": "pixels", "datatype": "UINT8", "shape": [-1, SIZE_PX, SIZE_PX, 3]}
    (version,) = metadata["versions"]
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE_PX, SIZE_PX, 3), np.uint8)
    found = {}
    for binary in (True, False):
        given = http.InferInput("pixels", pixels.shape, "UINT8")
        given.set_data_from_numpy(pixels, binary_data=binary)
        outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "classes", "embeddings")]
        answer = client.infer(NAME, [given], outputs=outputs, request_id="7", model_version=version)
        assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("7", version)
        found[binary] = [answer.as_numpy(name) for name in ("probabilities", "classes", "embeddings")]
        probabilities, classes, _ = found[binary]
        assert probabilities.shape == classes.shape == (5, 3)
        texts = [text.decode() if isinstance(text, bytes) else text for text in classes[:, 0]]
        assert texts == [CLASSES[place] for place in probabilities.argmax(1)]
    np.testing.assert_allclose(found[True][0], found[False][0], atol=1e-6)
    files = np.array([PHOTO.read_bytes()] * 2, dtype=object)
    for binary in (True, False):
        given = http.InferInput("images", files.shape, "BYTES")
        if binary:
            given.set_data_from_numpy(files)
            assert client.infer(NAME, [given]).as_numpy("probabilities").shape == (2, 3)
    client.close()


@pytest.mark.parametrize(
    ("name", "shape", "version", "said"),
    [
        ("pixels", (1, 8, 8, 3), "", r"must be \[N, 16, 16, 3\]"),
        ("image", (1, SIZE_PX, SIZE_PX, 3), "", "give images, BYTES, or pixels, UINT8"),
        ("pixels", (1, SIZE_PX, SIZE_PX, 3), "2", "leave it out"),
        ("pixels", (65, SIZE_PX, SIZE_PX, 3), "", "may have 64 pictures"),
    ],
)
def test_another_ones_client_is_told_what_is_wrong(live, name, shape, version, said):
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"127.0.0.1:{live.port}")
    given = http.InferInput(name, shape, "UINT8")
    given.set_data_from_numpy(np.zeros(shape, np.uint8))
    with pytest.raises(http.InferenceServerException, match=said):
        client.infer(NAME, [given], model_version=version)
    client.close()


def test_the_models_card_says_how_good_it_is_and_no_path(live):
    answer = json.loads(live.get(f"/v1/models/{NAME}"))
    assert (answer["class_names"], answer["engine"], answer["accuracy"], answer["confusions"]) == (list(CLASSES), "openvino", None, None)
    assert "/" not in json.dumps(answer["trained_on"])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is asked of Linux")
def test_neither_the_server_nor_what_runs_the_model_has_torch(live):
    for pid in (live.process.pid, *live.children()):
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()


def test_metrics_count_what_went_by(live):
    live.raw(post(PHOTO.read_bytes()))
    live.raw(post(b"no picture"))
    text = live.get("/metrics").decode()
    for name in ("requests_total", "request_seconds_bucket", "in_flight_requests", "queue_images", "batch_images_bucket", "images_total"):
        assert f"inceptions_{name}" in text
    assert 'inceptions_requests_total{method="POST",route="/v1/predict",status="422"}' in text
    assert re.search(r'inceptions_refused_total{reason="unreadable"} [1-9]', text)


def load(live, answers: Counter, done: threading.Event) -> list[threading.Thread]:
    """Ask from a few threads until `done`, and count the statuses; -1 is a request whose answer is missing."""

    def ask() -> None:
        request = post(PHOTO.read_bytes())
        while not done.is_set():
            try:
                found = live.raw(request)
            except ConnectionRefusedError:
                answers["nobody listens"] += 1
                return
            answers[int(found[9:12]) if found[:5] == b"HTTP/" and b"\r\n\r\n" in found else -1] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    return threads


def write_classes(folder: Path, names: list[str]) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    (folder / CARD_NAME).write_text(json.dumps(card | {"classes": names}))


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.02)


def test_a_process_that_is_killed_is_started_again_and_a_folder_that_changes_is_followed(start_live, tmp_path):
    folder = save_tiny(tmp_path / "model")
    card = (folder / CARD_NAME).read_text()
    live = start_live(folder, "--watch-s", "0.1", *PATIENT)
    answers, done = Counter(), threading.Event()
    threads = load(live, answers, done)
    try:
        wait_for(lambda: answers[200] > 3)
        version = json.loads(live.get("/v1/models"))["models"][0]["version"]
        with whole_folder(folder) as fresh:  # another version takes over, and no request is lost
            shutil.copytree(folder, fresh, dirs_exist_ok=True)
            write_classes(fresh, ["a", "b", "c"])
        wait_for(lambda: json.loads(live.get("/v1/models"))["models"][0]["version"] != version)
        assert set(answers) == {200}
        assert json.loads(live.get("/v1/models/model"))["class_names"] == ["a", "b", "c"]
        (folder / CARD_NAME).write_text("{}")  # one that can't be taken is told, and the old one goes on
        wait_for(lambda: "the old one goes on" in live.log.read_text())
        assert set(answers) == {200}
        (folder / CARD_NAME).write_text(card)
        wait_for(lambda: json.loads(live.get("/v1/models/model"))["class_names"] == list(CLASSES))
        wait_for(lambda: len(live.children()) == 1)  # the processes of earlier versions have gone
        (before,) = live.children()
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: "model: started again" in live.log.read_text())
        count = answers[200]
        wait_for(lambda: answers[200] > count + 3)
        assert set(answers) <= {200, 503}
        assert before not in live.children()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert "Traceback" not in live.log.read_text()


def test_when_it_is_stopped_it_answers_what_it_took(start_live, tmp_path):
    live = start_live(save_tiny(tmp_path / "model"), "--linger-s", "3", "--drain-s", "300", *PATIENT)
    answers, done = Counter(), threading.Event()
    threads = load(live, answers, done)
    wait_for(lambda: answers[200] > 5)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait() == 0
    for thread in threads:
        thread.join()
    assert answers[-1] == 0
    assert answers[503] > 0
    assert answers["nobody listens"] == 4
    assert "every request that was taken is answered" in live.log.read_text()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the model's process is asked of Linux")
@pytest.mark.parametrize(("drain_s", "signals"), [(1, 1), (300, 2)])
def test_what_a_stopped_server_cannot_wait_for_is_refused_and_said(start_live, tmp_path, drain_s, signals):
    live = start_live(save_tiny(tmp_path / "model"), "--linger-s", "0", "--drain-s", drain_s, *PATIENT)
    (child,) = live.children()
    os.kill(child, signal.SIGSTOP)  # it owes an answer that never comes
    found = []
    asking = threading.Thread(target=lambda: found.append(live.raw(post(PHOTO.read_bytes()))))
    asking.start()
    wait_for(lambda: 'inceptions_queue_images{model="model"} 1.0' in live.get("/metrics").decode())
    for _ in range(signals):
        live.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "told to stop" in live.log.read_text())
    assert live.process.wait() == 0
    asking.join()
    head, _, body = found[0].partition(b"\r\n\r\n")
    assert (head[9:12], json.loads(body)["type"], b"connection: close" in head) == (b"503", "/docs#draining", True)
    assert "requests that were taken and cut off: 1" in live.log.read_text()
    assert "is answered\n" not in live.log.read_text()
    assert not Path(f"/proc/{child}").exists()
    assert "Traceback" not in live.log.read_text()


def test_told_to_stop_while_models_are_being_started_it_ends_with_them(tmp_path, environment):
    folders = [str(save_tiny(tmp_path / name)) for name in "abc"]
    command = [sys.executable, "-m", "inceptions", "serve", *folders, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        wait_for(lambda: children_of(process.pid))
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()  # to the end of the pipe, which its processes hold too
        process.wait()
    assert (process.returncode, "told to stop" in rest, "Traceback" in rest) == (0, True, False), rest


def test_of_two_servers_at_one_address_the_later_is_told():
    from inceptions.errors import UserError
    from inceptions.serving.server import listen

    with listen("127.0.0.1", 0) as first, pytest.raises(UserError, match="Address already in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_a_model_that_cannot_be_loaded_is_told(tmp_path, environment):
    folder = save_tiny(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    command = [sys.executable, "-m", "inceptions", "serve", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
    assert "the process that was to run" in done.stderr
    assert "Traceback" not in done.stderr


def test_card_of_a_trained_model_has_accuracy_and_confusions(tmp_path):
    from inceptions.serving.cards import describe
    from inceptions.serving.models import Version
    from inceptions.weights.folder import update_metrics
    from tests.serving.processes import FakeProcess

    folder = save_tiny(tmp_path / "model")
    update_metrics(folder, {"test_accuracy": 0.75, "test_images": 100}, confusions=[("amber", "blue", 9)])
    found = describe("a", Version("1", read_card(folder), FakeProcess(3)))
    assert found["accuracy"] == {
        "value": 0.75,
        "low": pytest.approx(0.657, abs=1e-3),
        "high": pytest.approx(0.825, abs=1e-3),
        "images": 100,
        "part": "test",
    }
    assert found["confusions"] == [{"truth": "amber", "predicted": "blue", "count": 9}]
