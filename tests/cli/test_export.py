"""Files of other runtimes: run by their own library they answer what torch answers; what can't be written or is wrong leaves nothing."""

import errno
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.errors import UserError
from inceptions.inference import export
from inceptions.inference.engines import openvino as openvino_engine
from inceptions.inference.engines.base import softmax
from inceptions.inference.engines.graph import PixelClassifier, export_graph
from inceptions.inference.engines.prepare import real_pixels
from inceptions.inference.export import FORMS, export_model
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network
from inceptions.networks.spec import L2Normalize
from inceptions.weights.card import CARD_NAME, read_card
from inceptions.weights.folder import load_model, save_model
from tests.tiny import CLASSES, save_tiny


def metadata(file):
    if file.suffix == ".onnx":
        import onnx

        return json.loads({entry.key: entry.value for entry in onnx.load(file).metadata_props}["inceptions"])
    if file.suffix == ".xml":
        import openvino

        return json.loads(openvino.Core().read_model(file).get_rt_info(["inceptions"]).astype(str))
    extra = {"inceptions": ""}
    torch.export.load(file, extra_files=extra)
    return json.loads(extra["inceptions"])


@pytest.mark.parametrize(
    ("ending", "preprocess"),
    [
        *((ending, True) for ending in (".onnx", ".xml", ".pt2")),
        *(pytest.param(ending, False, marks=pytest.mark.exhaustive) for ending in (".onnx", ".xml", ".pt2")),
    ],
)
def test_each_form_answers_what_torch_answers_of_any_number_of_images(tiny, tmp_path, ending, preprocess):
    """To 1e-4 of a probability: rounding of float32 in another order."""
    found = export_model(tiny, tmp_path / f"m{ending}", preprocess=preprocess)
    assert (found.input, found.output) == (("pixels", "probabilities") if preprocess else ("images", "logits"))
    assert (found.pictures, found.same) == (32, 32) and found.difference < 1e-4
    partners = [tmp_path / f"m{ending}", *([tmp_path / "m.bin"] if ending == ".xml" else [])]
    assert sorted(tmp_path.iterdir()) == sorted(partners)
    assert found.size == sum(path.stat().st_size for path in partners)

    model = load_model(tiny)
    pixels = real_pixels(model.card.preprocess, 5)
    images = model.card.preprocess.normalize_pixels(pixels.transpose(0, 3, 1, 2))
    with torch.no_grad():
        wanted = softmax(model.module(torch.from_numpy(images)).numpy())
    for count in (1, 2, 5):
        answer = FORMS[ending].run(found.file, (pixels if preprocess else images)[:count])
        assert answer.shape == (count, len(CLASSES))
        assert np.abs((answer if preprocess else softmax(answer)) - wanted[:count]).max() < 1e-4
    told = metadata(found.file)
    assert (told["network"], told["classes"], told["scaling_in_file"]) == ("inception_small", list(CLASSES), preprocess)
    assert told["preprocess"] == model.card.preprocess.to_dict()


@pytest.mark.parametrize("ending", [".pt2", *(pytest.param(ending, marks=pytest.mark.exhaustive) for ending in (".onnx", ".xml"))])
def test_a_network_without_classes_gives_its_embedding(tmp_path, ending):
    folder = save_tiny(tmp_path / "model", classes=(), embedding=L2Normalize())
    found = export_model(folder, tmp_path / f"m{ending}", preprocess=True)
    assert (found.input, found.output) == ("pixels", "vectors")
    vectors = FORMS[ending].run(found.file, real_pixels(load_model(folder).card.preprocess, 3))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_file_that_is_there_is_written_over_by_force_alone(inceptions, tiny, tmp_path):
    for name, other in (("m.pt2", "m.pt2"), ("m.xml", "m.bin")):
        (tmp_path / other).write_text("mine")
        refused = inceptions("export", tiny, tmp_path / name)
        assert (refused.code, f"{other} exists already" in refused.err) == (2, True)
        assert (tmp_path / other).read_text() == "mine"
    done = inceptions("export", tiny, tmp_path / "m.pt2", "--force", "--json")
    assert json.loads(done.out)["form"] == "torch"
    (tmp_path / "folder.pt2").mkdir()
    assert inceptions("export", tiny, tmp_path / "folder.pt2", "--force").code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.pt2", "m.bin", "m.pt2"]


def test_mistakes_are_told_before_a_model_is_fetched(inceptions, tmp_path, monkeypatch):
    for given, told in {
        ("m.txt",): "m.txt can't hold a model: onnx to .onnx, openvino to .xml, torch to .pt2",
        ("m.onnx", "--to", "torch"): "m.onnx can't hold torch",
        ("m.XML",): "m.XML can't hold a model: onnx to .onnx, openvino to .xml, torch to .pt2, all in lower case",
    }.items():
        refused = inceptions("export", "no_such_model", *given)
        assert (refused.code, told in refused.err) == (2, True), refused.err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    refused = inceptions("export", "no_such_model", "m.onnx")
    assert "writing and checking onnx needs onnxscript, not installed here; pip install 'inceptions[export]'" in refused.err


def test_a_page_is_written_and_it_is_said_how_to_see_it(inceptions, tiny, tmp_path, monkeypatch):
    """Without ONNX Runtime for browsers, which tests of the page have; and with a network that is written at once."""
    from inceptions.inference import web

    def write(folder, file, *, preprocess):
        file.write_text("network")
        return export.Exported(file, "onnx", 7, "pixels", "probabilities", 32, 32, 1e-7, ())

    (tmp_path / web.RUNTIME_FILES[1]).write_text("runtime")
    monkeypatch.setattr(web, "fetch_runtime", lambda *, progress=None: (tmp_path / web.RUNTIME_FILES[1],))
    monkeypatch.setattr(web, "export_model", write)
    done = inceptions("export", tiny, tmp_path / "page", "--to", "web")
    assert (done.code, "a page for any web server, 0.0 MB" in done.out) == (0, True), done
    assert "run by onnx and compared with torch: 32 of 32 pictures of the same class" in done.out
    assert "python -m http.server --directory" in done.err
    again = inceptions("export", "no_such_model", tmp_path / "page", "--to", "web")
    assert (again.code, "page exists already" in again.err) == (2, True)
    assert json.loads(inceptions("export", tiny, tmp_path / "page", "--to", "web", "--force", "--json").out)["form"] == "web"


@pytest.fixture
def fake(monkeypatch):
    """A form that is written at once, and answers torch's answers with something added."""

    def install(*, added=0.0, fails=None):
        def write(module, example, file, metadata, names):
            file.write_text("new")
            if fails:
                raise fails

        def run(file, array):
            with torch.no_grad():
                return export_module[0](torch.from_numpy(array)).numpy() + np.array([0, 0, added], np.float32)

        export_module = []
        real = export._answers

        def answers(module, array):
            export_module.append(module)
            return real(module, array)

        monkeypatch.setattr(export, "_answers", answers)
        monkeypatch.setitem(FORMS, ".pt2", replace(FORMS[".pt2"], write=write, run=run))

    return install


@pytest.mark.parametrize("added", [9.0, float("nan")])
def test_a_file_that_disagrees_is_not_left(tiny, tmp_path, fake, added):
    (tmp_path / "m.pt2").write_text("old")
    fake(added=added)
    with pytest.raises(UserError, match=r"differs from what it should by .*, where 0.001 is allowed .* no file is left: please report it"):
        export_model(tiny, tmp_path / "m.pt2", replace_it=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.pt2", "old")]


@pytest.fixture
def quantised(tiny, tmp_path):
    """A model with the floats of another in the place of integers."""
    import openvino

    folder = tmp_path / "quantised"
    shutil.copytree(tiny, folder)
    model = load_model(save_tiny(tmp_path / "other", seed=1))
    pixels = torch.from_numpy(real_pixels(model.card.preprocess, 2))
    program = export_graph(PixelClassifier(model.module, model.card.preprocess), pixels)
    openvino.save_model(openvino_engine.convert(program, pixels.shape[1:]), folder / "int8.xml", compress_to_fp16=False)
    sha256 = openvino_engine.digest((folder / "int8").with_suffix(ending) for ending in (".xml", ".bin"))
    (folder / CARD_NAME).write_text(replace(read_card(tiny), provenance={"int8": {"sha256": sha256}}).to_json())
    return folder


def test_a_file_of_integers_is_compared_with_those_that_were_judged(inceptions, quantised, tmp_path):
    done = inceptions("export", quantised, tmp_path / "m.xml", "--preprocess")
    assert done.code == 0, done.err
    assert "run by openvino and compared with the integers that were judged: 32 of 32 pictures of the same class" in done.out
    (quantised / "int8.bin").write_bytes((quantised / "int8.bin").read_bytes() + b"0")
    refused = inceptions("export", quantised, tmp_path / "n.xml", "--preprocess")
    assert (refused.code, "are not what was quantised; copy the whole model folder" in refused.err) == (2, True)
    assert not (tmp_path / "n.xml").exists()


def test_a_full_disk_leaves_the_old_file_whole(tiny, tmp_path, fake, monkeypatch):
    (tmp_path / "m.pt2").write_text("old")
    fake(fails=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(UserError, match="No space left on device"):
        export_model(tiny, tmp_path / "m.pt2", replace_it=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("m.pt2", "old")]
    (tmp_path / "file").write_text("")
    fake()
    with pytest.raises(UserError, match="can't write"):
        export_model(tiny, tmp_path / "file" / "m.pt2")
    assert export_model(tiny, tmp_path / "new" / "m.pt2").same == 32
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.pt2"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("ending", FORMS)
@pytest.mark.parametrize("name", ["googlenet_bn", "inception_v3", "inception_resnet_v2", "xception"])
def test_networks_of_every_kind_go_into_every_form(tmp_path, name, ending):
    """With pixels scaled in the file, on images of half the side: on the smallest, OpenVINO refuses pools that are wider than the grid."""
    from inceptions.data.preprocess import for_training

    torch.manual_seed(0)
    network = get_network(name)
    preprocess = for_training(network.image_size // 2, channels=network.in_channels)
    save_model(create_model(name), tmp_path / "model", preprocess=preprocess, classes=tuple(map(str, range(network.classes))))
    found = export_model(tmp_path / "model", tmp_path / f"m{ending}", preprocess=True)
    assert found.same == found.pictures
