import re
import subprocess
import sys
from dataclasses import replace

import pytest

from inceptions.errors import UserError
from inceptions.networks.registry import ALIASES, NETWORKS
from inceptions.weights.adapters.catalog import ADAPTERS
from inceptions.weights.download import find_place, require_safe
from inceptions.weights.tags import CLASS_COUNTS, class_names, get_tag, list_tags

TAGS = list_tags()
FORMS = {(adapter.framework, adapter.network.name): adapter for adapter in ADAPTERS}
each_tag = pytest.mark.parametrize("tag", TAGS, ids=lambda tag: tag.name)

# What the project promises to know.
PROMISED = {
    "torchvision": {"googlenet_bn", "inception_v3"},
    "timm": {
        *("inception_v3.tv_in1k", "inception_v3.tf_in1k", "inception_v3.tf_adv_in1k", "inception_v3.gluon_in1k", "inception_v4.tf_in1k"),
        *("inception_resnet_v2.tf_in1k", "inception_resnet_v2.tf_ens_adv_in1k", "xception.tf_in1k"),
        *("xception41.tf_in1k", "xception65.tf_in1k", "xception65.ra3_in1k", "xception71.tf_in1k"),
        *("xception41p.ra3_in1k", "xception65p.ra3_in1k"),
    },
    "keras": {f"{network}.keras_in1k{top}" for network in ("inception_v3", "inception_resnet_v2", "xception") for top in ("", "_notop")},
    "tf_slim": {"googlenet_bn", "inception_v2_slim", "inception_v3", "inception_v4", "inception_resnet_v2"},
    "tf_deeplab": {"xception41", "xception65", "xception71"},
    "tf_facenet": {"inception_resnet_v1.tf_vggface2", "inception_resnet_v1.tf_casia_webface"},
    "facenet_pytorch": {"inception_resnet_v1.vggface2", "inception_resnet_v1.casia_webface"},
    "pytorch_fid": {"inception_v3.fid_2015"},
    "cadene": {"bn_inception", "inception_v4", "inception_resnet_v2"},
    "caffe": {"googlenet.bvlc_in1k"},
    "onnx": {"googlenet.onnx_in1k", "bn_inception.onnx_in1k"},
}


@pytest.mark.parametrize("framework", PROMISED)
def test_the_table_covers_what_is_promised(framework):
    names = {tag.name for tag in TAGS if tag.framework == framework}
    prefixes = {name.partition(".")[0] for name in names}
    assert PROMISED[framework] <= names | prefixes


def test_every_framework_has_tags():
    assert {tag.framework for tag in TAGS} == {adapter.framework for adapter in ADAPTERS}


def test_names_are_unique_and_begin_with_a_network():
    assert len({tag.name for tag in TAGS}) == len(TAGS)
    for tag in TAGS:
        prefix, variant = tag.name.split(".")
        assert prefix in NETWORKS
        assert re.fullmatch(r"[a-z0-9_]+", variant)
        assert tag.network.startswith(prefix) or (prefix, tag.network) == ("bn_inception", "inception_v2_plain")


def test_tags_of_a_network_stand_together_in_the_order_of_the_papers():
    prefixes = [tag.name.partition(".")[0] for tag in TAGS]
    assert list(dict.fromkeys(prefixes)) == [name for name in NETWORKS if name in prefixes]
    assert prefixes == sorted(prefixes, key=list(NETWORKS).index)


@each_tag
def test_an_adapter_reads_it(tag):
    assert (tag.framework, tag.network) in FORMS


@each_tag
def test_its_pixels_are_the_adapters_but_for_what_the_publisher_changed(tag):
    ours, adapters = tag.preprocess, FORMS[tag.framework, tag.network].preprocess
    if tag.framework == "timm":  # the same network was published with several crops and, by Gluon, with ImageNet's mean
        ours = replace(ours, resize_size=adapters.resize_size)
    if tag.name == "inception_v3.gluon_in1k":
        ours = replace(ours, mean=adapters.mean, std=adapters.std)
    assert ours == adapters


@each_tag
def test_its_classes_are_those_of_the_adapters_network_or_said_to_be_others(tag):
    network = FORMS[tag.framework, tag.network].network
    assert tag.classes == CLASS_COUNTS[tag.class_list]
    if tag.framework in ("tf_slim", "tf_deeplab"):
        assert tag.classes == 1001
    elif tag.framework in ("tf_facenet", "facenet_pytorch"):
        assert network.classes == 0
        assert "classifier" in tag.notes
    elif tag.class_list == "none":
        assert "no classifier" in tag.notes
    elif tag.framework != "cadene":  # Cadene's v4 and Inception-ResNet-v2 kept TensorFlow's background class
        assert tag.classes == network.classes


@each_tag
def test_its_hashes_look_like_hashes(tag):
    for value, digits in ((tag.sha256, "64"), (tag.sha256_prefix, "8,9"), (tag.md5, "32")):
        assert value is None or re.fullmatch(rf"[0-9a-f]{{{digits}}}", value)
    if tag.sha256_prefix:
        assert re.search(rf"-{tag.sha256_prefix}\.pth$", tag.url)


@each_tag
def test_what_is_not_known_is_said(tag):
    if not (tag.sha256 or tag.sha256_prefix or tag.md5):
        assert "hash" in tag.notes
    if tag.licence is None:
        assert "licence" in tag.notes
    assert (tag.top1 is None) == (tag.accuracy_source == "")
    assert tag.top1 is None or 60 < tag.top1 < (tag.top5 or 90) < 97


@each_tag
def test_it_may_be_fetched_as_its_address_says(tag, monkeypatch, tmp_path):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path))
    assert find_place(tag.url).is_relative_to(tmp_path / "downloads")
    if not tag.url.startswith("hf:"):
        require_safe(tag.url, has_hash=bool(tag.sha256 or tag.sha256_prefix or tag.md5))
    assert (tag.member is not None) == tag.url.endswith((".tar.gz", ".zip"))


def test_only_a_whole_hash_or_https_verifies_a_file():
    words = {tag.name: tag.verified for tag in TAGS}
    assert words["googlenet.bvlc_in1k"] == "SHA-256"
    assert words["bn_inception.cadene_in1k"] == ""  # http, and 32 bits
    assert words["inception_v3.torchvision_in1k"] == "https and the first 32 bits of its SHA-256"
    assert words["xception.keras_in1k"] == "https and its MD5"
    assert words["inception_v3.tf_in1k"] == "https"
    assert [name for name, word in words.items() if not word] == [name for name in words if name.endswith(".cadene_in1k")]


def test_no_two_tags_are_the_same_file():
    assert len({tag.url for tag in TAGS}) == len(TAGS)


def test_timms_are_as_the_installed_timm_has_them():
    from timm.models import get_pretrained_cfg

    for tag in TAGS:
        if tag.framework != "timm":
            continue
        config = get_pretrained_cfg("legacy_xception.tf_in1k" if tag.name == "xception.tf_in1k" else tag.name)
        assert config is not None
        assert tag.url in (f"hf:{config.hf_hub_id}/model.safetensors", config.url)
        assert tag.preprocess.resize_size == int(299 / config.crop_pct)
        assert tag.preprocess.interpolation == config.interpolation
        assert tag.preprocess.mean == pytest.approx([255 * value for value in config.mean])
        assert tag.preprocess.std == pytest.approx([255 * value for value in config.std])
        assert (tag.licence or "").lower() == config.license
        assert tag.classes == config.num_classes


def test_torchvisions_are_as_the_installed_torchvision_has_them():
    from torchvision.models import GoogLeNet_Weights, Inception_V3_Weights

    for name, weights in (
        ("googlenet_bn.torchvision_in1k", GoogLeNet_Weights.DEFAULT),
        ("inception_v3.torchvision_in1k", Inception_V3_Weights.DEFAULT),
    ):
        tag, metrics = get_tag(name), weights.meta["_metrics"]["ImageNet-1K"]
        assert tag.url == weights.url
        assert (tag.top1, tag.top5) == (metrics["acc@1"], metrics["acc@5"])
        transforms = weights.transforms()
        assert (tag.preprocess.resize_size, tag.preprocess.image_size) == (transforms.resize_size[0], transforms.crop_size[0])


def test_a_tag_is_found_by_its_name():
    assert get_tag("inception_v3.tf_in1k").network == "inception_v3"
    assert get_tag("inception_v3.fid_2015").network == "inception_v3_fid"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("inception_v3", r"^'inception_v3' is a network; give a tag of its weights: .*inception_v3.tf_in1k.*inception_v3.fid_2015$"),
        ("inception_v3_fid", r"^'inception_v3_fid' is a network; give a tag of its weights: inception_v3.fid_2015$"),
        ("inception_v1", r"^'inception_v1' is a network; give a tag of its weights: googlenet.bvlc_in1k"),
        ("inception_v3.tf_in1", r"^there are no weights called 'inception_v3.tf_in1'; did you mean inception_v3.tf_in1k or "),
        ("legacy_xception.tf_in1k", r"did you mean xception.tf_in1k or "),
        ("inception_small", r"^'inception_small' is a network; give a tag of its weights: inception_small.cifar10$"),
        ("inception_v2", r"^no published weights of 'inception_v2' are known; networks that have some are googlenet, "),
        ("resnet50.a1_in1k", r"^there are no weights called 'resnet50.a1_in1k'; networks that have some are googlenet, "),
    ],
)
def test_another_name_is_an_error_that_helps(given, said):
    assert given != "inception_v1" or given in ALIASES
    with pytest.raises(UserError, match=said):
        get_tag(given)


def test_class_names_are_as_many_as_outputs_and_background_goes_first():
    plain, background = class_names(get_tag("inception_v3.tf_in1k")), class_names(get_tag("inception_v3.slim_in1k"))
    assert (len(plain), plain[0], plain[-1]) == (1000, "tench", "toilet tissue")
    assert background == ("background", *plain)


@pytest.mark.parametrize("name", ["inception_v3.fid_2015", "inception_resnet_v1.vggface2", "xception.keras_in1k_notop"])
def test_class_names_that_are_not_known_are_none(name):
    assert class_names(get_tag(name)) == ()


def test_tags_and_downloads_need_no_torch():
    code = "import sys, inceptions.weights.download as d, inceptions.weights.tags as t; t.list_tags(); print({'torch'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "set()"
