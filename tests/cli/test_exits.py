"""exits, and predict and evaluate that leave early, as they are typed."""

import csv
import json

import pytest
import torch

from inceptions.cli.predict import Counted
from inceptions.data.preprocess import for_training
from inceptions.inference.exits import choose as room
from inceptions.networks.modules.models import ClassifierWithAux
from inceptions.weights.folder import save_model
from tests.inference.test_exits import two_heads
from tests.pictures import paint
from tests.tiny import CLASSES, SIZE_PX


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A model with two auxiliary heads, and labelled pictures."""
    whole = room.choose_exits
    monkeypatch.setattr(room, "choose_exits", lambda *given, **settings: whole(*given, **settings, seconds=0.01))
    monkeypatch.setattr(room, "TIMED_ON", 8)
    torch.manual_seed(0)
    module = ClassifierWithAux(two_heads())
    for head in (module.classifier, *(side[-1] for side in module.aux.values())):
        torch.nn.init.normal_(head.weight, std=3)
    save_model(module, tmp_path / "model", preprocess=for_training(SIZE_PX), classes=CLASSES)
    paint(tmp_path / "data" / "train", each=2, seed=1)
    paint(tmp_path / "data" / "val", each=70, seed=2)
    return tmp_path / "model", tmp_path / "data"


def test_exits_are_found_shown_and_used(inceptions, given, tmp_path):
    model, data = given
    early = inceptions("predict", data / "val", "--model", model, "--exit-early")
    assert (early.code, early.err.count("\n")) == (2, 1)
    assert "inceptions exits MODEL --data DATA finds it" in early.err

    done = inceptions("exits", model, "--data", data)
    assert done.code == 0, done.err
    columns, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert columns == ["most lost", "lost", "interval", "leave by 2a", "leave by 2c", "multiply-adds", "speed"]
    assert [row[0] for row in rows] == ["0", "0.1", "0.2", "0.3", "0.5", "1", "2"]
    assert "chosen on 105 validation images, judged on 105 validation images" in done.err
    found = json.loads(inceptions("exits", model, "--data", data, "--json").out)
    assert [row["most_lost"] for row in found["rows"]] == [0, 0.1, 0.2, 0.3, 0.5, 1, 2]

    table = ("predict", data / "val", "--model", model, "--output", tmp_path / "p.csv")
    early = inceptions(*table, "--exit-early", "--most-lost", "2")
    assert early.code == 0, early.err
    assert " % left by 2a, " in early.err
    with (tmp_path / "p.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 210
    assert not (tmp_path / "p.csv.part").exists()
    measured = inceptions("evaluate", model, "--data", data, "--part", "val", "--exit-early", "--output", tmp_path / "e", "--json")
    assert json.loads(measured.out)["engines"] == {str(model): "torch in float32, left early"}


def test_what_was_stopped_goes_on_byte_for_byte_by_the_same_thresholds_alone(inceptions, given, tmp_path, monkeypatch):
    model, data = given
    assert inceptions("exits", model, "--data", data).code == 0
    card = json.loads((model / "model.json").read_text())
    for row, thresholds in zip(card["provenance"]["exits"]["rows"], ([None, None], [0.9, 0.9], [0.5, 0.6]), strict=False):
        row["thresholds"] = thresholds
    (model / "model.json").write_text(json.dumps(card))
    table = ("predict", data / "val", "--model", model, "--exit-early", "--most-lost", "0.2", "--output")
    assert inceptions(*table, tmp_path / "whole.jsonl").code == 0
    count, counted = Counted._count, []

    def stop(self, item):
        counted.append(count(self, item))
        if len(counted) == 100:  # in the second batch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Counted, "_count", stop)
        assert inceptions(*table, tmp_path / "p.jsonl").code == 130
    other = inceptions(*table[:-2], "0.1", "--output", tmp_path / "p.jsonl", "--resume")
    assert (other.code, "exits" in other.err) == (2, True)
    assert inceptions(*table, tmp_path / "p.jsonl", "--resume").code == 0
    assert (tmp_path / "p.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_what_does_not_go_together_is_told_before_anything_is_read(inceptions, given, tmp_path):
    model, data = given
    alone = inceptions("predict", data / "val", "--model", model, "--most-lost", "1")
    assert (alone.code, "give --exit-early too" in alone.err) == (2, True)
    vectors = inceptions("predict", data / "val", "--model", model, "--exit-early", "--embeddings", "--output", tmp_path / "v.parquet")
    assert (vectors.code, "images that leave it early have none" in vectors.err) == (2, True)
    nothing = inceptions("exits", "inception_small.cifar10", "--data", data)
    assert (nothing.code, "give one that is yours" in nothing.err) == (2, True)
