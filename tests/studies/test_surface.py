"""Planes through weights, against numpy by hand; and a survey that is killed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.studies import run, surface
from inceptions.studies.landscapes import judge_surfaces, summarize_surface
from inceptions.studies.pages import as_markdown, write_pages
from inceptions.studies.run import Budget, run_study
from inceptions.studies.study import Arm, Claim, Study
from inceptions.studies.surface import Ground, Plane, Surface, measure_surface, plane_round, plane_through, random_direction
from inceptions.training.learner import Learner
from inceptions.training.loop import prepare
from inceptions.training.processes import Processes
from inceptions.training.recipe import Adam, Recipe

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.with_image_size(reshape.with_drop_rate(reshape.scale_width(get_network("inception_small"), 0.125), 0.3), 16)
RECIPE = Recipe(batch_size=16, precision="float32", lr=0.05)
KINDS = {"with": TINY, "without": reshape.without_batch_norm(TINY)}
RECIPES = {"SGD": RECIPE, "Adam": replace(RECIPE, optimizer=Adam(), lr=0.001)}
ARMS = tuple(Arm(f"{kind}, {name}", network, recipe) for kind, network in KINDS.items() for name, recipe in RECIPES.items())
STUDY = Study("s", "t", "h", "1612.04010", ARMS, (Claim("with, SGD", "without, SGD"),), "surface")


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"conv": (5, 3, 2, 2), "classifier": (4, 6), "bias": (4,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_each_filter_of_a_random_direction_is_as_long_as_the_filter():
    weights = drawn(0)
    found = random_direction(weights, torch.Generator().manual_seed(7))
    numbers = torch.Generator().manual_seed(7)
    for name in ("conv", "classifier"):
        raw, weight = torch.randn(weights[name].shape, generator=numbers).numpy(), weights[name].numpy()
        by_hand = np.stack([d * np.sqrt((w**2).sum() / (d**2).sum()) for d, w in zip(raw, weight, strict=True)])
        np.testing.assert_allclose(found[name].numpy(), by_hand, rtol=1e-5)  # float32
    assert not found["bias"].any()


def test_a_plane_goes_through_start_and_ends_at_right_angles():
    start, first, second = map(drawn, range(3))
    plane = plane_through(start, first, second)
    for name, wanted in (("start", start), ("first", first), ("second", second)):
        there = plane.at(*plane.points[name])
        assert all(torch.allclose(there[key], wanted[key], atol=1e-5) for key in wanted)
    a, b, c = (np.concatenate([value.numpy().ravel() for value in weights.values()]) for weights in (start, first, second))
    x, y = plane.points["second"]
    cosine = (b - a) @ (c - a) / np.linalg.norm(b - a) / np.linalg.norm(c - a)
    assert (x, math.hypot(x, y)) == pytest.approx((cosine * math.hypot(x, y), np.linalg.norm(c - a) / np.linalg.norm(b - a)), rel=1e-5)
    assert plane.xs[0] == pytest.approx(min(0, x) - surface.MARGIN)


def test_through_points_on_a_line_there_is_no_plane():
    start, end = drawn(0), drawn(1)
    assert plane_through(start, start, end) is None
    assert plane_through(start, end, {name: weight + 2 * (end[name] - weight) for name, weight in start.items()}) is None


def softmax_regression(weight, images, labels):
    logits = images.reshape(len(images), -1) @ weight.T
    logits -= logits.max(1, keepdims=True)
    return -np.mean(logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(1)))


@pytest.fixture
def linear():
    """A network of one layer, whose loss numpy knows, on two batches."""
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(10, 1, 2, 3)).astype(np.float32), rng.integers(4, size=10)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(6, 4, bias=False))
    batches = list(zip(torch.from_numpy(images).split(5), torch.from_numpy(labels).split(5), strict=True))
    return Ground(module, batches), (lambda weight: softmax_regression(weight, images, labels))


def test_the_loss_on_a_plane_is_that_of_numpy(linear, tmp_path):
    ground, by_hand = linear
    end = {"2.weight": torch.randn(4, 6, generator=torch.Generator().manual_seed(1))}
    plane = replace(plane_round(end, seed=3), xs=(-1.0, 0.0, 0.5), ys=(0.0, 1.0))
    found = measure_surface(ground, plane, tmp_path / "s.json", arms=("a",), seed=3, classes=4, known_by="it")
    across, up, weight = (part["2.weight"].numpy() for part in (plane.across, plane.up, end))
    expected = [[by_hand(weight + x * across + y * up) for x in plane.xs] for y in plane.ys]
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5)  # float32
    assert found.at_points["end"] == pytest.approx(by_hand(weight), rel=1e-5)
    assert (found.guessing, found.between) == (pytest.approx(math.log(4)), ())


def test_what_is_measured_is_not_measured_again_and_what_is_of_other_models_is(linear, tmp_path, monkeypatch):
    ground, _ = linear
    start, first, second = ({"2.weight": torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))} for seed in range(3))
    plane = replace(plane_through(start, first, second), xs=(0.0, 1.0), ys=(0.0, 0.5, 1.0))
    asked, loss = [], Ground.loss

    def counted(self, weights):
        asked.append(1)
        if len(asked) == 6:
            raise KeyboardInterrupt
        return loss(self, weights)

    monkeypatch.setattr(Ground, "loss", counted)
    given = {"arms": ("a", "b"), "seed": 0, "classes": 4}
    with pytest.raises(KeyboardInterrupt):
        measure_surface(ground, plane, tmp_path / "s.json", **given, known_by="it")
    found = measure_surface(ground, plane, tmp_path / "s.json", **given, known_by="it")
    assert len(asked) == 6 + 2 + 3 + surface.BETWEEN  # two rows were kept, of the last one nothing
    assert measure_surface(ground, plane, tmp_path / "s.json", **given, known_by="it") == found
    assert len(asked) == 6 + 2 + 3 + surface.BETWEEN
    assert found == measure_surface(ground, plane, tmp_path / "new.json", **given, known_by="it")
    measure_surface(ground, plane, tmp_path / "s.json", **given, known_by="another model")
    assert len(asked) == 6 + 2 + 3 + surface.BETWEEN + 2 * (6 + 3 + surface.BETWEEN)


def test_a_loss_that_is_no_number_is_kept_as_infinite(tmp_path):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4, bias=False))
    ground = Ground(module, [(torch.ones(2, 6), torch.tensor([0, 1]))])
    ones = {"1.weight": torch.ones(4, 6)}
    plane = Plane({"1.weight": torch.full((4, 6), math.nan)}, ones, ones, (0.0,), (0.0,), {})
    for _ in range(2):  # measured, and read
        found = measure_surface(ground, plane, tmp_path / "s.json", arms=("a",), seed=0, classes=4, known_by="it")
        assert found.losses == ((math.inf,),)


def test_batch_normalisation_goes_by_the_images_and_not_by_what_was_seen_before():
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1, bias=False), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(12, 2))
    ground = Ground(module, [(torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2)])
    weights = surface.as_weights(module)
    larger = {**weights, "0.weight": 100 * weights["0.weight"]}
    assert ground.loss(larger) == pytest.approx(ground.loss(weights), rel=1e-2)  # but for the epsilon beside the variance


def test_the_start_is_where_runs_begin(module_pictures):
    setup = prepare(TINY, load_splits(module_pictures), RECIPE, source="p", device="cpu")
    chance = torch.get_rng_state()
    found = surface.start_of(setup)
    assert torch.equal(chance, torch.get_rng_state())
    begun = Learner(setup, Processes(), steps_per_epoch=1).module
    assert all(torch.equal(found[name], value) for name, value in begun.named_parameters())


def flat_or_bowl(shape):
    side = tuple(np.linspace(-1, 1, 21).tolist())
    xs, ys = np.meshgrid(side, side)
    losses = tuple(map(tuple, shape(xs, ys).tolist()))
    return Surface(("a", "b"), 0, side, side, {}, losses, {"end": 0.0}, (1.0, 3.0, 2.0), math.log(10))


def test_a_plateau_is_high_and_flat():
    assert summarize_surface(flat_or_bowl(lambda x, y: 2.3 + 0 * x)).plateau == 1
    assert summarize_surface(flat_or_bowl(lambda x, y: 0.1 + 0 * x)).plateau == 0  # flat, and low
    assert summarize_surface(flat_or_bowl(lambda x, y: 3 + x)).plateau == 0  # high, and steep
    half = summarize_surface(flat_or_bowl(lambda x, y: np.where(x < 0, 2.3, 2.3 - 2 * x)))
    assert half.plateau == pytest.approx(10 / 21)  # of its columns; where it bends it is steep
    assert (half.barrier, half.rise) == (1.0, None)


def test_the_rise_round_an_end_is_the_mean_near_it():
    bowl = replace(flat_or_bowl(lambda x, y: 4 * (x**2 + y**2)), between=())
    near = [4 * (x * x + y * y) / 100 for x in range(-5, 6) for y in range(-5, 6) if 0 < x * x + y * y <= 25]
    assert summarize_surface(bowl).rise == pytest.approx(np.mean(near))


def test_verdicts_compare_plateaus_and_rises_seed_by_seed():
    found = []
    for seed, more in enumerate((0.0, 0.01, 0.02)):
        for arm, plateau, rise in (("with, SGD", 0.01 + more, 0.5), ("without, SGD", 0.4, 1.0)):
            through = summarize_surface(flat_or_bowl(lambda x, y: x))
            found += [replace(through, arms=(arm, "x"), seed=seed, plateau=plateau)]
            found += [replace(through, arms=(arm,), seed=seed, plateau=None, barrier=None, rise=rise + 0.01 * seed)]
    plateaus, rises = judge_surfaces(STUDY, found)
    assert (plateaus.word, plateaus.difference.value) == ("shown", pytest.approx(-0.38))
    assert plateaus.said.startswith(
        "with, SGD: 2.0 % of the plane through start and ends is a plateau, without, SGD 40.0 % (-40.5 to -35.5"
    )
    assert rises.word == "shown"


@pytest.fixture(scope="module")
def surveyed(module_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("surfaces")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface, "GRID", 5)  # the rise is taken at half of the reach
        yield go(folder, module_pictures), folder


def go(folder, pictures):
    budget = Budget(seeds=1, epochs=1, images=30)
    return run_study(STUDY, load_splits(pictures), str(pictures), folder, budget=budget, device="cpu", workers=0)


def test_a_study_of_surfaces_goes_on_from_what_is_kept(surveyed, module_pictures, monkeypatch):
    result, folder = surveyed
    names = tuple(arm.name for arm in ARMS)
    assert [each.arms for each in result.surfaces] == [names[:1], names[:2], names[2:3], names[2:]]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(run, "fit", None)
    monkeypatch.setattr(Ground, "loss", None)
    assert go(folder, module_pictures).surfaces == result.surfaces
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_pages_of_surfaces_have_tables_verdicts_and_a_picture_of_each(surveyed, tmp_path):
    result, _ = surveyed
    write_pages(result, tmp_path, command="c", data="d")
    text, values = as_markdown(result, command="c", data="d"), json.loads((tmp_path / "study.json").read_text())
    assert "| Round the end of | Loss rises by, nats |" in text
    assert "| with, SGD and with, Adam |" in text
    assert text.count("\n- **") == 2
    assert [np.shape(each["losses"]) for each in values["surfaces"]] == [(5, 5)] * 4
    assert (tmp_path / "study.svg").read_text().count('id="axes_') == 4 + 4  # a bar of colours for each row of one
