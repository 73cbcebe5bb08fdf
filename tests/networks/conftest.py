"""Every network test starts from the same random state; each network is built once for all tests that only look at it."""

from typing import Any

import pytest

from inceptions.networks.registry import get_network, list_models
from inceptions.networks.spec import Network

FAMILY = ("inception_small", "googlenet", "inception_v2_slim", "inception_v3", "inception_resnet_v1_facenet", "xception41p")
"""Networks that between them have every kind of node, head, classifier and rule of padding: what is proven of all in `make test-all`
is proven of these in `make test`."""

FEW = ("inception_small", "googlenet", "inception_resnet_v1_facenet", "xception41p")
"""Those of `FAMILY` that still have every kind of node, for tools that go from layer to layer and take seconds for each network."""


def family_first(names: list[str], family: tuple[str, ...] = FAMILY) -> list[Any]:
    """Return the names to parametrise a test with: those outside of `family` are left to `make test-all`."""
    return [pytest.param(name, marks=() if name in family else pytest.mark.exhaustive) for name in names]


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch

    torch.manual_seed(0)


def _classifier(request: pytest.FixtureRequest):
    return _built(get_network(request.param))


def _shortened(request: pytest.FixtureRequest):
    from tests.networks.twins import shortened

    return _built(shortened(get_network(request.param)))


def _built(network: Network):
    import torch

    from inceptions.networks.modules.models import create_model

    torch.manual_seed(0)
    return create_model(network).eval()


classifier = pytest.fixture(_classifier, scope="module", params=family_first(list_models()))
"""Each network once, in inference mode; tests leave it as it is, and other forms of it borrow its weights by `twin`."""

one_of_a_family = pytest.fixture(
    _shortened,
    scope="module",
    params=family_first(list_models()),
    name="one_of_a_family",
)
"""As `classifier`, but without the repeats of blocks, and outside of `FAMILY` only where everything is tested."""
