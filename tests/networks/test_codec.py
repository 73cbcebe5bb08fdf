import json
from dataclasses import replace

import pytest

from inceptions.networks import reshape
from inceptions.networks.codec import decode_network, encode
from inceptions.networks.registry import NETWORKS
from inceptions.networks.spec import NetworkError

V3 = NETWORKS["inception_v3"]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_network_survives_json(network):
    assert decode_network(json.loads(json.dumps(encode(network)))) == network


def test_variations_survive_json():
    for network in (
        reshape.dilate(V3, 8),
        reshape.scale_width(V3, 0.25),
        reshape.factorize_5x5(V3, between=None),
        reshape.with_numerics(V3, bn_epsilon=1e-5, avg_pool_counts_padding=True),
        reshape.without_batch_norm(replace(V3, in_channels=5, classes=0)),
    ):
        assert decode_network(json.loads(json.dumps(encode(network)))) == network


def test_branches_keep_their_order():
    data = json.loads(json.dumps(encode(V3)))
    stage = next(stage for stage in data["stages"] if stage["name"] == "5b")
    assert list(stage["node"]["branches"]) == ["conv1x1", "conv5x5", "double3x3", "pool"]


def change(path, value):
    data = json.loads(json.dumps(encode(V3)))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("stages", 0, "node", "channels"), "3", r"network\.stages\[0\]\.node\.channels is '3'; a Conv wants int"),
        (("stages", 0, "node", "channels"), True, r"node\.channels is True"),
        (("stages", 0, "node", "norm"), "yes", r"node\.norm is 'yes'; a Conv wants bool"),
        (("stages", 0, "node", "kernel"), [3, 3, 3], r"node\.kernel is \(3, 3, 3\)"),
        (("stages", 0, "node", "padding"), "reflect", r"node\.padding is 'reflect'"),
        (("stages", 0, "node", "type"), "Conf", r"node\.type is 'Conf'; allowed are Conv, "),
        (("stages", 0, "node"), 3, r"stages\[0\]\.node is 3"),
        (("stages", 7, "node", "branches", "conv1x1", "width"), 3, r"branches\.conv1x1\.width is not a field of Conv"),
        (("numerics",), {"type": "Numerics", "eps": 3}, r"network\.numerics\.eps is not a field of Numerics; allowed are bn_epsilon"),
        (("image_size",), -3, "image_size is -3"),
        (("stages",), [], "stage names must be there"),
        (("features",), ["9z"], "no stage '9z'"),
    ],
)
def test_wrong_key_is_named(path, value, message):
    with pytest.raises(NetworkError, match=message):
        decode_network(change(path, value))


def test_missing_key_is_named():
    data = encode(V3)
    del data["stages"][0]["grid"]
    with pytest.raises(NetworkError, match=r"network\.stages\[0\]\.grid is missing"):
        decode_network(data)


def test_part_of_a_network_is_refused():
    with pytest.raises(NetworkError, match="must be an object of type 'Network'"):
        decode_network(encode(V3.stages[0]))
