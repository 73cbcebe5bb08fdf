from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.processes import Processes
from inceptions.training.recipe import Finetune
from inceptions.training.recipes import CIFAR10, INCEPTION_V3_2015, QUICK, RECIPES, get_recipe, training_side
from inceptions.training.settings import recipe_from_dict


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_is_from_and_survives_yaml(name):
    recipe = RECIPES[name]
    assert recipe.source
    assert recipe.cost
    assert recipe.expect
    get_network(recipe.model)
    assert recipe_from_dict(yaml.safe_load(yaml.safe_dump(recipe.to_dict()))) == recipe


def take_two_steps(name, pictures, folder, *, asynchronous=0):
    recipe = replace(RECIPES[name], epochs=1, batch_size=30, precision="float32", asynchronous=asynchronous)
    side = {"inception_small": 16, "xception65": 64}.get(recipe.model, 80)
    network = reshape.scale_width(get_network(recipe.model), 0.125)
    if network.embedding:
        network = replace(network, embedding=())
    setup = prepare(network, load_splits(pictures), recipe, source="pictures", image_size=side, device="cpu")
    result = fit(setup, folder, pace=Pace(workers=0))
    assert len(result.rows) == 1
    assert 0 < result.rows[0].train_loss < 100


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if not recipe.finetune])
def test_every_recipe_takes_two_steps(name, pictures, tmp_path):
    take_two_steps(name, pictures, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of files that it leaves open
@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.asynchronous])
def test_every_asynchronous_recipe_takes_two_steps_with_a_server(name, pictures, tmp_path):
    pytest.importorskip("ray")
    take_two_steps(name, pictures, tmp_path / "run", asynchronous=2)
    assert len((tmp_path / "run" / "staleness.csv").read_text().splitlines()) == 3


def test_finetune_takes_two_steps_with_the_head_alone_and_two_with_all(v3_75, pictures, tmp_path):
    recipe = replace(RECIPES["finetune"], epochs=2, batch_size=30, precision="float32", finetune=Finetune(freeze_epochs=1, layer_decay=0.8))
    setup = prepare(get_network("inception_v3"), load_splits(pictures), recipe, source="pictures", device="cpu", weights=v3_75)
    result = fit(setup, tmp_path / "run", pace=Pace(workers=0))
    assert all(0 < row.train_loss < 100 for row in result.rows)
    before, after = (load_file(folder / "model.safetensors") for folder in (v3_75, tmp_path / "run" / "last"))
    assert not torch.equal(before["stages.1a.conv.weight"], after["stages.1a.conv.weight"])


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="did you mean inception_v3_2015"):
        get_recipe("inception_v3_2051")


def test_progressive_images_grow():
    assert [training_side(CIFAR10, epoch=e, image_size=28) for e in (1, 3, 4, 7, 8, 14, 15, 21)] == [16, 16, 20, 20, 24, 24, 28, 28]
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
    with pytest.raises(UserError, match="give --weights"):
        prepare(get_network("inception_v3"), load_splits(pictures), RECIPES["finetune"], source="pictures", device="cpu")


@pytest.mark.parametrize("settings", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}, {"class_weights": "balanced"}])
def test_mixing_and_class_weights_train(settings, pictures, tmp_path):
    network = reshape.scale_width(get_network("inception_small"), 0.125)
    recipe = replace(QUICK, epochs=1, batch_size=30, precision="float32", **settings)
    setup = prepare(network, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu")
    assert fit(setup, tmp_path / "run", pace=Pace(workers=0)).rows[0].train_loss > 0


def test_accumulation_gives_the_gradient_of_the_whole_batch(pictures):
    """Without batch normalisation, whose statistics are those of a part; 1e-5: float32 rounding of sums of 7,680 terms in another order."""
    from inceptions.data.dataset import ImageDataset, image_loader

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
