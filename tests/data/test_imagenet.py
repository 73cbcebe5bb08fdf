import timm.data
from torchvision.models._meta import _IMAGENET_CATEGORIES

from inceptions.data.imagenet import imagenet_ids, is_wordnet_id


def test_the_ids_are_timms_in_the_same_order():
    info = timm.data.ImageNetInfo("imagenet-1k")
    assert list(imagenet_ids()) == [info.index_to_label_name(place) for place in range(1000)]
    assert list(imagenet_ids()) == sorted(set(imagenet_ids()))
    assert all(map(is_wordnet_id, imagenet_ids()))


def test_they_stand_in_the_order_of_torchvisions_names():
    """As WordNet 3.0 has them; crane and maillot are names of two classes each."""
    pairs = {
        "n01440764": "tench",
        "n02012849": "crane bird",
        "n02123045": "tabby",
        "n03126707": "crane",
        "n03710637": "maillot",
        "n03710721": "maillot tank suit",
        "n15075141": "toilet tissue",
    }
    for name, place in zip(pairs.values(), map(imagenet_ids().index, pairs), strict=True):
        assert _IMAGENET_CATEGORIES[place] == name


def test_an_id_is_n_and_eight_digits():
    assert not any(map(is_wordnet_id, ("n0144076", "n014407640", "x01440764", "n01440764_tench", "n0144076٤", "")))
