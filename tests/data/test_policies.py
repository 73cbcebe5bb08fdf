import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from inceptions.data import Augment, augment
from inceptions.data.bands import Bands
from inceptions.data.chance import ChanceFrom
from inceptions.data.policies import vary
from inceptions.errors import UserError
from tests.data.test_augment import WHOLE, crops
from tests.data.test_preprocess import photo

POLICIES = {
    "randaugment": lambda: v2.RandAugment(num_ops=3, magnitude=20, num_magnitude_bins=31, fill=128),
    "trivialaugment": lambda: v2.TrivialAugmentWide(num_magnitude_bins=31, fill=128),
}


def varied(image, policy, seed):
    return vary(image, policy, np.random.default_rng(seed), operations=3, magnitude=20)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("policy", POLICIES)
def test_pictures_are_those_of_torchvision_whose_global_chance_is_left_alone(policy, mode):
    image, theirs, changed = photo((40, 40)).convert(mode), POLICIES[policy](), 0
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = [varied(image, policy, seed) for seed in range(40)]
    assert torch.equal(torch.get_rng_state(), before)
    for seed, picture in enumerate(found):
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**63)))
        assert np.array_equal(picture, theirs(image))
        assert (picture.mode, picture.size) == (mode, image.size)
        changed += not np.array_equal(picture, image)
    assert changed > 20


def test_another_thread_has_the_chance_that_it_had():
    drawn = []
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with ChanceFrom(np.random.default_rng(0)):
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(3)))
        thread.start()
        thread.join()
        mine = torch.rand(3)
    assert torch.equal(drawn[0], expected)
    assert not torch.equal(mine, expected)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), expected)


def test_none_gives_the_picture_itself_and_augment_draws_no_more_than_it_did():
    """Old runs stay as they were: four numbers for the crop, one for the interpolation and one for the mirror."""
    rng, image = np.random.default_rng(5), photo((50, 40))
    assert varied(image, "none", 5) is image
    Augment(area=(0.1, 0.2))(image, 24, rng)
    assert rng.random() == np.random.default_rng(5).random(7)[-1]


def test_a_policy_varies_what_was_cropped_and_mirrored_and_colours_what_it_gave(monkeypatch):
    plain, given = Augment(flip=True)(photo((50, 40)), 24, np.random.default_rng(3)), []
    grey = Image.new("RGB", (24, 24), (90, 90, 90))
    monkeypatch.setattr(augment, "vary", lambda image, *_, **__: given.append(np.asarray(image)) or grey)
    monkeypatch.setattr(augment, "distort", lambda image, *_: given.append(image) or image)
    found = Augment(policy="trivialaugment", colour="mild")(photo((50, 40)), 24, np.random.default_rng(3))
    assert np.array_equal(given[0], plain)
    assert given[1] is grey
    assert np.array_equal(found, np.asarray(grey))


@pytest.mark.parametrize("channels", [1, 3])
def test_holes_come_last(channels):
    image = photo((40, 40)).convert("L" if channels == 1 else "RGB")
    found = crops(Augment(**WHOLE, policy="trivialaugment", colour="slim", cutout=100, erasing=1.0), count=60, image=image)
    assert found.shape == (60, 40, 40, channels)
    noise = (found != 128).any(-1).mean((1, 2))
    assert (noise > 0.01).all() and (noise < 0.41).all()  # the hole is the whole picture, and within it what is erased


def test_a_rectangle_is_erased_in_a_share_of_the_pictures():
    found = crops(Augment(**WHOLE, erasing=0.25, flip=False), count=1000, image=Image.new("RGB", (40, 40), "red"))
    erased = (found != (255, 0, 0)).any(-1)
    is_erased = erased.any((1, 2))
    assert 0.2 < is_erased.mean() < 0.3
    rows, columns = erased.any(2).sum(1)[is_erased], erased.any(1).sum(1)[is_erased]
    areas = erased.sum((1, 2))[is_erased] / 1600
    assert np.abs(areas - rows * columns / 1600).max() < 0.005  # all of a rectangle but what noise left red
    assert 0.015 < areas.min() < 0.06 and 0.33 < areas.max() < 0.42
    assert 0.25 < (rows / columns).min() < 0.6 and 2.5 < (rows / columns).max() < 3.8
    assert erased.any((0, 1)).all() and erased.any((0, 2)).all()
    noise = found[erased]
    assert (noise.min(), noise.max()) == (0, 255) and abs(noise.mean() - 127.5) < 2


def test_bands_are_erased_and_no_policy_varies_them():
    bands = Bands([Image.new("L", (40, 40), 7)] * 5)
    assert (Augment(erasing=1.0)(bands, 24, np.random.default_rng(0)) != 7).any((0, 1)).all()
    with pytest.raises(
        UserError, match=r"policy='randaugment' can't vary a picture of 5 bands, only RGB and grey; set augment\.policy=none"
    ):
        Augment(policy="randaugment")(bands, 24, np.random.default_rng(0))
    Augment().check_channels(5)
    for channels in (1, 3):
        Augment(policy="randaugment", colour="mild").check_channels(channels)
    with pytest.raises(UserError, match=r"colour='mild' can't vary pictures of 4 channels, only RGB and grey; set augment\.colour=none"):
        Augment(colour="mild").check_channels(4)


def test_only_a_policy_imports_torchvision():
    """Which takes two seconds, in each process that reads."""
    code = """
import sys
import numpy as np
from PIL import Image
from inceptions.data import Augment
Augment(cutout=5, erasing=1.0, colour="slim")(Image.new("RGB", (50, 50)), 40, np.random.default_rng(0))
print("torchvision" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"policy": "autoaugment"}, "policy='autoaugment' can't be used; it must be one of none, randaugment, trivialaugment"),
        ({"operations": 0}, "operations=0 can't be used; it must be a whole number of at least 1"),
        ({"magnitude": 31}, "magnitude=31 can't be used; it must be a whole number from 0 to 30"),
        ({"erasing": 1.5}, "erasing=1.5 can't be used; it must be a share"),
        ({"erasing": float("nan")}, "erasing=nan"),
    ],
)
def test_wrong_fields_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        Augment(**fields)
