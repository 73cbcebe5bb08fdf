"""A benchmark from its command to its page, with few pictures and short rounds."""

import json
import os
import shutil
import sys

import numpy as np
import pytest

from inceptions.errors import UserError
from inceptions.evaluation.interval import Interval
from inceptions.inference.benchmark import benchmark as module
from inceptions.inference.benchmark.benchmark import Folder, run_benchmark
from inceptions.inference.benchmark.measure import Rates, latencies, median_interval, run_process, take_turns
from inceptions.inference.benchmark.page import as_markdown, other_rows
from inceptions.inference.engines.choose import open_engine
from inceptions.weights.card import read_card

KEYS = set("model network image_size engine precision processor versions date rates latency differences folder cold ratios".split())
SHORT = ("--rounds", "2", "--seconds", "0.02", "--photos", "8", "--cold", "0")


def test_the_command_measures_against_openvino_by_hand_and_writes_a_page(inceptions, tiny, engine_cache, tmp_path):
    given = ("benchmark", tiny, "--against", "openvino", "--engine", "openvino", "--device", "cpu", *SHORT)
    done = inceptions(*given, "--output", tmp_path / "page", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert set(found) == KEYS
    assert (found["network"], found["engine"], found["image_size"]) == ("inception_small", "openvino", 16)
    assert [rates["batch_size"] for rates in found["rates"]] == [1, 4, 16, 32]
    assert {name: len(rounds) for name, rounds in found["rates"][0]["rounds"].items()} == {"inceptions": 2, "openvino": 2}
    assert set(found["latency"]["openvino"]) == {"p50", "p95", "p99"}
    assert [set(ratio) for ratio in found["ratios"]] == [{"batch_size", "to", "value", "low", "high"}] * 4
    assert found["folder"]["images"] == 8 and len(found["folder"]["seconds"]["inceptions"]) == 3
    assert {file.name for file in (tmp_path / "page").iterdir()} == {"benchmark.md", "benchmark.json", "benchmark.svg"}
    page = (tmp_path / "page" / "benchmark.md").read_text(encoding="utf-8")
    command = json.loads((tmp_path / "page" / "benchmark.json").read_text())["command"]
    assert command in page and all(word in command for word in map(str, given))
    assert "def openvino_compiled(" in page
    refused = inceptions(*given, "--output", tmp_path / "page")  # before anything is measured
    assert (refused.code, "exists already" in refused.err) == (2, True)


def test_without_output_the_tables_are_printed(inceptions, tiny, engine_cache, pictures):
    done = inceptions("benchmark", tiny, "--engine", "openvino", "--device", "cpu", "--data", pictures / "test", *SHORT[:4], *SHORT[6:])
    assert done.code == 0, done.err
    assert "12 files to CSV, inceptions" in done.out
    assert "inception_small, openvino in " in done.err


def test_pictures_that_cant_be_read_are_left_out_before_anything_is_measured(inceptions, tiny, pictures, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "a.jpg").write_text("no picture")
    refused = inceptions("benchmark", tiny, "--engine", "torch", "--data", folder, *SHORT[:4], *SHORT[6:])
    assert (refused.code, "none of the images can be read" in refused.err, "a.jpg" in refused.err) == (2, True, True), refused.err
    shutil.copy(next((pictures / "test").rglob("*.png")), folder / "b.png")
    done = inceptions("benchmark", tiny, "--engine", "torch", "--data", folder, *SHORT[:4], "--cold", "1")
    assert done.code == 0, done.err
    assert "1 files to CSV, inceptions" in done.out and "new process, one image, 1 times" in done.out
    assert f"warning: 1 of 2 files can't be read and are left out: {folder / 'a.jpg'} (" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file is called so")
def test_a_plain_loop_writes_names_that_are_no_utf_8(tiny, pictures, tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copy(next((pictures / "test").rglob("*.png")), file)
    module.plain_loop(lambda pixels: np.eye(3)[[1]], read_card(tiny), [str(file)], tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes().startswith(os.fsencode(file) + b",")


def test_a_contender_that_cant_be_had_is_told(inceptions, tiny, tmp_path):
    unknown = inceptions("benchmark", "no_such_model", "--against", "keras,openvino", "--output", tmp_path / "page")
    assert (unknown.code, "against keras: there are torchvision, timm, openvino" in unknown.err) == (2, True)
    for name in ("timm", "torchvision"):  # which have no such network
        refused = inceptions("benchmark", tiny, "--against", name, "--engine", "torch", "--output", tmp_path / "page")
        assert refused.code == 2 and name in refused.err
    missing = inceptions("benchmark", tiny, "--engine", "torch", "--data", tmp_path / "nothing", "--output", tmp_path / "page")
    assert (missing.code, "no such file or folder" in missing.err) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_contender_that_answers_otherwise_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(module, "contender", lambda *_, **__: lambda pixels: np.eye(3)[np.arange(len(pixels)) % 3] * 99)
    with pytest.raises(UserError, match=r"openvino gives other answers than ours, by .* of a probability; a comparison would mean nothing"):
        run_benchmark(tiny, against=["openvino"], engine="torch", rounds=2, seconds=0.01, photos=1, cold=0)


def test_one_picture_in_a_new_process_is_timed(tiny, engine_cache):
    open_engine(tiny, engine="openvino", device="cpu")
    found = run_benchmark(tiny, engine="openvino", device="cpu", batch_sizes=(1,), rounds=2, seconds=0.01, photos=0, cold=1)
    assert found.folder is None
    assert 0 < found.cold.seconds[0] < 60 and 10 < found.cold.mebibytes[0] < 4000
    assert any("new process, one image, 1 times" in name for name, _ in other_rows(found))
    assert "# inception_small at 16 pixels" in as_markdown(found, command="x")
    with pytest.raises(RuntimeError, match="no such file"):
        run_process([sys.executable, "-m", "inceptions", "predict", "nothing", "--model", "x"])


def test_ratios_are_of_one_round_with_an_interval():
    rates = Rates(4, {"inceptions": (20.0, 40.0, 66.0), "other": (10.0, 20.0, 22.0)})
    ratio = rates.ratio("inceptions", "other")
    assert (ratio.value, ratio.low, ratio.high) == (2.0, 2.0, 3.0)
    assert rates.median("other") == 20
    assert median_interval(np.full(5, 7.0)) == Interval(7.0, 7.0, 7.0)
    found = Folder(30, 10, {"inceptions": (1.0, 3.0, 2.0), "timm": (4.0, 5.0, 6.0)})
    assert (found.rate("inceptions"), found.rate("timm")) == (15, 2)


def test_contenders_take_turns_and_each_has_at_least_its_time(monkeypatch):
    clock, order = iter(range(10_000)), []
    monkeypatch.setattr("inceptions.inference.benchmark.measure.time.perf_counter", lambda: float(next(clock)))
    runs = {name: lambda pixels, name=name: order.append(name) for name in "ab"}
    rates = take_turns(runs, np.zeros((8, 1)), batch_size=4, rounds=2, seconds=3.0)
    assert "".join(order) == "ab" + "aabb" * 2
    assert rates.rounds == {"a": (8 / 3, 8 / 3), "b": (8 / 3, 8 / 3)}
    assert latencies(runs["a"], np.zeros((2, 1)), count=5) == {"p50": 1000.0, "p95": 1000.0, "p99": 1000.0}
