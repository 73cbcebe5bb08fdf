"""Maps of networks whose reasons are known, and of the whole family."""

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.errors import ImageError, UserError
from inceptions.explain.attribution import METHODS, attribute, explain_image, grey_pixel
from inceptions.explain.layers import find_branch, find_branches, find_stage, last_grid
from inceptions.networks import reshape
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import NETWORKS, get_network
from inceptions.networks.spec import NetworkError
from inceptions.networks.trace import smallest_image
from inceptions.weights.folder import load_model
from tests.explain.models import SIDE, make_light_meter
from tests.tiny import save_tiny


def lamp(quadrant: tuple[int, int], size=(64, 64)) -> Image.Image:
    """Return a black picture with one white quadrant, (row, column)."""
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    rows, columns = (slice(place * side // 2, (place + 1) * side // 2) for place, side in zip(quadrant, pixels.shape, strict=False))
    pixels[rows, columns] = 255
    return Image.fromarray(pixels)


def share_in(heat: np.ndarray, quadrant: tuple[int, int]) -> float:
    """Return which part of the heat lies in a quadrant."""
    rows, columns = (slice(place * side // 2, (place + 1) * side // 2) for place, side in zip(quadrant, heat.shape, strict=True))
    return float(heat[rows, columns].sum() / heat.sum())


@pytest.mark.parametrize("quadrant", [(0, 0), (1, 0)])
@pytest.mark.parametrize("method", METHODS)
def test_heat_lies_in_the_quadrant_that_decides(method, quadrant):
    found = explain_image(make_light_meter(), lamp(quadrant), method=method, target="bright")
    assert share_in(found.heat, quadrant) > 0.85  # windows and the way from cell to pixel reach over the border
    assert found.heat.min() >= 0
    assert found.heat.max() <= 1
    assert (found.method, found.target) == (method, "bright")


def test_another_class_has_another_reason():
    model = make_light_meter()
    found = explain_image(model, lamp((0, 1)))
    assert found.target == "dark"  # of which there is three times as much
    assert share_in(found.heat, (0, 1)) < 0.05
    assert found.classes == ("dark", "bright")
    assert found.probability == found.probabilities[0] > found.probabilities[1]


def test_heat_of_a_photo_is_where_its_crop_was():
    """The middle square of a wide photo is read: a lamp at the right of it is hot, one outside it isn't seen."""
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, 70:80] = 255  # in the crop, 40 to 80
    pixels[:, 100:] = 255
    heat = explain_image(make_light_meter(), Image.fromarray(pixels), target="bright").heat
    assert heat[:, 70:80].mean() > 0.8
    assert heat[:, 82:].max() == 0


def test_picture_stands_upright_as_its_exif_says(tmp_path):
    image = lamp((0, 0), (80, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown, it is turned by a quarter to the right
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = explain_image(make_light_meter(resize="squash"), tmp_path / "a.jpg", target="bright")
    assert found.image.size == (40, 80)
    assert share_in(found.heat, (0, 1)) > 0.85


def test_auxiliary_heads_are_left_aside():
    model = make_light_meter(aux=True)

    def forbid(*_):
        raise AssertionError("an auxiliary head ran")

    model.module.get_submodule("aux").light.register_forward_pre_hook(forbid)
    for method in METHODS:
        assert explain_image(model, lamp((0, 0)), method=method, target="bright").heat.max() > 0


def test_grey_networks_explain_colour_pictures():
    image = Image.new("RGB", (40, 40), (255, 0, 0))
    found = explain_image(make_light_meter(channels=1), image)
    assert found.image.getpixel((0, 0)) == (255, 0, 0)
    assert found.target == "dark"
    assert np.array_equal(explain_image(make_light_meter(channels=1), np.asarray(image)).heat, found.heat)


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_grey_says_nothing_whatever_the_scale_of_the_pixels(method):
    """A network that reads [0, 1] has black for 0; what stands for nothing is grey there too."""
    model = make_light_meter(mean=(0.0,) * 3, std=(255.0,) * 3)
    grey = grey_pixel(model.card.preprocess)
    assert grey.flatten().tolist() == [0.5] * 3
    nothing, bright = (
        attribute(model.module, torch.full((1, 3, SIDE, SIDE), value), 0, grey=grey, method=method).max() for value in (0.5, 0.9)
    )
    assert nothing < 1e-6 < bright


def test_seed_decides_and_torch_draws_on_as_if_nothing_had_been(tiny):
    model = load_model(tiny)
    image = Image.effect_noise((40, 40), 60)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (explain_image(model, image, method="smoothgrad", seed=seed).seen for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_module_is_left_as_it_was(tiny):
    model = load_model(tiny)
    model.module.train()
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    with torch.inference_mode():  # as who serves may be in
        explain_image(model, Image.effect_noise((40, 40), 60))
    assert model.module.training
    model.module.eval()
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "brigth"}, "'brigth' is not one of the 2 classes of the model; did you mean bright"),
        ({"target": "zebra"}, "they are bright, dark"),
        ({"method": "magic"}, "there are gradcam, integrated-gradients, smoothgrad, occlusion"),
        ({"method": "occlusion", "stage": "light"}, "the stage is Grad-CAM's"),
    ],
)
def test_what_is_not_there_is_told(settings, message):
    with pytest.raises(UserError, match=message):
        explain_image(make_light_meter(), lamp((0, 0)), **settings)


def test_stage_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(NetworkError, match="has no stage '9z'; stages are light"):
        explain_image(make_light_meter(), lamp((0, 0)), stage="9z")


def test_models_that_cannot_be_explained_say_why(tmp_path):
    with pytest.raises(UserError, match="reads 4 channels"):
        explain_image(make_light_meter(channels=4), lamp((0, 0)))
    with pytest.raises(UserError, match="has no classes to explain"):
        explain_image(load_model(save_tiny(tmp_path / "m", classes=())), lamp((0, 0)))
    broken = make_light_meter()
    with torch.no_grad():
        broken.module.get_parameter("classifier.weight").fill_(float("nan"))
    with pytest.raises(UserError, match="gives nan for this picture"):
        explain_image(broken, lamp((0, 0)))
    with pytest.raises(ImageError, match="no such file"):
        explain_image(make_light_meter(), tmp_path / "nothing.png")


def test_missing_captum_is_told_with_the_extra(monkeypatch):
    monkeypatch.setattr("inceptions.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs captum, not installed here; pip install 'inceptions\[explain\]'"):
        explain_image(make_light_meter(), lamp((0, 0)))


def test_last_grid_is_the_last_stage_of_more_than_one_cell():
    assert last_grid(get_network("inception_v3"), 299) == "7c"
    assert last_grid(get_network("inception_v3"), 75) == "6e"  # on 1x1 there is nowhere to look
    assert last_grid(make_light_meter().card.network, SIDE) == "light"


def test_branches_have_the_names_of_the_table():
    module = create_model(reshape.scale_width(get_network("inception_v3"), 0.125))
    assert list(find_branches(module, "5b")) == ["conv1x1", "conv5x5", "double3x3", "pool"]
    assert find_branches(module, "1a") == {}
    assert find_branch(module, "5b", None) is find_stage(module, "5b")
    with pytest.raises(UserError, match="has no branch 'conv9x9'; branches are conv1x1, conv5x5, double3x3, pool"):
        find_branch(module, "5b", "conv9x9")
    with pytest.raises(UserError, match="it has no branches"):
        find_branch(module, "1a", "conv1x1")


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_can_be_explained_whatever_it_does_in_place(name):
    torch.manual_seed(0)
    network = reshape.scale_width(get_network(name), 0.125)
    network = network if network.classes else reshape.with_classes(network, 5)
    module = create_model(network).eval()
    pixels = torch.randn(1, network.in_channels, *2 * (smallest_image(network) + 32,))
    for method in ("gradcam", "smoothgrad"):
        heat = attribute(module, pixels, 1, grey=torch.zeros(1, network.in_channels, 1, 1), method=method)
        assert heat.shape == tuple(pixels.shape[2:])
        assert np.isfinite(heat).all()
