"""Looks along the gradient and across layers: against closed forms, and without a trace in the run that is looked at."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.studies import run, smoothness
from inceptions.studies.landscapes import judge_smoothness, summarize_looks
from inceptions.studies.noise import Noise
from inceptions.studies.pages import as_markdown, write_pages
from inceptions.studies.run import Budget, run_study
from inceptions.studies.smoothness import Along, Shift, StepLook, followed_stages, look_along
from inceptions.studies.study import Arm, BatchNoise, Claim, Study
from inceptions.studies.surface import as_weights
from inceptions.studies.verdict import RunResult
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Recipe
from inceptions.weights.folder import load_model

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.with_image_size(reshape.with_drop_rate(reshape.scale_width(get_network("inception_small"), 0.125), 0.3), 16)
RECIPE = Recipe(batch_size=16, precision="float32", label_smoothing=0.0, lr=0.05)
ARMS = (
    Arm("without", reshape.without_batch_norm(TINY), RECIPE),
    Arm("with", TINY, RECIPE),
    Arm("with, noise", TINY, RECIPE, BatchNoise()),
)
STUDY = Study("s", "t", "h", "1805.11604", ARMS, (Claim("with", "without"), Claim("with, noise", "with")), "smoothness")


def go(folder, pictures, *, study=STUDY, epochs=1, **options):
    splits, budget = load_splits(pictures), Budget(seeds=1, epochs=epochs, images=30)
    return run_study(study, splits, str(pictures), folder, budget=budget, device="cpu", workers=0, **options)


def test_on_a_quadratic_loss_smoothness_is_that_of_its_curvature_along_the_gradient():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(6, 6))
    curvature, start, lengths = root @ root.T, rng.normal(size=6), (0.1, 0.4)
    matrix = torch.tensor(curvature)

    def evaluate(weights):
        x = torch.cat(list(weights))
        return float(x @ matrix @ x) / 2, list((matrix @ x).split([2, 4]))

    found = look_along(evaluate, torch.tensor(start).split([2, 4]), lengths)
    gradient = curvature @ start
    beyond = [start - length * gradient for length in lengths]
    assert found.smoothness == pytest.approx(np.linalg.norm(curvature @ gradient) / np.linalg.norm(gradient))
    assert found.losses == pytest.approx([x @ curvature @ x / 2 for x in beyond])
    assert found.changes == pytest.approx([length * np.linalg.norm(curvature @ gradient) for length in lengths])
    values, vectors = np.linalg.eigh(curvature)
    along_axis = look_along(evaluate, torch.tensor(vectors[:, -1]).split([2, 4]), lengths)
    assert along_axis.smoothness == pytest.approx(values[-1])


def test_a_loss_that_is_no_number_is_rough_without_bounds():
    found = look_along(lambda weights: (1.0 if weights[0] > 0 else math.nan, [torch.ones(1)]), [torch.ones(1)], (0.5, 2.0))
    assert found.losses == (1.0, math.inf)


class Keeper(smoothness.SmoothnessLook):
    """Keeps the batch of the first step, and the weights before and after it."""

    def before(self, learner, batch):
        super().before(learner, batch)
        if not learner.step:
            self.module, self.batch, self.was = learner.module, batch, as_weights(learner.module)

    def after(self, learner, batch):
        super().after(learner, batch)
        if learner.step == 1:
            self.now = as_weights(learner.module)


def test_a_network_is_looked_at_as_a_plain_implementation_does(module_pictures, tmp_path):
    """Without dropout and noise, the loss and its gradient are functions that torch writes down in three lines."""
    setup = prepare(reshape.with_drop_rate(TINY, 0.0), load_splits(module_pictures), replace(RECIPE, epochs=1), source="p", device="cpu")
    file = tmp_path / "looks.json"
    keeper = Keeper(setup, None, file, known_by="it")
    fit(setup, tmp_path / "run", pace=Pace(workers=0), look=keeper)
    look, (was, now) = smoothness.read_looks(file, known_by="it")[0], (keeper.was, keeper.now)
    images, labels = keeper.batch.images(), keeper.batch.labels

    def of(weights):
        leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        loss = functional.cross_entropy(functional_call(keeper.module.train(), leaves, images), labels)
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)), loss.detach()

    def flat(gradient, prefix=""):
        return np.concatenate([value.flatten().double().numpy() for name, value in gradient.items() if name.startswith(prefix)])

    gradient, loss = of(was)
    assert look.along.loss == pytest.approx(float(loss), rel=1e-5)
    rough = []
    for length, expected, change in zip(smoothness.LENGTHS, look.along.losses, look.along.changes, strict=True):
        there, value = of({name: weight - length * setup.peak_lr * gradient[name] for name, weight in was.items()})
        distance = np.linalg.norm(flat(there) - flat(gradient))
        assert (expected, change) == pytest.approx((float(value), distance), rel=1e-3)  # of float32, summed in another order
        rough.append(distance / (length * setup.peak_lr * np.linalg.norm(flat(gradient))))
    assert look.along.smoothness == pytest.approx(max(rough), rel=1e-3)
    last, names = look.shifts[-1], [name for name, _ in keeper.module.stages.named_children()]
    below = tuple(f"stages.{name}." for name in names[: names.index(last.stage)])
    moved, _ = of({name: (now if name.startswith(below) else was)[name] for name in was})
    one, other = (flat(each, f"stages.{last.stage}.") for each in (gradient, moved))
    assert last.change == pytest.approx(np.linalg.norm(other - one), rel=1e-2)
    assert last.relative == pytest.approx(np.linalg.norm(other - one) / np.linalg.norm(one), rel=1e-2)
    assert last.cosine == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), rel=1e-4)


def test_drift_is_the_distance_of_means_and_deviations_in_deviations():
    was = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)  # means, deviations
    pair = [(torch.ones(2), torch.tensor([1.0, -1.0]))]
    found = smoothness._shift("a", pair, was, was + torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert found == Shift("a", 0.0, 2.0, pytest.approx(math.sqrt(2)), 1.0)


def test_layers_that_are_followed_begin_after_the_first_and_end_with_the_last():
    network = reshape.scale_width(get_network("googlenet"), 0.125)
    found = followed_stages(Classifier(network))
    assert len(found) == smoothness.LAYERS
    assert found[0] != network.stages[0].name
    assert found[-1] == "5b"


def test_noise_is_of_the_step_and_leaves_evaluation_alone():
    layer = torch.nn.Sequential(torch.nn.BatchNorm2d(40))
    noise, images = Noise(BatchNoise(), layer, seed=1), torch.randn(300, 40, 3, 3)
    scales, shifts = noise.draw(5, 0, 300, 40)
    first = layer(images)
    assert torch.equal(first, layer(images))
    noise.set_step(1)
    assert not torch.allclose(first, layer(images), atol=0.01)
    plain = torch.nn.BatchNorm2d(40).eval()
    plain.load_state_dict(layer[0].state_dict())
    assert torch.equal(layer.eval()(images), plain(images))
    means = shifts.mean(0)
    assert means.abs().max() < 0.5 + 0.02  # of 300 that lie within 0.1 of it
    assert means.std() == pytest.approx(1 / math.sqrt(12), rel=0.3)  # of a uniform distribution one wide, by 40 of it
    assert (shifts - means).abs().max() < 0.1 + 0.02
    assert 1 / 1.125 - 0.02 < scales.mean(0).min() < scales.mean(0).max() < 1.25 / 1.125 + 0.02
    assert (scales - scales.mean(0)).std() == pytest.approx(0.1 / 1.125, rel=0.05)


@pytest.fixture(scope="module")
def whole(module_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoothness")
    return go(folder, module_pictures, epochs=2), folder


def test_a_run_that_is_looked_at_ends_bit_for_bit_as_one_that_is_not(whole, module_pictures, tmp_path):
    plain = go(tmp_path / "alone", module_pictures, study=replace(STUDY, arms=ARMS[:2], claims=(), measure="accuracy"), epochs=2)
    for arm in ("without", "with"):
        one, other = (load_model(folder / arm / "seed-0" / "best").module.state_dict() for folder in (whole[1], tmp_path / "alone"))
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert [run.curve for run in plain.runs] == [run.curve for run in whole[0].runs[:2]]


def test_a_run_that_is_looked_at_serves_one_that_is_not_unless_it_has_noise(whole, module_pictures, tmp_path, monkeypatch):
    looked = shutil.copytree(whole[1], tmp_path / "looked-at")
    monkeypatch.setattr(run, "fit", None)
    plain = replace(STUDY, arms=ARMS[:2], claims=(), measure="accuracy")
    result = go(tmp_path / "plain", module_pictures, study=plain, epochs=2)
    assert [replace(each, known_by="") for each in result.runs] == [replace(each, known_by="") for each in whole[0].runs[:2]]
    assert (
        go(tmp_path / "anew", module_pictures, study=replace(STUDY, arms=ARMS[:1], claims=()), epochs=2).smoothness
        == whole[0].smoothness[:1]
    )
    shutil.rmtree(looked / "with")  # with noise remains, which is alike in all else
    with pytest.raises(TypeError, match="not callable"):  # it would train
        go(tmp_path / "plain", module_pictures, study=plain, epochs=2)


def test_noise_makes_inputs_drift_and_is_another_run(whole):
    plain, noisy = whole[0].smoothness[1:]
    assert noisy.drift > 2 * plain.drift
    assert noisy.training.curve != plain.training.curve
    assert [look.step for look in noisy.looks] == [0, 1, 2, 3]


class Dies(Reporter):
    """Dies in the second epoch, after its first step."""

    def stepped(self, epoch, *_):
        if epoch == 2:
            raise MemoryError


def test_a_killed_study_goes_on_and_looks_at_no_step_twice(whole, module_pictures, tmp_path, monkeypatch):
    with pytest.raises(MemoryError):
        go(tmp_path / "alone", module_pictures, study=replace(STUDY, arms=ARMS[2:], claims=()), epochs=2, reporter=Dies())
    looked, look = [], smoothness.look_along
    monkeypatch.setattr(smoothness, "look_along", lambda *given: looked.append(1) or look(*given))
    (found,) = go(tmp_path / "alone", module_pictures, study=replace(STUDY, arms=ARMS[2:], claims=()), epochs=2).smoothness
    assert len(looked) == 1  # of four steps, three were seen
    assert replace(found, training=None) == replace(whole[0].smoothness[2], training=None)
    assert go(tmp_path / "alone", module_pictures, study=replace(STUDY, arms=ARMS[2:], claims=()), epochs=2).smoothness == (found,)


def test_looks_of_another_run_in_the_same_place_are_not_taken(whole, tmp_path):
    file = tmp_path / "looks.json"
    file.write_bytes((whole[1] / "with" / "seed-0.looks.json").read_bytes())
    assert smoothness.read_looks(file, known_by="another") == ()
    assert len(smoothness.read_looks(file, known_by=json.loads(file.read_text())["run"])) == 4


def test_pages_of_smoothness_have_table_verdicts_bands_and_every_look(whole, tmp_path):
    result = whole[0]
    write_pages(result, tmp_path, command="c", data="d")
    text, values = as_markdown(result, command="c", data="d"), json.loads((tmp_path / "study.json").read_text())
    assert "| Median of a run | without | with | with, noise |\n|---|---:|---:|---:|\n| Loss varies by | " in text
    assert text.count("\n- **") == 7
    assert "one seed, no interval" in text
    assert [len(run["looks"]["smoothness"]) for run in values["smoothness"]] == [4, 4, 4]
    assert (tmp_path / "study.svg").read_text().count('id="axes_') == 6


def looked(arm, seed, *, scale=1.0, shift=1.0, drift=1.0, curve=(0.4, 0.8)):
    along = Along(1.0, 1.0, (1.0, 1.0 + scale), (scale, scale / 2), scale)
    run = RunResult(arm, seed, 0.5, (0.1, 0.2), 10, 1.0)
    return summarize_looks(run, [StepLook(0, along, (Shift("a", 0.9, shift, shift, drift),))], curve)


def test_verdicts_are_ratios_of_medians_seed_by_seed():
    found = []
    for seed, factor in enumerate((0.9, 1.0, 1.1)):
        found += [
            looked("without", seed, scale=factor),
            looked("with", seed, scale=factor / 4, shift=0.95),
            looked("with, noise", seed, drift=8 * factor, curve=(0.38, 0.78)),
        ]
    varies, changes, beta, shift, moved, drift, steps = judge_smoothness(STUDY, found)
    for verdict in (varies, changes, beta):
        assert verdict.difference.value == pytest.approx(math.log(1 / 4))
        assert verdict.word == "shown"
    assert "0.25 times as much as without (0.25 to 0.25)" in varies.said
    assert shift.word == "shown"  # 0.95 is no less, within the margin
    assert (moved.word, moved.difference.value) == ("shown", 0.0)  # what layers read drifts alike: no less
    assert (drift.word, math.exp(drift.difference.value)) == ("shown", pytest.approx(8, rel=0.01))
    assert steps.word == "shown"
    assert math.exp(steps.difference.value) == pytest.approx(20 / (10 + 10 * 0.38 / 0.4))  # both on lines between epochs


def test_a_loss_without_bounds_shows_nothing():
    found = [looked(arm, 0, scale=math.inf if arm == "without" else 1.0) for arm in ("without", "with", "with, noise")]
    varies = judge_smoothness(STUDY, found)[0]
    assert varies.word == "not shown at this size"
    assert varies.said.endswith("varies x times as much as without: x is no number with 1 of 1 seeds")
