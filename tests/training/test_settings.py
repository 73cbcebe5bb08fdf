import logging
import math
from dataclasses import replace

import pytest

from inceptions.data.augment import Augment
from inceptions.errors import UserError
from inceptions.training.recipe import Adam, Average, Finetune, Recipe, RMSProp, Sgd
from inceptions.training.recipes import FINETUNE, GOOGLENET_2014, QUICK
from inceptions.training.schedules import Constant, Cosine, Steps
from inceptions.training.settings import change


def test_set_changes_fields_at_any_depth():
    lines = ["lr=1e-2", "optimizer.momentum=0.8", "augment.area=[2e-1, 1.0]", "clip_norm=none", "schedule=constant", "epochs=1e1"]
    recipe = change(QUICK, lines)
    assert (recipe.lr, recipe.optimizer.momentum, recipe.augment.area, recipe.clip_norm) == (0.01, 0.8, (0.2, 1.0), None)
    assert (recipe.schedule, recipe.epochs) == (Constant(), 10)


def test_set_replaces_an_optimizer_and_fills_in_a_part_that_was_none():
    recipe = change(QUICK, ["optimizer=rmsprop", "optimizer.epsilon=0.1", "average.decay=0.99"])
    assert recipe.optimizer == RMSProp(epsilon=0.1)
    assert recipe.average == Average(decay=0.99)
    assert change(QUICK, ["optimizer.kind=adam"]).optimizer == Adam()
    assert change(QUICK, ["optimizer=adamw", "schedule={kind: cosine, warmup_epochs: 2}"]).schedule == Cosine(warmup_epochs=2)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0o17", 15), ("0x1F", 31), ("010", 10), ("+7", 7), ("7.", 7), (".7e1", 7), ("1E+1", 10)],
)
def test_numbers_are_those_of_yaml_1_2(text, value):
    assert change(QUICK, [f"epochs={text}"]).epochs == value


@pytest.mark.parametrize("text", ["1:30", "yes", "2024-01-01", "2024-13-45", "0b11", "1_000", "=", "<<"])
def test_words_are_those_of_yaml_1_2(text):
    """YAML 1.1 has numbers to the base of sixty, more words for true and false, and dates."""
    assert change(QUICK, [f"name={text}", f"expect={text}", "whiten=TRUE"]) == replace(QUICK, name=text, expect=text, whiten=True)


def test_set_chooses_how_images_are_varied_and_drawn():
    lines = ["augment.policy=randaugment", "augment.magnitude=12", "augment.erasing=0.25", "sampling=square_root", "layer_decay=0.9"]
    recipe = change(QUICK, lines)
    assert recipe.augment == Augment(policy="randaugment", magnitude=12, erasing=0.25)
    assert (recipe.sampling, recipe.layer_decay) == ("square_root", 0.9)
    assert change(recipe, ["augment.policy=none"]).augment.policy == "none"


def test_set_takes_a_part_as_a_mapping():
    recipe = change(QUICK, ["optimizer={kind: adam, beta1: 5e-1}", "schedule={kind: steps, at: [[1, 1e-1]]}", "average={}"])
    assert (recipe.optimizer, recipe.schedule, recipe.average) == (Adam(beta1=0.5), Steps(at=((1, 0.1),)), Average())


def test_none_is_a_word_where_it_is_one_and_nothing_elsewhere():
    recipe = replace(GOOGLENET_2014, class_weights="balanced", clip_norm=1.0, finetune=Finetune())
    lines = ["class_weights=none", "augment.colour=none", "clip_norm=none", "average=none", "finetune=None", "lr=null", "aux_weight=none"]
    changed = change(recipe, lines)
    assert (changed.class_weights, changed.augment.colour) == ("none", "none")
    assert (changed.clip_norm, changed.average, changed.finetune, changed.lr, changed.aux_weight) == (None,) * 5
    assert change(recipe, ["class_weights=null", "augment={colour: none}"]).augment == Augment()


def test_another_optimizer_brings_its_own_learning_rate(caplog):
    assert change(FINETUNE, ["optimizer=adam"]).lr is None
    assert "lr of 0.01 is for sgd and left out; adam has its own" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert change(FINETUNE, ["optimizer=adam", "lr=0.1"]).lr == 0.1
        assert change(FINETUNE, ["lr=0.1", "optimizer=adam"]).lr == 0.1
        assert change(FINETUNE, ["optimizer.nesterov=false", "optimizer=sgd"]).lr == FINETUNE.lr
    assert not caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lerning_rate=1", "no such field; fields are accumulate, "),
        ("epoch=3", "did you mean epochs"),
        ("optimizer.momentun=0.9", "did you mean optimizer.momentum"),
        ("optimizer={kind: adam, bet1: 0.5}", "did you mean optimizer.beta1"),
        ("average={decai: 0.5}", "did you mean average.decay"),
        ("lr.peak=1", "lr.peak: no such field; lr has none of its own"),
        ("epochs=many", "epochs is 'many'; it must be a whole number"),
        ("epochs=true", "epochs is True; it must be a whole number"),
        ("epochs=1.5", "epochs is 1.5; it must be a whole number"),
        ("epochs=none", "epochs is None; it must be a whole number"),
        ("epochs=0", "epochs is 0; it must be a whole number, at least 1"),
        ("lr={a: 1}", "lr is {'a': 1}; it must be a number"),
        ("whiten=maybe", "whiten is 'maybe'; it must be true or false"),
        ("name=5", "name is 5; it must be text"),
        ("precision=float8", "it must be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ("lr", "needed is FIELD=VALUE"),
        ("lr={", "the value is no YAML"),
        ("augment.policy=autoaugment", "augment.policy is 'autoaugment'; it must be 'none', 'randaugment' or 'trivialaugment'"),
        ("augment.magnitude=9.5", "augment.magnitude is 9.5; it must be a whole number"),
        ("sampling=none", "sampling is None; it must be 'each_once', 'balanced' or 'square_root'"),
        ("augment.area=[2, 3]", "rising numbers in"),
        ("augment.area=[0.5]", "augment.area.1 is .*; it has too few values"),
        ("augment.aspect=[1, .inf]", "two rising positive numbers"),
        ("augment.interpolations=bicubic", "it must be a list"),
        ("optimizer=sdg", "optimizer is 'sdg'; did you mean sgd"),
        ("optimizer=one_cycle", "optimizer is 'one_cycle'; kinds are sgd, rmsprop, adam"),
        ("optimizer={kind: foo}", "kinds are sgd, rmsprop, adam"),
        ("optimizer=none", "kinds are sgd, rmsprop, adam"),
        ("average=0.9", "average is 0.9; it is made of decay, warmup: set one of them, such as average.decay"),
        ("optimizer.momentum=1.5", "optimizer.momentum is 1.5; it must be at least 0 and below 1"),
        ("optimizer={kind: adam, beta2: 1}", "optimizer.beta2 is 1.0; it must be at least 0 and below 1"),
        ("optimizer={kind: rmsprop, epsilon: high}", "optimizer.epsilon is 'high'; it must be a number"),
        ("progressive=[0.5, 0.5]", "progressive.0 is 0.5; it must be a list"),
        ("progressive=[[0.5, 0.5, 0.5]]", "progressive.0 is .*; it must have at most 2 values, not 3"),
        ("epochs=1:30", "epochs is '1:30'; it must be a whole number"),  # YAML 1.1 reads 90
        ("lr=1_000.5", "lr is '1_000.5'; it must be a number"),
        ("lr=nan", "lr is 'nan'; it must be a number"),
        ("lr=2024-01-01", "lr is '2024-01-01'; it must be a number"),
        ("epochs='5'", "epochs is '5'; it must be a whole number"),
        *((f"whiten={word}", f"whiten is '{word}'; it must be true or false") for word in ("yes", "No", "on", "OFF")),
        pytest.param(f"seed={'1' * 5000}", "the value is no YAML", id="digits"),  # more than Python makes a number of
        ("lr=&a [*a]", "the value is no YAML"),  # a list that holds itself
        pytest.param(f"lr={'[' * 3000}", "the value is no YAML", id="brackets"),
        ("expect={2024-01-01: 1}", "expect is .*; it must be text"),
    ],
)
def test_set_says_what_is_wrong(line, message):
    with pytest.raises(UserError, match=message):
        change(QUICK, [line])


NUMBERS = (math.nan, math.inf, -math.inf, -1.0, True, "1", 1e400)


@pytest.mark.parametrize("value", NUMBERS, ids=str)
@pytest.mark.parametrize(
    "field",
    ["lr", "weight_decay", "clip_norm", "label_smoothing", "aux_weight", "drop_rate", "bn_momentum", "bias_lr", "mixup", "cutmix"],
)
def test_a_number_that_can_t_be_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"^{field} is .*; it must be a number"):
        Recipe(**{field: value})


@pytest.mark.parametrize("value", [*NUMBERS, 1.5, 2**32, 10**30], ids=str)
@pytest.mark.parametrize("field", ["epochs", "batch_size", "accumulate", "early_stop", "asynchronous", "seed", "split_seed"])
def test_a_count_that_can_t_be_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"^{field} is .*; it must be a whole number"):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0}, "lr is 0; it must be a number above 0"),
        ({"clip_norm": 0}, "clip_norm is 0; it must be a number above 0, or none"),
        ({"label_smoothing": 1}, "label_smoothing is 1; it must be a number from 0 to 0.999"),
        ({"drop_rate": 1}, "drop_rate is 1; it must be a number from 0 to 0.999, or none"),
        ({"bn_momentum": 0}, "bn_momentum is 0; it must be a number above 0, at most 1, or none"),
        ({"bn_momentum": 1.1}, "at most 1"),
        ({"layer_decay": 0}, "layer_decay is 0; it must be a number above 0 and at most 1"),
        ({"layer_decay": math.nan}, "layer_decay is nan"),
        ({"batch_size": 1}, "batch_size is 1; it must be a whole number, at least 2"),
        ({"batch_size": 4, "accumulate": 3}, "leaves fewer than 2 images"),
        ({"progressive": ((0.0, 0.5),)}, "pairs of shares above 0"),
        ({"progressive": ((0.5, 1.5),)}, "pairs of shares above 0, at most 1"),
        ({"progressive": ((0.5, 0.5), (0.5, 0.7))}, "of which the first rise"),
        ({"progressive": ((math.nan, 0.5),)}, "pairs of shares"),
    ],
)
def test_the_edges_of_a_recipe_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Recipe(**settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Adam(epsilon=0),
        lambda: Adam(beta1=1),
        lambda: Adam(beta2=math.nan),
        lambda: RMSProp(epsilon=math.inf),
        lambda: RMSProp(decay=-0.1),
        lambda: Sgd(momentum=1),
        lambda: Average(decay=math.nan),
    ],
)
def test_an_optimizer_that_can_t_be_is_refused(make):
    with pytest.raises(UserError, match="it must be"):
        make()


def test_the_edges_of_a_recipe_are_taken():
    edges = {
        "epochs": 1,
        "batch_size": 2,
        "accumulate": 1,
        "lr": 1e-30,
        "clip_norm": 1e30,
        "aux_weight": 0,
        "drop_rate": 0,
        "bn_momentum": 1,
    }
    edges |= {"seed": 2**32 - 1, "weight_decay": 0, "progressive": ((0.2, 0.5), (1, 1)), "label_smoothing": 0, "mixup": 0, "bias_lr": 0}
    made = Recipe(**edges)
    assert {name: getattr(made, name) for name in edges} == edges
