"""Models of integers: what they cost is judged on images of their own, and refused where it is too much; then nothing is left."""

import json
import shutil
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.errors import UserError
from inceptions.evaluation.score import score_of
from inceptions.inference import quantize
from inceptions.inference.engines.choose import open_engine
from inceptions.inference.engines.prepare import real_pixels
from inceptions.inference.quantize import quantize_model
from inceptions.weights.card import read_card
from tests.pictures import paint
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Enough pictures: 60 of training, 6 of validation, 102 of test."""
    folder = tmp_path_factory.mktemp("labelled")
    paint(folder / "train", each=22, seed=1)
    paint(folder / "test", each=34, seed=2)
    return folder


def score(right: int, count: int = 102):
    logits = torch.eye(3)[(torch.arange(count) % 3 + (torch.arange(count) >= right).long()) % 3]
    return score_of(logits.log_softmax(1), torch.arange(count) % 3, np.arange(count))


@pytest.fixture
def without_nncf(monkeypatch):
    """Quantising that changes nothing, and scores that are given."""

    def install(before=102, after=102):
        scores = iter([score(before), score(after)])
        monkeypatch.setattr(quantize, "_quantize", lambda plain, images, card, most_lost: plain)
        monkeypatch.setattr(quantize, "_score", lambda *arguments: next(scores))

    return install


def test_too_few_images_no_labels_or_no_classes_are_told(tiny, labelled, tmp_path):
    few = paint(tmp_path / "few" / "train", each=5).parent
    paint(few / "test", each=5)
    with pytest.raises(UserError, match=r"12 images of training and 15 of test .*; 50 are needed .* and 100, labelled, to judge on"):
        quantize_model(tiny, str(few), tmp_path / "m")
    (tmp_path / "flat").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / "flat" / f"{number}.png")
    with pytest.raises(UserError, match="flat"):
        quantize_model(tiny, str(tmp_path / "flat"), tmp_path / "m")
    with pytest.raises(UserError, match="inception_small has no classes"):
        quantize_model(save_tiny(tmp_path / "features", classes=()), str(labelled), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_what_loses_too_much_is_refused_and_nothing_is_left(tiny, labelled, tmp_path, without_nncf, monkeypatch):
    without_nncf(before=102, after=92)
    monkeypatch.setattr(quantize, "export_graph", MagicMock())  # nothing of the network itself is needed
    monkeypatch.setattr(quantize.engine, "convert", MagicMock())
    monkeypatch.setattr(quantize, "_name_layers", MagicMock())
    monkeypatch.setattr(quantize, "_compiled", MagicMock())
    monkeypatch.setattr(quantize, "_kept_layers", lambda model: ((), 1))
    with pytest.raises(UserError, match=r"9\.80 points of accuracy are lost \(.* to .*\), where 0\.5 are allowed; nothing is written"):
        quantize_model(tiny, str(labelled), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_folder_has_all_of_the_old_one_with_layers_by_their_names(inceptions, tiny, labelled, tmp_path, without_nncf):
    """Quantised to nothing: every layer stays in floating point, and is called what the network calls it."""
    without_nncf(before=102, after=101)
    copy = tmp_path / "model"
    shutil.copytree(tiny, copy)
    done = inceptions("quantize", f"{copy}/", "--data", labelled, "--most-lost", "2", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["model"] == f"{copy}-int8"  # beside it, whatever slash a shell has put behind
    assert (found["judged_part"], found["judged_on"], found["calibrated_on"]) == ("test", 102, 60)
    network = read_card(tiny).network
    stages = tuple(stage.name for stage in network.stages)
    assert len(found["kept_in_floating_point"]) == found["layers"] == len(set(found["kept_in_floating_point"]))
    assert all(name == "classifier" or name.split(".")[0] in stages for name in found["kept_in_floating_point"])
    card = read_card(Path(found["model"]))
    assert card.classes == read_card(tiny).classes and card.sha256 == read_card(tiny).sha256
    assert card.provenance["int8"]["accuracy_int8"] == pytest.approx(101 / 102)
    assert {file.name for file in Path(found["model"]).iterdir()} == {"model.json", "model.safetensors", "int8.xml", "int8.bin"}
    refused = inceptions("quantize", copy, "--data", labelled)
    assert (refused.code, "exists already" in refused.err) == (2, True)


def test_images_to_judge_on_have_no_other_part(labelled, tiny):
    from inceptions.data.folders import load_splits

    images = quantize._choose(load_splits(str(labelled)), read_card(tiny), "x", 0)
    judged = {sample.path for sample in images.judged}
    assert not judged & {sample.path for sample in (*images.calibration, *images.control)}
    assert images.notes  # few: the layers are chosen by those that the ranges were found on


def test_most_lost_and_a_missing_library_are_told(tiny, labelled, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="most_lost is 101; it must be points of accuracy, 0 to 100"):
        quantize_model(tiny, str(labelled), tmp_path / "m", most_lost=101)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UserError, match=r"quantising needs nncf, not installed here; pip install 'inceptions\[quantize\]'"):
        quantize_model(tiny, str(labelled), tmp_path / "m")


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("default")  # NNCF's own
def test_a_quantised_model_is_run_as_integers_by_openvino_and_in_float32_by_torch(inceptions, tiny, labelled, tmp_path, engine_cache):
    found = quantize_model(tiny, str(labelled), tmp_path / "m", most_lost=100)
    assert found.layers > len(found.kept)
    engine = open_engine(tmp_path / "m", engine="openvino", device="cpu")
    assert (engine.name, engine.precision) == ("openvino", "int8")
    pixels = real_pixels(read_card(tiny).preprocess, 8)
    torchs = open_engine(tmp_path / "m", engine="torch", device="cpu").run(pixels)
    assert np.array_equal(torchs.logits, open_engine(tiny, engine="torch", device="cpu").run(pixels).logits)
    ours = engine.run(pixels)
    assert np.abs(ours.logits - torchs.logits).max() < 0.25 * np.abs(torchs.logits).max()  # 8 bits, layer by layer
    printed = inceptions("predict", labelled / "test", "--model", tmp_path / "m", "--engine", "openvino", "--json")
    assert len(json.loads(printed.out)) == 102
