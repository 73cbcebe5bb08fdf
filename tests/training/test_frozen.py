"""A frozen body: what it costs, and that its features may be kept."""

import shutil
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from inceptions.data.folders import load_splits
from inceptions.data.preprocess import for_training
from inceptions.errors import StoppedError, UserError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, training_module
from inceptions.training.features import FixedBody, OpenEnd, keeps_features
from inceptions.training.finetune import set_trainable
from inceptions.training.gradients import LossScale
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Finetune
from inceptions.training.recipes import FINETUNE, RECIPES
from inceptions.training.settings import change, recipe_from_dict
from inceptions.weights.folder import save_model
from tests.pictures import paint
from tests.training.test_processes import finish, start
from tests.training.trained import GOOGLENET, RESNET, SMALL, V3, trained

pytestmark = pytest.mark.usefixtures("plain_report")

HEAD = replace(
    FINETUNE, finetune=Finetune(head_only=True), augment=None, epochs=3, batch_size=8, lr=0.1, precision="float32", on_error="skip"
)
DROPPING = reshape.with_drop_rate(SMALL, 0.3)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """66 pictures to train on, of which 6 become validation and one can't be read."""
    base = tmp_path_factory.mktemp("painted")
    paint(base / "train", each=22, seed=1)
    paint(base / "test", each=2, seed=2)
    (base / "train" / "blue" / "003.png").write_bytes(b"no picture")
    return base


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "body"
    save_model(trained(DROPPING), folder, preprocess=for_training(28), classes=tuple("abcdefghij"))
    return folder


def setup_of(painted, body, recipe=HEAD):
    return prepare(DROPPING, load_splits(str(painted)), recipe, source=str(painted), device="cpu", weights=body)


def run(painted, body, folder, *, recipe=HEAD, reporter=None, pace=None):
    return fit(setup_of(painted, body, recipe), folder, reporter=reporter, pace=pace or Pace(workers=0))


@pytest.fixture
def looked_at(monkeypatch):
    """How many images bodies have been asked for."""
    seen, real = [], Classifier.forward_features

    def forward(module, images):
        seen.append(len(images))
        return real(module, images)

    monkeypatch.setattr(Classifier, "forward_features", forward)
    return seen


@pytest.mark.parametrize("network", [SMALL, V3, RESNET])
def test_a_frozen_body_keeps_nothing_for_a_way_back(network):
    network = reshape.without_aux(network) if network.classes else reshape.with_classes(reshape.without_aux(network), 10)
    module, kept = training_module(network), []
    set_trainable(module, Finetune(head_only=True), epoch=1)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        features = module.forward_features(torch.randn(2, 3, network.image_size, network.image_size))
        assert (features.grad_fn, kept) == (None, [])
        module.forward_head(features).sum().backward()
    assert 0 < len(kept) <= 4  # features and weights of the classifier, and what dropout left out
    assert {name for name, parameter in module.named_parameters() if parameter.grad is not None} == {"classifier.weight", "classifier.bias"}


def test_parts_below_the_lowest_open_one_keep_nothing_for_a_way_back():
    module, kept = Classifier(SMALL), []
    opened = set_trainable(module, Finetune(unfreeze_per_epoch=2), epoch=1)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        x, is_open = torch.randn(2, 3, 28, 28), False
        for name, stage in module.stages.named_children():
            x, is_open = stage(x), is_open or name in opened
            assert (x.grad_fn is not None, len(kept) > 0) == (is_open, is_open), name
    assert is_open


@pytest.mark.parametrize("network", [DROPPING, RESNET, reshape.without_aux(GOOGLENET)])
@pytest.mark.parametrize("training", [True, False])
def test_a_network_in_two_gives_what_it_gives_whole(network, training):
    network = network if network.classes else reshape.with_classes(network, 10)
    module = training_module(network)
    set_trainable(module, Finetune(head_only=True), epoch=1)
    if not training:
        module.eval()
    images = torch.randn(2, 3, network.image_size, network.image_size)
    torch.manual_seed(3)
    whole = module(images)
    torch.manual_seed(3)
    features = FixedBody(module)(images)
    assert features.shape[2:] == (1, 1)
    assert torch.equal(OpenEnd(module)(features), whole)


def test_kept_features_train_the_same_head_as_computed_ones_and_each_picture_is_looked_at_once(painted, body, tmp_path, looked_at):
    results = {}
    for name, kept in (("kept", True), ("computed", False)):
        del looked_at[:]
        recipe = replace(HEAD, finetune=Finetune(head_only=True, cache_features=kept))
        results[name] = run(painted, body, tmp_path / name, recipe=recipe), sum(looked_at)
    readable, then = 65, 6 + 6  # the test images, and those of validation once more, which the temperature is fitted on
    assert results["kept"][1] == 1 + readable + then  # 1: a black picture, which tells how much memory features take
    assert results["computed"][1] == HEAD.epochs * readable + then
    kept, computed = (load_file(tmp_path / name / "last" / "model.safetensors") for name in results)
    start = load_file(body / "model.safetensors")
    for key, value in kept.items():
        if key.startswith("classifier."):  # 1e-5: sums of float32 in batches of other sizes; they have moved by a hundred times as much
            assert torch.allclose(value, computed[key], rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(value, start[key]), key
    for mine, other in zip(results["kept"][0].rows, results["computed"][0].rows, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert mine.val_loss == pytest.approx(other.val_loss, rel=1e-5)
        assert (mine.train_accuracy, mine.val_accuracy) == (other.train_accuracy, other.val_accuracy)
    pictures = [(tmp_path / name / "train_batch.png").read_bytes() for name in results]
    assert pictures[0] == pictures[1]
    assert results["kept"][0].rows[-1].train_loss < results["kept"][0].rows[0].train_loss


@pytest.mark.parametrize("sampling", ["balanced", "square_root"])
def test_kept_features_come_as_their_pictures_would_where_rare_classes_come_more_often(sampling, painted, body, tmp_path):
    data = tmp_path / "painted"
    shutil.copytree(painted, data)
    for path in sorted((data / "train" / "green").iterdir())[8:]:
        path.unlink()
    rows = {
        kept: run(
            data,
            body,
            tmp_path / str(kept),
            recipe=replace(HEAD, sampling=sampling, finetune=Finetune(head_only=True, cache_features=kept)),
        ).rows
        for kept in (True, False)
    }
    for mine, other in zip(rows[True], rows[False], strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert mine.train_accuracy == other.train_accuracy


class StopAt(Reporter):
    """Sends Ctrl-C after a step."""

    def __init__(self, epoch, step):
        self.when = epoch, step

    def stepped(self, epoch, step, *_):
        if (epoch, step) == self.when:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("finetune", [Finetune(head_only=True), Finetune(freeze_epochs=2)], ids=["head", "then all"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(finetune, painted, body, tmp_path):
    recipe = replace(HEAD, finetune=finetune, lr=0.01)
    run(painted, body, tmp_path / "whole", recipe=recipe)
    with pytest.raises(StoppedError):
        run(painted, body, tmp_path / "stopped", recipe=recipe, reporter=StopAt(2, 3))
    resume(tmp_path / "stopped", pace=Pace(workers=0))
    whole, gone_on = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], gone_on[key]) for key in whole)
    moved = not torch.equal(whole["stages.conv1.conv.weight"], load_file(body / "model.safetensors")["stages.conv1.conv.weight"])
    assert moved == (not finetune.head_only)


def test_a_run_in_float16_goes_on_with_the_scale_that_it_had(painted, body, tmp_path, monkeypatch):
    """It begins so high that steps are passed over before the stop; from there again, more would be."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**24))
    recipe, passed, real = replace(HEAD, precision="float16"), [], LossScale.note
    monkeypatch.setattr(LossScale, "note", lambda scale, is_finite: passed.append(not is_finite) or real(scale, is_finite))
    run(painted, body, tmp_path / "whole", recipe=recipe)
    assert any(passed[:11])
    assert not all(passed[:11])
    with pytest.raises(StoppedError):
        run(painted, body, tmp_path / "stopped", recipe=recipe, reporter=StopAt(2, 3))
    resume(tmp_path / "stopped", pace=Pace(workers=0))
    assert passed == 2 * passed[: len(passed) // 2]
    whole, gone_on = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], gone_on[key]) for key in whole)


def test_a_stop_is_heard_while_features_are_computed(painted, body, tmp_path):
    class AtOnce(Reporter):
        def started(self, start):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(StoppedError, match="stopped at epoch 1, while features were computed"):
        run(painted, body, tmp_path / "run", reporter=AtOnce())
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == HEAD.epochs


@pytest.mark.parametrize(
    "changes",
    [
        ["augment.area=[0.5,1.0]"],
        ["mixup=0.2"],
        ["cutmix=1.0"],
        ["progressive=[[0.5,0.6]]"],
        ["finetune.cache_features=false"],
        ["finetune.head_only=false"],
    ],
)
def test_features_are_kept_only_where_they_are_the_same_in_every_epoch(changes):
    assert keeps_features(HEAD, SMALL)
    assert not keeps_features(change(HEAD, changes), SMALL)
    assert not keeps_features(HEAD, V3)  # whose auxiliary head reads within the body


def test_features_that_memory_cannot_hold_are_refused_with_what_to_do(painted, body, tmp_path, monkeypatch):
    monkeypatch.setattr("inceptions.training.frozen.available_memory", lambda: 10_000)
    with pytest.raises(UserError, match=r"features of 0\.0 GiB don't fit .*; train with finetune\.cache_features=false"):
        run(painted, body, tmp_path / "run")


def test_a_run_says_beforehand_how_often_the_body_is_computed(painted, body):
    varied = replace(HEAD, augment=FINETUNE.augment)
    for recipe, said in ((HEAD, "makes of them is computed once"), (varied, "anew in every epoch; with augment=none it does once")):
        assert any(note.endswith(said) for note in setup_of(painted, body, recipe).notes)


def test_pictures_that_nothing_varies_are_prepared_as_in_evaluation(painted, body, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr("inceptions.training.loop.save_batch_picture", lambda batch, path: found.append(batch))
    recipe = replace(HEAD, finetune=Finetune(head_only=True, cache_features=False), epochs=1)
    setup = setup_of(painted, body, recipe)
    setup = replace(setup, preprocess=replace(setup.preprocess, resize="shorter", resize_size=32))
    fit(setup, tmp_path / "run", pace=Pace(workers=0))
    samples = setup.splits.train
    for pixels, index in zip(found[0].pixels, found[0].indices.tolist(), strict=True):
        with Image.open(samples[index].path) as image:
            expected = setup.preprocess.pixels_of(setup.preprocess.crop(image.convert("RGB")))
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)


def test_old_runs_are_read_without_the_new_fields():
    values = RECIPES["finetune"].to_dict()
    del values["finetune"]["cache_features"], values["compile"]
    assert recipe_from_dict(values) == RECIPES["finetune"]


@pytest.mark.exhaustive  # two processes take twelve seconds to start
def test_two_processes_train_the_head_of_one(body, tmp_path):
    """17 validation images, in batches of 8: the first process has two of them and the second has one."""
    for name, each in (("train", 8), ("val", 6), ("test", 2)):
        paint(tmp_path / "pictures" / name, each=each, seed=each)
    next((tmp_path / "pictures" / "val" / "blue").iterdir()).unlink()
    settings = ("--recipe", "head", "--weights", body, "--workers", "0", "--device", "cpu", "--precision", "float32", "--batch-size", "4")
    settings = (*settings, "--epochs", "2", "--lr", "0.1", "--set", "drop_rate=0")
    for name, processes in (("one", 1), ("two", 2)):
        finish(start("inceptions", "train", tmp_path / "pictures", "--output", tmp_path / name, *settings, processes=processes))
    one, two = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[key], two[key], rtol=1e-4, atol=1e-5) for key in one)  # float32 sums in halves, over twelve steps
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines()[-1].split(",")[1:5] for name in ("one", "two")]
    assert [float(value) for value in rows[0]] == pytest.approx([float(value) for value in rows[1]], rel=1e-4)
