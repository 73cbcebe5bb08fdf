"""A tag is fetched from a real server on this machine, converted once, kept, and used like a folder."""

import hashlib
import shutil
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

import inceptions
from inceptions.data.preprocess import for_training
from inceptions.errors import ModelFolderError, UserError, WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, FeatureExtractor
from inceptions.networks.registry import get_network
from inceptions.networks.spec import NetworkError
from inceptions.weights import converted, locate, tags
from inceptions.weights.card import read_card
from inceptions.weights.exporter import export_tensors
from inceptions.weights.folder import save_model
from inceptions.weights.published import create_model, find_model, load_model

TAG = "googlenet_bn.torchvision_in1k"


@pytest.mark.parametrize("tag", [tag for tag in tags.list_tags() if tag.framework.startswith("tf_")][::4], ids=lambda tag: tag.name)
def test_tensorflow_is_missed_before_its_checkpoint_is_fetched(tag, tmp_path, monkeypatch):
    monkeypatch.setattr(converted, "fetch_tag", lambda *_, **__: pytest.fail("it is fetched"))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=r"needs tensorflow, not installed here; pip install 'inceptions\[tensorflow\]'"):
        converted.convert_tag(tag, tmp_path / "m")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.asked.append(self.path)


@contextmanager
def serve(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file as torchvision publishes it, of weights that are ours."""
    torch.manual_seed(0)
    module = Classifier(get_network("googlenet_bn")).eval()
    folder = tmp_path_factory.mktemp("site")
    tensors = export_tensors(module, framework="torchvision")
    torch.save({name: torch.from_numpy(value) for name, value in tensors.items()}, folder / "googlenet.pth")
    return folder, module


@pytest.fixture
def site(checkpoint, tmp_path, monkeypatch):
    folder, module = checkpoint
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INCEPTIONS_OFFLINE", raising=False)
    monkeypatch.delenv("INCEPTIONS_MIRROR", raising=False)
    digest = hashlib.sha256((folder / "googlenet.pth").read_bytes()).hexdigest()
    with serve(folder) as server:
        url = f"http://127.0.0.1:{server.server_port}/googlenet.pth"
        tag = replace(tags.get_tag(TAG), url=url, sha256=digest, sha256_prefix=None)
        monkeypatch.setattr(tags, "_TAGS", {**tags._TAGS, TAG: tag})
        yield server, module


def test_tag_gives_the_published_weights_with_all_that_they_need(site):
    _, module = site
    loaded = load_model(TAG)
    ours, theirs = module.state_dict(), loaded.module.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert loaded.card.classes[:2] == ("tench", "goldfish")
    assert loaded.card.preprocess == tags.get_tag(TAG).preprocess
    assert loaded.card.provenance["tag"] == TAG
    assert loaded.card.metrics["published_top1"] == tags.get_tag(TAG).top1


def test_second_time_nothing_is_asked_for(site):
    server, _ = site
    first = find_model(TAG)
    asked = len(server.asked)
    assert asked > 0
    assert find_model(TAG) == first
    assert len(server.asked) == asked


def test_a_tag_whose_definition_was_mended_is_converted_anew(site, monkeypatch):
    server, _ = site
    first, asked = find_model(TAG), len(server.asked)
    tag = tags.get_tag(TAG)
    mended = replace(tag, preprocess=replace(tag.preprocess, interpolation="bicubic"))
    monkeypatch.setattr(tags, "_TAGS", {**tags._TAGS, TAG: mended})
    second = find_model(TAG)
    assert (read_card(first).preprocess, read_card(second).preprocess) == (tag.preprocess, mended.preprocess)
    monkeypatch.setattr(locate, "CONVERSION", 2)
    assert find_model(TAG) not in (first, second)
    assert len(server.asked) == asked  # the file is there already


def test_a_cache_that_cannot_be_used_is_one_line(site, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=r"^can't write .*\((Not a directory|File exists)\); set INCEPTIONS_CACHE to a folder that can be writ"
    ):
        find_model(TAG)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(UserError, match=r"^can't write .*No space left on device\); set INCEPTIONS_CACHE"):
        find_model(TAG)
    assert not list((tmp_path / "cache" / "models").glob("*/*"))


def test_two_at_once_convert_it_once(site):
    server, _ = site
    found = []
    threads = [threading.Thread(target=lambda: found.append(find_model(TAG))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(server.asked) == 1
    read_card(found[0])


def test_wrong_hash_leaves_no_model(site, monkeypatch, tmp_path):
    bad = replace(tags.get_tag(TAG), sha256="0" * 64)
    monkeypatch.setattr(tags, "_TAGS", {**tags._TAGS, TAG: bad})
    with pytest.raises(UserError, match="0000"):
        find_model(TAG)
    assert not list((tmp_path / "cache" / "models").glob("*/model.json"))


def test_offline_says_so(site, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_OFFLINE", "1")
    with pytest.raises(UserError, match="INCEPTIONS_OFFLINE"):
        load_model(TAG)


def test_create_model_takes_weights_by_tag(site):
    _, module = site
    whole = inceptions.create_model("googlenet_bn", weights=TAG)
    assert torch.equal(whole.classifier.weight, module.classifier.weight)
    fresh = create_model("googlenet_bn", weights=TAG, num_classes=3)
    assert fresh.classifier.weight.shape == (3, 1024)
    assert torch.equal(fresh.stages.conv1.conv.weight, module.stages.conv1.conv.weight)
    features = create_model("googlenet_bn", weights=TAG, features_only=True, output_stride=16)
    assert isinstance(features, FeatureExtractor)
    assert torch.equal(features.state_dict()["stages.5b.conv1x1.conv.weight"], module.state_dict()["stages.5b.conv1x1.conv.weight"])
    assert create_model("googlenet_bn", weights=TAG, num_classes=0).num_classes == 0


def test_weights_of_another_network_are_refused(site):
    with pytest.raises(WeightsError, match="holds weights of googlenet_bn, not of inception_v3"):
        create_model("inception_v3", weights=TAG)
    with pytest.raises(WeightsError, match="reads 3 channels; in_chans is 1"):
        create_model("googlenet_bn", weights=TAG, in_chans=1)
    with pytest.raises(NetworkError, match="has no auxiliary heads"):
        create_model("googlenet_bn", weights=TAG, aux=True)


def test_what_is_neither_folder_nor_tag_is_told():
    with pytest.raises(UserError, match=r"there are no weights called 'inception_v3\.tf_in2k'; did you mean"):
        find_model("inception_v3.tf_in2k")
    with pytest.raises(ModelFolderError, match="no such folder; give one, or a tag"):
        find_model("nothing")


class FakeHub:
    """What we ask of huggingface_hub, with a folder in place of the network."""

    from huggingface_hub import errors

    def __init__(self, folder):
        self.folder = folder

    def create_repo(self, repository, *, private, exist_ok):
        (self.folder / repository).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, allow_patterns):
        for name in allow_patterns:
            shutil.copy(Path(folder_path) / name, self.folder / repo_id / name)

    def snapshot_download(self, repository, *, revision, allow_patterns, local_files_only):
        if not (self.folder / repository).is_dir():
            raise self.errors.LocalEntryNotFoundError("no such repository\nand more")
        return str(self.folder / repository)


def test_model_folder_goes_to_the_hub_and_comes_back(tmp_path, monkeypatch):
    for module in ("published", "download"):
        monkeypatch.setattr(f"inceptions.weights.{module}.require_hub", lambda: FakeHub(tmp_path / "hub"))
    network = reshape.scale_width(get_network("inception_small"), 0.25)
    save_model(Classifier(network), tmp_path / "m", preprocess=for_training(28), classes=tuple("0123456789"))
    assert inceptions.push_model(tmp_path / "m", "us/small") == "https://huggingface.co/us/small"
    loaded = load_model("hf:us/small")
    assert loaded.card == read_card(tmp_path / "m")
    with pytest.raises(UserError, match="hf:us/other could not be fetched from the Hub \\(no such repository\\)"):
        load_model("hf:us/other")
    with pytest.raises(ModelFolderError, match="there is no such folder"):
        inceptions.push_model(tmp_path / "nothing", "us/small")
