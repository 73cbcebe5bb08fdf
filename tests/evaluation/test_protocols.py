"""How the publishers crop, against what they say themselves."""

from dataclasses import replace

import pytest

from inceptions.data.preprocess import CAFFE, INCEPTION, Preprocess
from inceptions.errors import UserError
from inceptions.evaluation.protocols import with_protocol
from inceptions.networks.registry import get_network
from inceptions.weights.card import ModelCard
from inceptions.weights.tags import get_tag, list_tags

TIMM = [tag.name for tag in list_tags() if tag.framework == "timm"]


def card(network: str, preprocess: Preprocess, **provenance) -> ModelCard:
    return ModelCard(get_network(network), preprocess, (), provenance=provenance)


@pytest.mark.parametrize("name", TIMM)
def test_timm_crops_each_of_its_checkpoints_as_its_own_configuration_says(name):
    """Nine of the fourteen were cropped to 341 pixels, as Inception-v3 is."""
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg

    tag = get_tag(name)
    theirs = get_pretrained_cfg(name.replace("xception.tf", "legacy_xception.tf"), allow_unregistered=False)
    config = resolve_data_config(pretrained_cfg=theirs.to_dict())
    other_crop = replace(tag.preprocess, resize="squash", resize_size=299, interpolation="bilinear")
    found = with_protocol(card(tag.network, other_crop, tag=name), "timm")
    assert config["crop_mode"] == "center"
    assert (found.resize, found.interpolation) == ("shorter", config["interpolation"])
    assert (3, found.image_size, found.image_size) == config["input_size"]
    assert found.resize_size == int(found.image_size / config["crop_pct"])
    assert found.mean == pytest.approx([255 * value for value in config["mean"]])
    assert found.std == pytest.approx([255 * value for value in config["std"]])


def test_a_model_that_is_not_timms_is_cropped_as_its_network_is_there():
    assert len(TIMM) == 14
    assert with_protocol(card("inception_resnet_v2", INCEPTION, tag="inception_resnet_v2.slim_in1k"), "timm").resize_size == 333
    assert with_protocol(card("inception_v3", INCEPTION), "timm").resize_size == 341


def test_protocols_are_the_publishers():
    inception = card("inception_v3", INCEPTION)
    assert with_protocol(card("googlenet", CAFFE), "caffe") == CAFFE
    assert with_protocol(inception, "tensorflow").resize == "central"
    assert with_protocol(inception, "torchvision").resize_size == 342
    with pytest.raises(UserError, match="did you mean torchvision"):
        with_protocol(inception, "torchvison")
