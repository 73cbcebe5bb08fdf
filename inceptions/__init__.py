"""The Inception family of image networks: GoogLeNet, BN-Inception, Inception-v2/v3/v4, Inception-ResNet-v1/v2, Xception.

    networks/    what a network is: the vocabulary, one module of tables per paper, describe, draw, reshape, build
    data/        images in: decode, preprocess, augment, folders, splits
    weights/     model folders: weights with everything that they need to be used
    evaluation/  how good a model is
    training/    from a folder of pictures to a model folder
    inference/   a model folder and pictures in, classes out
    cli/         the command line

Nothing below is imported before it is used, and the tables need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inceptions.networks.describe import describe as describe
    from inceptions.networks.draw import draw as draw
    from inceptions.networks.registry import get_network as get_network
    from inceptions.networks.registry import list_models as list_models
    from inceptions.networks.spec import Network as Network
    from inceptions.weights.folder import save_model as save_model
    from inceptions.weights.importer import import_tensors as import_tensors
    from inceptions.weights.published import create_model as create_model
    from inceptions.weights.published import load_model as load_model
    from inceptions.weights.published import push_model as push_model

__version__ = "0.1.0"

_HOMES = {
    "Network": "inceptions.networks.spec",
    "create_model": "inceptions.weights.published",
    "describe": "inceptions.networks.describe",
    "draw": "inceptions.networks.draw",
    "get_network": "inceptions.networks.registry",
    "list_models": "inceptions.networks.registry",
    "import_tensors": "inceptions.weights.importer",
    "load_model": "inceptions.weights.published",
    "push_model": "inceptions.weights.published",
    "save_model": "inceptions.weights.folder",
}
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'inceptions' has no attribute {name!r}; public names are {', '.join(_HOMES)}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOMES))
