"""The models in the package: whole, small, what their cards say, and found without a network or a cache."""

import json
import re
import socket

import pytest
import torch
from PIL import Image

from inceptions.errors import UserError
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.published import find_model, load_model
from inceptions.weights.shipped import shipped_models
from inceptions.weights.tags import get_tag

each_model = pytest.mark.parametrize("name", shipped_models())


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("no network is to be asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))


def test_two_for_cifar10_are_among_them():
    assert {"inception_small.cifar10", "inception_cifar.cifar10"} <= set(shipped_models())


@each_model
def test_it_is_small_and_says_where_it_is_from_and_how_good_it_is(name):
    folder = shipped_models()[name]
    card = read_card(folder)
    assert (folder / WEIGHTS_NAME).stat().st_size < 8e6
    assert name.startswith(f"{card.network.name}.")
    assert {"made_by", "recipe", "data", "command", "date"} <= set(card.provenance)
    assert not re.search(r'["\s:=]/\w', (folder / CARD_NAME).read_text(encoding="utf-8"))  # the place of a run
    assert "/" not in card.provenance["data"]
    assert card.metrics["test_accuracy"] > 0.88
    assert card.licence


@each_model
def test_it_is_read_in_float32_whatever_it_is_stored_in(name, offline):
    loaded = load_model(name)
    assert {value.dtype for value in loaded.module.state_dict().values()} <= {torch.float32, torch.int64}


@each_model
def test_it_predicts_without_a_network(inceptions, offline, tmp_path, name):
    Image.new("RGB", (300, 200), (120, 160, 220)).save(tmp_path / "sky.png")
    result = inceptions("predict", tmp_path / "sky.png", "--model", name)
    assert result.code == 0, result.err
    assert any(label in result.out for label in read_card(find_model(name)).classes)


@each_model
def test_it_is_listed_with_its_accuracy(inceptions, name):
    (row,) = (row for row in json.loads(inceptions("list", "--weights", "--json").out) if row["name"] == name)
    card = read_card(find_model(name))
    assert row["top1"] == pytest.approx(100 * card.metrics["test_accuracy"])
    assert f"{row['top1']:.1f} %" in inceptions("list", "--weights").out


@pytest.mark.parametrize("name", ["inception_small", "inception_small.cifar", "inception_smal.cifar10"])
def test_a_name_near_it_is_answered_with_it(name):
    with pytest.raises(UserError, match=r"inception_small\.cifar10"):
        get_tag(name)
