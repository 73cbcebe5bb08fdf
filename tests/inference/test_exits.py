"""Early exits: parts are the network, images leave where they may and come out in their order, thresholds are the best of those tried."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.data.preprocess import for_training
from inceptions.errors import ModelFolderError, UserError
from inceptions.inference.engines.base import Answers, softmax
from inceptions.inference.engines.choose import open_engine, open_parts
from inceptions.inference.engines.graph import cut
from inceptions.inference.engines.prepare import real_pixels
from inceptions.inference.engines.torch import TorchEngine
from inceptions.inference.evaluate import evaluate
from inceptions.inference.exits import choose as room
from inceptions.inference.exits.choose import choose_exits
from inceptions.inference.exits.engine import EarlyExit, open_early_exit
from inceptions.inference.exits.table import BUDGETS, KEY, Exits, choose, heads_of, leave_by, path_costs
from inceptions.inference.predict import open_model, predict
from inceptions.networks import reshape
from inceptions.networks.modules.models import ClassifierWithAux, create_model
from inceptions.networks.registry import get_network
from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, Conv, Linear
from inceptions.networks.trace import trace
from inceptions.weights.card import CARD_NAME, read_card
from inceptions.weights.folder import load_model, save_model
from tests.pictures import paint
from tests.tiny import CLASSES, SIZE_PX

HEADS = ("2a", "2c")


def two_heads():
    """A network of five stages with auxiliary heads on the second and the fourth, written in the other order, as GoogLeNet's."""
    small = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.25), len(CLASSES))
    heads = tuple(AuxHead(after, weight=0.3, layers=(AdaptiveAvgPool(3), Conv(8, 1), Linear(12))) for after in ("2c", "2a"))
    return reshape.with_image_size(replace(small, stages=small.stages[:5], features=(), aux=heads), SIZE_PX)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with two auxiliary heads whose classes differ by more than rounding."""
    torch.manual_seed(0)
    module = ClassifierWithAux(two_heads())
    for head in (module.classifier, *(side[-1] for side in module.aux.values())):
        torch.nn.init.normal_(head.weight, std=3)
    place = tmp_path_factory.mktemp("heads") / "model"
    save_model(module, place, preprocess=for_training(SIZE_PX), classes=CLASSES)
    return place


@pytest.fixture(scope="module")
def pixels(folder):
    return real_pixels(read_card(folder).preprocess, 40)


@pytest.fixture(scope="module")
def said(folder, pixels):
    """The logits of both heads and of the whole network, in float32, by torch."""
    model = load_model(folder, aux=True)
    images = torch.from_numpy(model.card.preprocess.normalize_pixels(pixels.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        outputs = model.module(images)
    return [logits.numpy() for logits in (*outputs.aux, outputs.logits)]


@pytest.fixture
def parts(folder):
    model = load_model(folder, aux=True)
    return [TorchEngine(part) for part in cut(model.module, model.card.preprocess)]


def test_parts_one_after_the_other_are_the_network(parts, pixels, said):
    given = pixels
    for part, wanted in zip(parts, said, strict=True):
        logits, given = part.run(given)
        assert np.allclose(logits, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert heads_of(two_heads()) == HEADS


def test_what_a_way_out_costs_is_what_it_runs():
    table = trace(two_heads())
    rows, side = {row.name: row.cost.multiply_adds for row in table.rows}, {row.name: row.cost.multiply_adds for row in table.aux}
    first = rows["conv1"] + rows["2a"] + side["aux 2a"]
    second = first + rows["2b"] + rows["2c"] + side["aux 2c"]
    wanted = np.array([first, second, second + rows["3a"] + rows["head"]]) / table.total.multiply_adds
    assert np.allclose(path_costs(two_heads()), wanted)
    assert wanted[-1] > 1  # an image that goes through all takes the heads too


@pytest.mark.parametrize("quantile", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [[1], [3, 1, 16], [16] * 20, [5] * 9])
def test_each_image_is_answered_by_the_first_head_that_is_sure(parts, pixels, said, sizes, quantile):
    confidence = np.stack([softmax(logits).max(1) for logits in said[:2]])
    thresholds = tuple(float(np.quantile(values, quantile)) + 1e-6 for values in confidence)
    by = leave_by(confidence, thresholds)
    assert len(set(by)) == 3
    engine = EarlyExit(parts, thresholds, two_heads())
    places = np.resize(np.arange(len(pixels)), sum(sizes))
    batches = np.split(places, np.cumsum(sizes)[:-1])
    found = list(engine.stream(pixels[batch] for batch in batches))
    assert [len(answers.logits) for answers in found] == sizes
    wanted = np.stack([said[by[place]][place] for place in places])
    assert np.allclose(np.concatenate([answers.logits for answers in found]), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    assert engine.left.tolist() == np.bincount(by[places], minlength=3).tolist()


def test_without_thresholds_all_go_through_and_with_the_lowest_none_does(parts, pixels, said):
    for thresholds, wanted in (((None, None), said[2]), ((0.0, None), said[0]), ((None, 0.0), said[1])):
        found = EarlyExit(parts, thresholds, two_heads()).run(pixels)
        assert np.allclose(found.logits, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
        assert found.vectors.shape == (len(pixels), 0)
    assert list(EarlyExit(parts, (None, None), two_heads()).stream([])) == []
    with pytest.raises(UserError, match="3 parts and 1 thresholds"):
        EarlyExit(parts, (0.5,), two_heads())


def test_thresholds_are_the_cheapest_that_lose_no_more_than_may_be():
    rng = np.random.default_rng(0)
    right = np.stack([rng.random(400) < share for share in (0.7, 0.8, 0.9)])
    confidence = np.where(right[:2], rng.uniform(0.4, 1, (2, 400)), rng.uniform(0.2, 0.9, (2, 400)))
    costs = np.array([0.3, 0.7, 1.1])

    def judge(thresholds):
        by = leave_by(confidence, thresholds)
        return 100 * (right[2].mean() - right[by, np.arange(400)].mean()), costs[by].mean()

    found = [judge(thresholds) for thresholds in choose(confidence, right, costs)]
    assert all(lost <= budget + 1e-9 for (lost, _), budget in zip(found, BUDGETS, strict=True))
    assert [cost for _, cost in found] == sorted((cost for _, cost in found), reverse=True)
    assert found[-1][1] < found[0][1] < 1.1
    levels = np.linspace(0.2, 1, 15).tolist()
    for budget, (_, cost) in zip(BUDGETS, found, strict=True):
        others = [judge(thresholds) for thresholds in itertools.product([None, *levels], repeat=2)]
        assert cost <= min(other for lost, other in others if lost <= budget + 1e-9) + 0.02
    never = choose(confidence, np.stack([~right[2], ~right[2], right[2]]), costs, budgets=[0.0])[0]
    assert judge(never)[0] == 0


@pytest.fixture
def many(tmp_path):
    """Labelled pictures: 120 for validation, 120 for the test."""
    paint(tmp_path / "many" / "train", each=2, seed=1)
    paint(tmp_path / "many" / "val", each=40, seed=2)
    paint(tmp_path / "many" / "test", each=40, seed=3)
    return tmp_path / "many"


@pytest.fixture
def ready(folder, many, tmp_path, monkeypatch):
    """The model, with its exits found on the pictures, in a folder of its own; and what was found."""
    monkeypatch.setattr(room, "TIMED_ON", 8)
    model = load_model(folder, aux=True)
    save_model(model.module, tmp_path / "model", preprocess=model.card.preprocess, classes=CLASSES)
    return tmp_path / "model", choose_exits(tmp_path / "model", str(many), engine="torch", device="cpu", seconds=0.01)


def test_what_is_found_is_kept_and_used(ready, many):
    model, found = ready
    assert (found.chosen_on, found.judged_on, found.judged_part) == (120, 120, "test")
    card = read_card(model)
    assert Exits.from_card(card) == found
    for row in found.rows:
        assert row.lost.low <= row.lost.value <= row.lost.high
        assert sum(row.leave) <= 1 and row.speed.value > 0
    most = found.rows[-1]
    assert most.leave[0] + most.leave[1] > 0 and most.multiply_adds < path_costs(card.network)[-1]

    whole = evaluate(str(model), str(many), device="cpu")
    early = evaluate(str(model), str(many), device="cpu", most_lost=2.0)
    assert early.rows[0].multiply_adds == pytest.approx(most.multiply_adds * whole.rows[0].multiply_adds, rel=0.01)
    lost = 100 * (whole.rows[0].score.accuracy - early.rows[0].score.accuracy)
    assert lost == pytest.approx(most.lost.value, abs=1e-4)
    told = predict(model, many / "test", engine="torch", device="cpu", exit_early=True, most_lost=2.0)
    plain = predict(model, many / "test", engine="torch", device="cpu")
    assert [item.path for item in told] == [item.path for item in plain]
    assert any(ours.probabilities != theirs.probabilities for ours, theirs in zip(told, plain, strict=True))


def with_rows(model, thresholds):
    """Write a card whose rows have these thresholds, by points that may be lost."""
    card = json.loads((model / CARD_NAME).read_text())
    (row, *_) = card["provenance"][KEY]["rows"]
    card["provenance"][KEY]["rows"] = [{**row, "most_lost": points, "thresholds": pair} for points, pair in thresholds.items()]
    (model / CARD_NAME).write_text(json.dumps(card))


def test_the_row_is_that_of_the_most_that_may_be_lost(ready):
    model, _ = ready
    rows = {0.0: [None, None], 0.3: [0.9, None], 2.0: [0.6, 0.7]}
    with_rows(model, rows)
    for most_lost, points in ((0, 0.0), (0.29, 0.0), (0.3, 0.3), (1.9, 0.3), (2, 2.0), (100, 2.0)):
        engine, _ = open_model(model, engine="torch", device="cpu", most_lost=most_lost)
        assert list(engine.thresholds) == rows[points]
        assert engine.settings["exits"] == rows[points]
    with_rows(model, {0.0: [None, None], "x": [0.9, None]})
    with pytest.raises(ModelFolderError, match=r"damaged .*; inceptions exits makes it anew"):
        open_model(model, engine="torch", device="cpu", most_lost=1)


def test_a_budget_that_is_met_exactly_is_met():
    right = np.ones((2, 1000), bool)
    right[0, 899] = False  # the head alone
    right[:, 900:] = False
    costs = np.array([0.5, 1.1])
    assert choose(np.full((1, 1000), 0.9), right, costs, budgets=[0.09, 0.1]) == [(None,), (0.9,)]


def test_speed_is_measured_on_all_classes_and_thresholds_are_found_on_validation_alone(folder, many, tmp_path, monkeypatch):
    heard, timed = [], []
    hear, speed = room._hear, room._speed
    monkeypatch.setattr(room, "TIMED_ON", 60)
    monkeypatch.setattr(room, "_hear", lambda parts, samples, card: heard.append(samples) or hear(parts, samples, card))
    monkeypatch.setattr(room, "_speed", lambda plain, early, pixels, seconds: timed.append(pixels) or speed(plain, early, pixels, seconds))
    model = load_model(folder, aux=True)
    save_model(model.module, tmp_path / "model", preprocess=model.card.preprocess, classes=CLASSES)
    choose_exits(tmp_path / "model", str(many), engine="torch", device="cpu", seconds=0.01)
    assert [{sample.path.parts[-3] for sample in samples} for samples in heard] == [{"val"}, {"test"}]
    colours = timed[0].reshape(60, -1, 3).mean(1).argmax(1)
    assert np.bincount(colours, minlength=3).min() > 5


def test_a_model_that_is_replaced_meanwhile_keeps_its_card(ready, many, monkeypatch):
    model, _ = ready
    speed = room._speed

    def replace_it(*given):
        torch.manual_seed(5)
        save_model(ClassifierWithAux(two_heads()), model, preprocess=for_training(SIZE_PX), classes=CLASSES)
        return speed(*given)

    monkeypatch.setattr(room, "_speed", replace_it)
    with pytest.raises(UserError, match="was replaced by another while it was measured"):
        choose_exits(model, str(many), engine="torch", device="cpu", seconds=0.01)
    assert KEY not in load_model(model).card.provenance


def test_heads_without_weights_are_told(tmp_path, many):
    save_model(create_model(two_heads()), tmp_path / "model", preprocess=for_training(SIZE_PX), classes=CLASSES)
    with pytest.raises(ModelFolderError, match="has no weights of auxiliary heads; take a model that was trained with them"):
        choose_exits(tmp_path / "model", str(many), engine="torch", device="cpu")


def test_a_network_that_says_nan_is_never_right(parts):
    class Nan(TorchEngine):
        def run(self, pixels):
            logits, vectors = super().run(pixels)
            return Answers(np.full_like(logits, np.nan), vectors)

    nan = Nan(parts[0]._classifier)
    early = EarlyExit([nan, *parts[1:]], (0.0, 0.0), two_heads())
    early.run(np.zeros((3, SIZE_PX, SIZE_PX, 3), np.uint8))
    assert early.left.tolist() == [0, 3, 0]  # it is not sure


def test_small_sets_are_judged_on_the_other_half_of_validation_or_refused(folder, many, tmp_path):
    few = paint(tmp_path / "few" / "val", each=22, seed=2).parent
    paint(few / "train", each=2, seed=1)
    with pytest.raises(UserError, match=r"33 validation images to choose on and 33 others to judge on, .*; 100 of each are needed"):
        choose_exits(folder, str(few), engine="torch", device="cpu")
    for picture in sorted((many / "val").rglob("*.png"))[:30]:
        picture.write_bytes(b"no picture")
    with pytest.raises(UserError, match="90 validation images to choose on and 120 others"):
        choose_exits(folder, str(many), engine="torch", device="cpu", seconds=0.01)
    assert KEY not in read_card(folder).provenance


def test_what_cannot_be_is_told(folder, ready, tiny, many):
    model, _ = ready
    with pytest.raises(UserError, match="inception_small has no auxiliary heads to leave by"):
        choose_exits(tiny, str(many))
    with pytest.raises(UserError, match="not known yet; inceptions exits MODEL --data DATA finds it"):
        open_early_exit(folder, read_card(folder))
    with pytest.raises(UserError, match="most_lost is 101"):
        open_early_exit(model, read_card(model), most_lost=101)
    with pytest.raises(UserError, match="early exits are of model folders"):
        predict(load_model(model), [], exit_early=True)
    card = json.loads((model / CARD_NAME).read_text())
    card["provenance"][KEY]["rows"][0]["thresholds"] = [0.5]
    (model / CARD_NAME).write_text(json.dumps(card))
    with pytest.raises(ModelFolderError, match=r"damaged .1 thresholds for 2 heads.; inceptions exits makes it anew"):
        open_early_exit(model, read_card(model))


@pytest.mark.exhaustive
def test_of_a_quantised_network_the_form_in_floating_point_is_left_early(folder, engine_cache):
    card = read_card(folder)
    quantised = replace(card, provenance={**card.provenance, "int8": {"sha256": "none"}})
    parts = open_parts(folder, quantised, engine="openvino", device="cpu")
    assert len(parts) == 3 and {part.precision for part in parts} <= {"float32", "bfloat16"}


@pytest.mark.exhaustive
def test_openvino_runs_the_parts(folder, pixels, said, engine_cache):
    card = read_card(folder)
    engine = EarlyExit(open_parts(folder, card, engine="openvino", device="cpu"), (0.0, None), two_heads())
    assert str(engine) == f"{open_engine(folder, card, engine='openvino', device='cpu')}, left early"
    assert np.abs(softmax(engine.run(pixels).logits) - softmax(said[0])).max() < 0.1  # what bfloat16 is allowed
    whole = EarlyExit(engine.parts, (None, None), two_heads()).run(pixels)
    assert np.abs(softmax(whole.logits) - softmax(said[2])).max() < 0.1
