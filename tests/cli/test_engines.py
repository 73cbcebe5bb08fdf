"""Engines in commands: predict without torch, runs that are killed and go on, embeddings, and what `engines` shows."""

import io
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from inceptions.inference.engines.choose import open_engine
from inceptions.networks.spec import L2Normalize
from tests.tiny import CLASSES, save_tiny

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # importing them is an error
from inceptions.cli import main
main()
"""
ENGINE = ("--engine", "openvino", "--device", "cpu")


@pytest.fixture
def ready(tiny, engine_cache):
    """The model folder, with OpenVINO's engine prepared."""
    open_engine(tiny, engine="openvino", device="cpu")
    return tiny


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three hundred small pictures, one in ten of which can't be read."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(300):
        path = folder / f"{number:03}.png"
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        if number % 10 == 3:
            path.write_bytes(b"")
    return folder


def command(*arguments) -> list[str]:
    return [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, "predict", *map(str, arguments)]


def run(*arguments) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_an_engine_that_is_prepared_predicts_without_torch(inceptions, ready, photos):
    found = json.loads(run(photos, "--model", ready, "--json", *ENGINE).stdout)
    torchs = json.loads(inceptions("predict", photos, "--model", ready, "--json", "--engine", "torch").out)
    assert [item["file"] for item in found] == [item["file"] for item in torchs]
    assert [item["error"] for item in found] == [item["error"] for item in torchs]
    for ours, theirs in zip(found, torchs, strict=True):
        probabilities = [{each["class"]: each["probability"] for each in item["classes"]} for item in (ours, theirs)]
        assert probabilities[0] == pytest.approx(probabilities[1], abs=0.1)  # what bfloat16 is allowed, where there is that


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_run_that_is_killed_goes_on_to_the_same_bytes(ready, photos, tmp_path, kind):
    """Killed at random moments, from before it begins to after it ends; each time the same command goes on."""
    arguments = (photos, "--model", ready, "--batch-size", "4", "--workers", "1", *ENGINE, *(["--embeddings"] if kind == "parquet" else []))
    whole, output = tmp_path / f"whole.{kind}", tmp_path / f"p.{kind}"
    began = time.monotonic()
    run(*arguments, "--output", whole)
    taken = time.monotonic() - began
    draw = random.Random(20)
    for _ in range(20):
        with suppress(subprocess.TimeoutExpired):  # and then kills it
            wait = taken * draw.uniform(0.4, 1.05)
            subprocess.run(command(*arguments, "--output", output, "--resume"), capture_output=True, timeout=wait, check=False)
    run(*arguments, "--output", output, "--resume")
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.part*"))


def test_ctrl_c_is_one_line_that_says_where_the_rows_are(ready, photos, tmp_path):
    listed = "\n".join(str(path) for path in sorted(photos.iterdir()))
    options = ("--output", tmp_path / "p.csv", "--batch-size", "4", "--workers", "1")
    started = command("-", "--model", ready, *ENGINE, *options)
    process = subprocess.Popen(started, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdin.write(listed)
    process.stdin.flush()  # and more could come
    part = tmp_path / "p.csv.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 2000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert err == f"inceptions: interrupted; what was done before is in {part}; the same command can resume it\n"


def test_a_run_goes_on_with_its_own_settings_alone(inceptions, ready, photos, tmp_path, monkeypatch):
    from inceptions.inference import rows

    monkeypatch.setattr(rows._Parquet, "GROUP", 8)
    some = [photos / f"{number:03}.png" for number in range(24)]
    given = ("predict", *some, "--model", ready, "--output", tmp_path / "p.parquet", "--batch-size", "8", "--engine", "torch")

    def stops(self, *arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rows._Parquet, "finish", stops)
        assert inceptions(*given).code == 130
    for change, told in {
        ("--embeddings",): "embeddings was False and is True",
        ("--top-k", "1"): "top_k was 3 and is 1",
        ("--batch-size", "4"): "batch_size was 8 and is 4",
        ("--on-error", "fail"): "on_error was 'skip' and is 'fail'",
        ENGINE: "engine was 'torch' and is 'openvino'",
    }.items():
        refused = inceptions(*given, "--resume", *change)
        assert (refused.code, told in refused.err) == (2, True), refused.err
    done = inceptions(*given, "--resume")
    assert (done.code, "going on after 24 images" in done.err) == (0, True), done.err
    again = inceptions(*given, "--resume")
    assert (again.code, "is whole already; nothing is left to do" in again.err) == (0, True)


@pytest.mark.parametrize("embedding", [(), L2Normalize()], ids=["features", "unit length"])
def test_a_network_without_classes_writes_its_vectors_and_sorts_nothing(inceptions, photos, tmp_path, embedding):
    model = save_tiny(tmp_path / "model", classes=(), embedding=embedding)
    refused = inceptions("predict", photos, "--model", model)
    assert (refused.code, "--embeddings --output FILE.parquet writes its vectors" in refused.err) == (2, True)
    written = inceptions("predict", photos, "--model", model, "--embeddings", "--output", tmp_path / "p.parquet")
    assert written.code == 0, written.err
    table = parquet.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["file", "error", "embedding"]
    assert table["embedding"].null_count == 30
    if embedding:
        lengths = [np.linalg.norm(vector) for vector in table["embedding"].to_pylist() if vector]
        assert np.allclose(lengths, 1, atol=1e-5)
    sort = ("--copy-to", tmp_path / "sorted", "--embeddings", "--output", tmp_path / "q.parquet")
    refused = inceptions("predict", photos, "--model", model, *sort)
    assert (refused.code, "has no classes to put images into folders by" in refused.err) == (2, True)
    assert not (tmp_path / "sorted").exists()


def test_pictures_are_put_into_folders_and_the_same_again_changes_nothing(inceptions, tiny, photos, tmp_path):
    given = ("predict", *sorted(photos.iterdir())[:40], "--model", tiny, "--copy-to", tmp_path / "sorted", "--json")
    found = json.loads(inceptions(*given).out)
    wanted = {(item["classes"][0]["class"] if item["classes"] else "unreadable", item["file"].rsplit("/", 1)[1]) for item in found}
    for _ in range(2):
        assert {(path.parent.name, path.name) for path in (tmp_path / "sorted").rglob("*.png")} == wanted
        assert inceptions(*given).code == 0
    assert {name for name, _ in wanted} <= {*CLASSES, "unreadable"}
    within = inceptions("predict", photos, "--model", tiny, "--link-to", photos / "sorted")
    assert (within.code, "the next run would predict what is put there too" in within.err) == (2, True)
    assert not (photos / "sorted").exists()


def test_an_empty_list_is_told(inceptions, tiny, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n")))
    result = inceptions("predict", "-", "--model", tiny)
    assert (result.code, "no images were given" in result.err) == (2, True)


def test_engines_shows_what_could_run_a_model_and_what_is_prepared(inceptions, ready, engine_cache):
    shown = json.loads(inceptions("engines", ready, "--device", "cpu", "--json").out)
    rows = {(row["engine"], row["precision"]): row for row in shown["engines"]}
    assert {engine for engine, _ in rows} == {"torch", "compiled", "openvino", "onnxruntime"}
    assert sum(row["auto"] for row in rows.values()) == 1
    assert rows["torch", "float32"]["prepared"] and rows["torch", "float32"]["usable"]
    best = next(row for (engine, _), row in rows.items() if engine == "openvino")
    assert best["prepared"] and best["usable"] and best["bytes"] > 0 and best["images_per_second"] > 0
    assert best["folder"].startswith(str(engine_cache))
    one = inceptions("engines", "--model", ready, "--engine", "openvino", "--device", "cpu")
    assert {line.split("\t")[0] for line in one.out.splitlines()[1:]} == {"openvino"}
    listed = json.loads(inceptions("engines", "--json").out)
    assert [(item["engine"], item["usable"]) for item in listed if item["folder"] == best["folder"]] == [("openvino", True)]
    assert inceptions("engines").out.splitlines()[0].split("\t") == ["network", "engine", "in", "MB", "made of"]


def test_engines_prepares_and_clears(inceptions, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    assert inceptions("engines").out.splitlines()[1:] == []
    before = json.loads(inceptions("engines", tiny, "--engine", "onnxruntime", "--device", "cpu", "--json").out)["engines"]
    assert [(row["prepared"], row["compared"]) for row in before] == [(False, "not prepared yet")]
    after = inceptions("engines", tiny, "--engine", "onnxruntime", "--device", "cpu", "--prepare", "--json")
    (row,) = json.loads(after.out)["engines"]
    assert row["prepared"] and "32 of 32 pictures alike" in row["compared"]
    assert "preparing onnxruntime in float32" in after.err
    for wrong in (("--clear", tiny), ("--clear", "--prepare"), (tiny, "--model", tiny)):
        assert inceptions("engines", *wrong).code == 2
    cleared = inceptions("engines", "--clear")
    assert (cleared.code, " MB deleted from " in cleared.out) == (0, True)
    assert inceptions("engines").out.splitlines()[1:] == []


def test_engines_says_why_one_cant_be_had(inceptions, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    (row,) = json.loads(inceptions("engines", tiny, "--engine", "openvino", "--device", "cpu", "--json").out)["engines"]
    assert not row["usable"] and "needs openvino, not installed here" in row["compared"]


def test_an_engine_that_isnt_there_is_told_by_predict(inceptions, tiny, photos, monkeypatch):
    refused = inceptions("predict", photos, "--model", tiny, "--engine", "fast")
    assert (refused.code, "'fast' is not one of 'auto', 'torch'" in " ".join(refused.err.split())) == (2, True)
    monkeypatch.setenv("INCEPTIONS_ENGINE", "fast")
    refused = inceptions("predict", photos, "--model", tiny)
    assert (refused.code, "there are auto, torch, compiled, openvino, onnxruntime" in refused.err) == (2, True)
