"""What channels answer to, dreams, and the checks of maps, on small networks."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data.preprocess import Preprocess
from inceptions.errors import UserError
from inceptions.explain.attribution import attribute
from inceptions.explain.checks import area, centre_map, curves, interval, made_random, rank_correlation, to_cells
from inceptions.explain.dream import deep_dream
from inceptions.explain.features import Channel, count_channels, spread_channels, visualize_channels
from inceptions.networks import reshape
from inceptions.networks.drawing.page import draw_answers
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network
from inceptions.networks.spec import NetworkError
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel, load_model
from tests.explain.models import SIDE, make_light_meter

LIGHT, GREY = "light", torch.zeros(1, 3, 1, 1)


def answer(model, picture: Image.Image, channel: int) -> float:
    pixels = torch.from_numpy(model.card.preprocess(picture))[None]
    with torch.no_grad():
        return float(model.module.stages(pixels)[0, channel].mean())


def test_channels_of_light_and_dark_are_painted_light_and_dark():
    model = make_light_meter()
    bright, dark = visualize_channels(model, LIGHT, [Channel(None, 0), Channel(None, 1)], steps=20)
    assert (bright.mode, bright.size) == ("RGB", (2 * SIDE, 2 * SIDE))
    assert np.asarray(bright).mean() > 127.5 > np.asarray(dark).mean()
    assert answer(model, bright, 0) > 1.3 * answer(model, bright, 1)
    assert answer(model, dark, 1) > 1.3 * answer(model, dark, 0)


def test_the_same_seed_paints_the_same(tiny):
    model, channels = load_model(tiny), [Channel("conv1x1", 0), Channel("conv3x3", 1)]
    first, again, other = (visualize_channels(model, "2a", channels, steps=2, seed=seed, side_px=28) for seed in (0, 0, 1))
    assert [p.tobytes() for p in first] == [p.tobytes() for p in again]
    assert first[0].tobytes() != other[0].tobytes()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())


def test_grey_networks_are_painted_in_grey():
    (picture,) = visualize_channels(make_light_meter(channels=1), LIGHT, [Channel(None, 0)], steps=2)
    pixels = np.asarray(picture)
    assert (pixels == pixels[..., :1]).all()


def test_channels_are_spread_over_a_branch():
    assert spread_channels(176, 4) == [0, 44, 88, 132]
    assert spread_channels(3, 8) == [0, 1, 2]
    assert count_channels(make_light_meter(), LIGHT, None) == 2


def test_what_cannot_be_painted_is_told():
    model = make_light_meter()
    with pytest.raises(UserError, match="stage 'light' has no channel 2; it has 0 to 1"):
        visualize_channels(model, LIGHT, [Channel(None, 2)])
    with pytest.raises(NetworkError, match="stages are light"):
        visualize_channels(model, "5b", [Channel(None, 0)])
    with pytest.raises(UserError, match="reads 4 channels"):
        visualize_channels(make_light_meter(channels=4), LIGHT, [Channel(None, 0)])


@pytest.mark.parametrize(
    ("name", "stage", "branches"), [("inception_v3", "5b", 4), ("inception_resnet_v2", "block35", 3), ("xception", "block2", 1)]
)
def test_pictures_hang_in_the_drawing_of_the_module(name, stage, branches):
    """Of a stage without branches over all of it; of a block that repeats once."""
    names = ["conv1x1", "conv5x5" if branches == 4 else "conv3x3", "double3x3", "pool"][:branches] if branches > 1 else [""]
    gallery = {branch: [(f"data:image/webp;base64,{branch}{place}", f"channel {place}") for place in range(3)] for branch in names}
    root = ET.fromstring(draw_answers(get_network(name), stage, gallery, note="Pictures."))
    images = root.findall(".//{*}image")
    assert sorted(image.attrib["href"] for image in images) == sorted(address for each in gallery.values() for address, _ in each)
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    corners = [tuple(float(image.attrib[side]) for side in ("x", "y", "width")) for image in images]
    assert all(0 <= x <= width - side and 0 <= y <= height - side for x, y, side in corners)
    assert len({(x, y) for x, y, _ in corners}) == len(images)


def test_dream_adds_what_a_stage_answers_to():
    model = make_light_meter()
    photo = Image.effect_noise((40, 24), 80).convert("RGB")
    dreamt = deep_dream(model, photo, LIGHT, octaves=2, steps=5)
    assert dreamt.size == photo.size
    assert answer(model, dreamt, 0) + answer(model, dreamt, 1) > 1.1 * (answer(model, photo, 0) + answer(model, photo, 1))
    assert dreamt.tobytes() == deep_dream(model, photo, LIGHT, octaves=2, steps=5).tobytes()


@pytest.mark.parametrize(("size", "becomes"), [((1, 1), (16, 16)), ((2000, 1000), (768, 384)), ((30, 90), (30, 90))])
def test_dreams_are_of_a_size_that_the_network_takes(size, becomes):
    assert deep_dream(make_light_meter(), Image.new("RGB", size, "grey"), LIGHT, octaves=1, steps=1).size == becomes


def test_a_photo_of_which_no_size_fits_is_told():
    network = reshape.scale_width(get_network("inception_v3"), 0.125)
    model = LoadedModel(create_model(network).eval(), ModelCard(network, Preprocess(299), ()))
    with pytest.raises(UserError, match=r"a photo of 2000x1 pixels, at 768 on the longer side: .* can't take images of 1x768 pixels"):
        deep_dream(model, Image.new("RGB", (2000, 1)), "2a")


def test_cells_that_decide_go_first_and_come_first():
    """Deletion with the true map is below, insertion above that with the map upside down; and random lies between."""
    model = make_light_meter()
    pixels = -torch.ones(1, 3, SIDE, SIDE)
    pixels[..., :8, :8] = 1
    true = to_cells((pixels[0, 0] > 0).numpy(), 4)
    found = [[area(curve) for curve in curves(model.module, pixels, heat, 0, grey=GREY, steps=8)] for heat in (true, -true)]
    assert found[0][0] < found[1][0]
    assert found[0][1] > found[1][1]
    deletion, insertion = curves(model.module, pixels, true, 0, grey=GREY, steps=16)
    whole = float(model.module(pixels).detach().softmax(1)[0, 0])
    assert (deletion[0], insertion[-1]) == pytest.approx((whole, whole))
    assert deletion[-1] == pytest.approx(0.5)  # all is grey, which is neither bright nor dark


def test_cells_are_means_and_the_middle_is_nearest_to_itself():
    assert to_cells(np.arange(16).reshape(4, 4), 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]
    centre = centre_map(5)
    assert centre.argmax() == 12
    assert centre[0, 0] == centre.min()


def test_interval_of_a_mean_is_the_bootstraps():
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)  # the normal's, which many values come to


def test_rank_correlation_is_spearmans():
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 8, 8))  # with ties
    assert rank_correlation(first, second) == pytest.approx(scipy_stats.spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, first**3) == pytest.approx(1)
    assert rank_correlation(first, np.zeros((8, 8))) == 0


def test_networks_are_made_random_from_the_top_and_the_trained_one_stays(tiny):
    model = load_model(tiny)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    stages = [stage.name for stage in model.card.network.stages]
    names = []
    for name, module in made_random(model.module):
        names.append(name)
        changed = {
            re.sub(r"^stages\.([^.]+).*", r"\1", key) for key, value in module.state_dict().items() if not torch.equal(value, before[key])
        }
        assert {part.partition(".")[0] for part in changed} == set(names)
    assert names == ["classifier", *reversed(stages)]
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


def test_map_of_a_random_network_is_another_one(tiny):
    model = load_model(tiny)
    pixels = torch.from_numpy(model.card.preprocess(Image.effect_noise((16, 16), 60).convert("RGB")))[None]
    *_, (_, random) = made_random(model.module)
    maps = [attribute(module, pixels, 0, grey=GREY, method="integrated-gradients") for module in (model.module, random)]
    assert abs(rank_correlation(*maps)) < 0.5
