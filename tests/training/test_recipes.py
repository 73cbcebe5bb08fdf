from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.asynchronous.driver import ray_session
from inceptions.training.learner import Learner
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.processes import Processes
from inceptions.training.recipe import Adam, Finetune, RMSProp
from inceptions.training.recipes import INCEPTION_V3_2015, QUICK, RECIPES, get_recipe, training_side
from inceptions.training.settings import recipe_from_dict
from tests.pictures import paint

pytestmark = pytest.mark.usefixtures("plain_report")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_is_from_and_survives_yaml(name):
    recipe = RECIPES[name]
    assert recipe.source
    assert recipe.cost
    assert recipe.expect
    get_network(recipe.model)
    assert recipe_from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paint(folder / "train", each=22, seed=1)
    paint(folder / "test", each=2, seed=2)
    return load_splits(folder)


def small_setup(name, splits, *, asynchronous=0):
    recipe = replace(RECIPES[name], epochs=1, batch_size=30, precision="float32", asynchronous=asynchronous)
    side = {"inception_small": 28, "xception65": 64}.get(recipe.model, 80)
    network = replace(reshape.scale_width(get_network(recipe.model), 0.125), embedding=())
    return prepare(network, splits, recipe, source="pictures", image_size=side, device="cpu")


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.finetune])
def test_every_recipe_takes_two_steps(name, splits):
    """What stands around the steps, scores, folder and report, is `test_loop`'s, whatever the recipe."""
    setup = small_setup(name, splits)
    learner = Learner(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
    learner.begin_epoch(1)
    before = [parameter.clone() for parameter in learner.module.parameters()]
    side = training_side(setup.recipe, epoch=1, image_size=setup.network.image_size)
    preprocess = replace(setup.preprocess, image_size=side, resize_size=None)
    dataset = ImageDataset(setup.splits.train, preprocess, augment=setup.recipe.augment)
    for batch in image_loader(dataset, batch_size=30, shuffle=True, even=True, workers=0):
        assert 0 < learner.learn(batch).loss < 100
    assert learner.step == setup.steps_per_epoch >= 2
    assert any(not torch.equal(one, other) for one, other in zip(before, learner.module.parameters(), strict=True))


@pytest.fixture(scope="module")
def ray_is_there():
    pytest.importorskip("ray")
    with ray_session(None, workers=2):
        yield


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")  # Ray's own, of files that it leaves open
@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.asynchronous])
@pytest.mark.usefixtures("ray_is_there")
def test_every_asynchronous_recipe_takes_two_steps_with_a_server(name, splits, tmp_path):
    result = fit(small_setup(name, splits, asynchronous=2), tmp_path / "run", pace=Pace(workers=0))
    assert 0 < result.rows[0].train_loss < 100
    assert len((tmp_path / "run" / "staleness.csv").read_text().splitlines()) == 3


def test_finetune_takes_two_steps_with_the_head_alone_and_two_with_all(v3_75, pictures, tmp_path):
    recipe = replace(RECIPES["finetune"], epochs=2, batch_size=30, precision="float32", finetune=Finetune(freeze_epochs=1, layer_decay=0.8))
    setup = prepare(get_network("inception_v3"), load_splits(pictures), recipe, source="pictures", device="cpu", weights=v3_75)
    result = fit(setup, tmp_path / "run", pace=Pace(workers=0))
    assert all(0 < row.train_loss < 100 for row in result.rows)
    before, after = (load_file(folder / "model.safetensors") for folder in (v3_75, tmp_path / "run" / "last"))
    assert not torch.equal(before["stages.1a.conv.weight"], after["stages.1a.conv.weight"])


def test_rates_fall_towards_the_stem_in_any_recipe_and_finetune_has_its_own(splits, v3_75):
    def rates(setup):
        learner = Learner(setup, Processes(), steps_per_epoch=2)
        named = {id(parameter): name for name, parameter in learner.module.named_parameters()}
        return [({named[id(p)] for p in group["params"]}, group["lr"]) for group in learner.optimizer.param_groups]

    setup = small_setup("quick", splits)
    assert [lr for _, lr in rates(setup)] == [setup.peak_lr] * 2  # as it was, for checkpoints of before
    falling = replace(setup, recipe=replace(setup.recipe, layer_decay=0.5, bias_lr=4.0))
    found = {name: lr / setup.peak_lr for names, lr in rates(falling) for name in names}
    last, first = (f"stages.{stage.name}." for stage in (setup.network.stages[-2], setup.network.stages[0]))
    assert found["classifier.weight"] == 1
    assert {found[name] for name in found if name.startswith(last)} == {0.25, 1.0}
    assert found[f"{first}conv.weight"] == 0.5 ** len([stage for stage in setup.network.stages if f"stages.{stage.name}." in str(found)])
    recipe = replace(RECIPES["finetune"], batch_size=30, finetune=Finetune(layer_decay=0.5), precision="float32")
    tuned = prepare(get_network("inception_v3"), splits, recipe, source="pictures", device="cpu", weights=v3_75)
    assert rates(tuned)[2][1] == tuned.peak_lr / 2
    with pytest.raises(UserError, match=r"layer_decay is 0\.5, but this recipe has finetune, with its own; set finetune\.layer_decay"):
        replace(recipe, layer_decay=0.5)


@pytest.mark.parametrize("change", [{"policy": "trivialaugment"}, {"colour": "mild"}])
def test_what_cannot_vary_pictures_of_so_many_channels_is_told_before_training(change, splits):
    network = reshape.scale_width(get_network("inception_small"), 0.125)
    recipe = replace(QUICK, augment=replace(QUICK.augment, **change))
    (name,) = change
    with pytest.raises(UserError, match=rf"{name}=.* can't vary pictures of 5 channels, .*set augment\.{name}=none"):
        prepare(network, splits, recipe, source="pictures", channels=5, device="cpu")
    prepare(network, splits, recipe, source="pictures", channels=1, device="cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": replace(QUICK.augment, magnitude=12)}, "change nothing, for they are randaugment's and the policy is none"),
        ({"sampling": "balanced", "class_weights": "balanced"}, "both make up for rare classes"),
    ],
)
def test_settings_without_use_are_told(changes, words, splits, caplog):
    prepare(get_network("inception_small"), splits, replace(QUICK, **changes), source="pictures", device="cpu")
    assert words in caplog.text


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="did you mean inception_v3_2015"):
        get_recipe("inception_v3_2051")


def test_progressive_images_grow():
    growing = replace(QUICK, epochs=21, progressive=((0.15, 0.57), (0.35, 0.71), (0.65, 0.86)))
    assert [training_side(growing, epoch=e, image_size=28) for e in (1, 3, 4, 7, 8, 14, 15, 21)] == [16, 16, 20, 20, 24, 24, 28, 28]
    assert training_side(QUICK, epoch=1, image_size=28) == 28


def test_what_a_recipe_says_of_the_network_is_built(pictures):
    network = reshape.scale_width(get_network("inception_v3"), 0.125)
    recipe = replace(INCEPTION_V3_2015, drop_rate=0.35)
    setup = prepare(network, load_splits(pictures), recipe, source="pictures", device="cpu")
    module = Learner(setup, Processes(), steps_per_epoch=1).module
    assert [side.weight for side in setup.network.aux] == [0.4]
    assert {layer.momentum for layer in module.modules() if hasattr(layer, "momentum")} == {0.0003}
    assert {layer.p for layer in module.modules() if type(layer).__name__ == "Dropout"} == {0.35}


def test_finetune_without_weights_is_refused(pictures):
    with pytest.raises(UserError, match="give it weights"):
        prepare(get_network("inception_v3"), load_splits(pictures), RECIPES["finetune"], source="pictures", device="cpu")


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}, {"class_weights": "balanced"}])
def test_mixing_and_class_weights_train(settings, pictures, tmp_path):
    network = reshape.scale_width(get_network("inception_small"), 0.125)
    recipe = replace(QUICK, epochs=1, batch_size=30, precision="float32", **settings)
    setup = prepare(network, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu")
    assert fit(setup, tmp_path / "run", pace=Pace(workers=0)).rows[0].train_loss > 0


def test_accumulation_gives_the_gradient_of_the_whole_batch(pictures):
    """Without batch normalisation, whose statistics are those of a part; 1e-5: float32 rounding of sums of 7,680 terms in another order."""
    network = reshape.without_batch_norm(reshape.scale_width(get_network("inception_small"), 0.125))
    gradients = []
    for parts in (1, 3):
        recipe = replace(QUICK, batch_size=30, accumulate=parts, precision="float32", clip_norm=None)
        setup = prepare(network, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu")
        learner = Learner(setup, Processes(), steps_per_epoch=2)
        learner.begin_epoch(1)
        dataset = ImageDataset(setup.splits.train, setup.preprocess, augment=recipe.augment)
        learner.learn(next(iter(image_loader(dataset, batch_size=30, shuffle=False, workers=0))))
        gradients.append([p.grad.clone() for p in learner.module.parameters()])
    for whole, summed in zip(*gradients, strict=True):
        assert (whole - summed).abs().max() <= 1e-5 * max(1.0, whole.abs().max().item())


def test_images_too_small_for_the_network_are_told_before_the_first_step(splits):
    network = reshape.scale_width(get_network("inception_v3"), 0.125)
    recipe = replace(QUICK, progressive=((0.5, 0.4),), aux_weight=0.0)
    with pytest.raises(UserError, match=r"progressive begins with images of 60 pixels, 0\.4 of the side: .*smallest square image is"):
        prepare(network, splits, recipe, source="pictures", image_size=150, device="cpu")
    googlenet = reshape.scale_width(get_network("googlenet"), 0.125)
    with pytest.raises(UserError, match=r"0\.5 of the side: .*auxiliary head on '4a' is made for images of 224x224"):
        prepare(googlenet, splits, replace(QUICK, progressive=((0.5, 0.5),)), source="pictures", device="cpu")
    prepare(googlenet, splits, replace(QUICK, progressive=((0.5, 0.5),), aux_weight=0.0), source="pictures", device="cpu")


@pytest.mark.parametrize(("weights", "momentum"), [(None, 0.1), ("trained", 0.0003)])
def test_statistics_that_nobody_has_measured_begin_fast(weights, momentum, splits):
    setup = replace(small_setup("quick", splits), weights=weights)
    numerics = replace(setup.network.numerics, bn_momentum=0.0003)
    learner = Learner(replace(setup, network=replace(setup.network, numerics=numerics)), Processes(), steps_per_epoch=2)
    learner.begin_epoch(1)
    dataset = ImageDataset(setup.splits.train, setup.preprocess)
    learner.learn(next(iter(image_loader(dataset, batch_size=30, shuffle=True, workers=0))))
    assert {layer.momentum for layer in learner.module.modules() if hasattr(layer, "momentum")} == {momentum}


@pytest.mark.parametrize(
    ("recipe", "field", "value"),
    [  # what the sources print
        ("facenet_vggface2", "optimizer", Adam(epsilon=0.1)),  # train_tripletloss.py and facenet.py, train()
        ("facenet_vggface2", "drop_rate", 0.6),  # the wiki's --keep_probability 0.4
        ("facenet_vggface2", "bn_momentum", 0.005),  # decay 0.995 in inception_resnet_v1.py
        ("facenet_vggface2", "weight_decay", 5e-4),  # the wiki's command
        ("inception_v3_2015", "optimizer", RMSProp(decay=0.9, momentum=0.9, epsilon=1.0)),  # 1512.00567, section 8
        ("inception_v3_2015", "clip_norm", 2.0),
        ("inception_v3_2015", "lr", 0.045),
        ("bn_inception_x30", "lr", 0.045),  # 1502.03167, section 4.2.2
        ("bn_inception_x30", "epochs", 150),  # 6 M steps of 32 of 1.28 M images
    ],
)
def test_recipes_have_the_numbers_of_their_sources(recipe, field, value):
    assert getattr(get_recipe(recipe), field) == value
