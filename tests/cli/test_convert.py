import json

import pytest
import torch
from PIL import Image

from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.registry import get_network
from inceptions.weights.exporter import export_tensors
from inceptions.weights.folder import load_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """torchvision's GoogLeNet for 5 classes, as a file."""
    torch.manual_seed(0)
    module = ClassifierWithAux(reshape.with_classes(get_network("googlenet_bn"), 5))
    path = tmp_path_factory.mktemp("theirs") / "googlenet.pth"
    torch.save({name: torch.from_numpy(value) for name, value in export_tensors(module, framework="torchvision").items()}, path)
    return path, module


def test_convert_tells_what_it_decided_and_accounts_for_every_tensor(inceptions, checkpoint, tmp_path):
    path, module = checkpoint
    result = inceptions("convert", path, "--output", tmp_path / "m")
    assert result.code == 0, result.err
    assert "googlenet_bn, from torchvision" in result.out
    assert "305 as they are; none transformed; 0 filled" in result.out
    assert "59 that are no weights" in result.out
    loaded = load_model(tmp_path / "m", aux=True)
    ours = module.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in loaded.module.state_dict().items())
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    assert card["provenance"]["framework"] == "torchvision"
    assert card["classes"] == ["0", "1", "2", "3", "4"]
    assert card["preprocess"]["resize_size"] == 256


def test_converted_model_predicts_with_the_names_that_were_given(inceptions, checkpoint, tmp_path):
    path, _ = checkpoint
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\nelk\n", encoding="utf-8-sig")  # as some editors do
    assert inceptions("convert", path, "--output", tmp_path / "m", "--classes", tmp_path / "names.txt").code == 0
    Image.new("RGB", (300, 260), (200, 10, 10)).save(tmp_path / "a.png")
    result = inceptions("predict", tmp_path / "a.png", "--model", tmp_path / "m")
    assert any(f"1 image: 1 {name}" in result.err for name in ("ant", "bee", "cat", "dog", "elk"))


def test_names_that_are_there_twice_are_refused(inceptions, checkpoint, tmp_path):
    (tmp_path / "names.txt").write_text("ant\nbee\nant\ndog\nelk\n")
    result = inceptions("convert", checkpoint[0], "--output", tmp_path / "m", "--classes", tmp_path / "names.txt")
    assert result.code == 2
    assert "classes 0, 2 are all called 'ant'" in result.err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("given", [0, 1000, 1001])
def test_the_first_of_1001_outputs_is_the_background(inceptions, tmp_path, given):
    module = Classifier(reshape.with_classes(reshape.without_aux(get_network("googlenet_bn")), 1001))
    torch.save(
        {name: torch.from_numpy(value) for name, value in export_tensors(module, framework="torchvision").items()}, tmp_path / "a.pth"
    )
    names = [f"class {number}" for number in range(given)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    options = ("--classes", tmp_path / "names.txt") if given else ()
    assert inceptions("convert", tmp_path / "a.pth", "--output", tmp_path / "m", *options).code == 0
    classes = json.loads((tmp_path / "m" / "model.json").read_text())["classes"]
    assert len(classes) == 1001
    assert classes[:2] == {0: ["background", "0"], 1000: ["background", "class 0"], 1001: ["class 0", "class 1"]}[given]


def test_no_top_takes_the_classifier_off(inceptions, checkpoint, tmp_path):
    path, _ = checkpoint
    result = inceptions("convert", path, "--output", tmp_path / "m", "--no-top")
    assert result.code == 0, result.err
    module = load_model(tmp_path / "m").module.eval()
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 224, 224)).shape == (1, 1024)


def test_there_and_back_is_the_same_file(inceptions, checkpoint, tmp_path):
    path, _ = checkpoint
    assert inceptions("convert", path, "--output", tmp_path / "m").code == 0
    assert inceptions("convert", tmp_path / "m", "--to", "torchvision", tmp_path / "back.pth").code == 0
    theirs, back = (torch.load(file, weights_only=True) for file in (path, tmp_path / "back.pth"))
    assert list(theirs) == list(back)
    assert all(torch.equal(theirs[name], back[name]) for name in theirs)


@pytest.mark.parametrize("places", [(), ("a.pth",), ("a.pth", "--output", "m"), ("--to", "keras")])
def test_place_to_write_to_is_asked_for_once(inceptions, checkpoint, tmp_path, monkeypatch, places):
    monkeypatch.chdir(tmp_path)
    result = inceptions("convert", checkpoint[0], *places)
    assert result.code == 2
    assert "once" in result.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "tensorflow"), "'tensorflow' is not one of 'torchvision', "),
        (("--model", "xceptoin"), "did you mean xception"),
        (("--from", "timm"), "these tensors are not timm's"),
        (("--from", "torchvision", "--model", "inception_v3"), "these tensors are not torchvision's inception_v3; "),
        (("--from", "keras", "--model", "googlenet"), "keras has no googlenet; it has inception_v3, "),
        (("--classes", "nothing.txt"), "--classes nothing.txt can't be read"),
        (("--to", "caffe"), "'caffe' is not one of 'torchvision', 'timm', 'keras'"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_nothing_is_written(inceptions, checkpoint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = inceptions("convert", checkpoint[0], "--output", tmp_path / "m", *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert not list(tmp_path.iterdir())


def test_unexplained_tensor_is_refused(inceptions, checkpoint, tmp_path):
    tensors = torch.load(checkpoint[0], weights_only=True)
    torch.save({**tensors, "extra.weight": torch.zeros(3)}, tmp_path / "a.pth")
    result = inceptions("convert", tmp_path / "a.pth", "--from", "torchvision", "--model", "googlenet_bn", "--output", tmp_path / "m")
    assert result.code == 2
    assert "1 left over, such as 'extra.weight'" in result.err
    assert not (tmp_path / "m").exists()


def test_names_that_fit_libraries_that_compute_differently_are_asked_for(inceptions, tmp_path):
    """1008 outputs under torchvision's names may be FID's graph, whose last pool is a maximum, or torchvision's own network."""
    network = reshape.with_numerics(reshape.with_classes(get_network("inception_v3"), 1008), avg_pool_counts_padding=True)
    tensors = export_tensors(Classifier(network), framework="timm")
    torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, tmp_path / "a.pth")
    result = inceptions("convert", tmp_path / "a.pth", "--output", tmp_path / "m")
    assert result.code == 2
    assert "fit pytorch_fid and torchvision" in result.err
    assert "name its framework" in result.err


def test_existing_output_is_refused_before_anything_is_read(inceptions, tmp_path):
    (tmp_path / "m").mkdir()
    result = inceptions("convert", tmp_path / "nothing.pth", "--output", tmp_path / "m")
    assert result.code == 2
    assert "exists already" in result.err


def test_list_of_weights_has_the_promised_facts(inceptions):
    out = inceptions("list", "--weights").out
    for tag in (
        "inception_v3.tv_in1k",
        "inception_v3.tf_in1k",
        "xception.keras_in1k",
        "inception_resnet_v1.vggface2",
        "inception_v3.fid_2015",
    ):
        assert tag in out
    rows = {row["name"]: row for row in json.loads(inceptions("list", "--weights", "--json").out)}
    assert {"url", "sha256", "licence", "classes", "preprocess", "top1"} <= set(rows["inception_v3.tv_in1k"])


def test_pixels_other_than_the_frameworks_travel_with_the_weights(inceptions, checkpoint, tmp_path):
    path, _ = checkpoint
    result = inceptions("convert", path, "--output", tmp_path / "m", "--mean", "0", "--std", "255,254,253")
    assert result.code == 0, result.err
    card = json.loads((tmp_path / "m" / "model.json").read_text())
    assert card["preprocess"]["mean"] == [0.0, 0.0, 0.0]
    assert card["preprocess"]["std"] == [255.0, 254.0, 253.0]


@pytest.mark.parametrize(("option", "value"), [("--mean", "1,2"), ("--std", "half"), ("--std", "0")])
def test_pixels_that_cannot_be_are_refused(inceptions, checkpoint, tmp_path, option, value):
    path, _ = checkpoint
    result = inceptions("convert", path, "--output", tmp_path / "m", option, value)
    assert result.code == 2
    assert option.removeprefix("--") in result.err
    assert not (tmp_path / "m").exists()
