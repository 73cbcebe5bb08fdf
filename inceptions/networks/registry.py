"""The networks by name: enters a name, leaves a `Network`."""

from difflib import get_close_matches

from inceptions.networks.spec import Network, NetworkError
from inceptions.networks.tables.bn_inception import BN_INCEPTION, BN_INCEPTION_CAFFE, INCEPTION_V2_SLIM
from inceptions.networks.tables.googlenet import GOOGLENET, GOOGLENET_BN, GOOGLENET_NAIVE
from inceptions.networks.tables.inception_cifar import INCEPTION_CIFAR
from inceptions.networks.tables.inception_resnet import (
    INCEPTION_RESNET_V1,
    INCEPTION_RESNET_V1_FACENET,
    INCEPTION_RESNET_V2,
    INCEPTION_RESNET_V2_PAPER,
)
from inceptions.networks.tables.inception_small import INCEPTION_SMALL
from inceptions.networks.tables.inception_v3 import INCEPTION_V2, INCEPTION_V3, INCEPTION_V3_FID
from inceptions.networks.tables.inception_v4 import INCEPTION_V4
from inceptions.networks.tables.xception import XCEPTION
from inceptions.networks.tables.xception_aligned import XCEPTION41, XCEPTION41P, XCEPTION65, XCEPTION65P, XCEPTION71

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        GOOGLENET,
        GOOGLENET_NAIVE,
        GOOGLENET_BN,
        BN_INCEPTION,
        BN_INCEPTION_CAFFE,
        INCEPTION_V2_SLIM,
        INCEPTION_V2,
        INCEPTION_V3,
        INCEPTION_V3_FID,
        INCEPTION_V4,
        INCEPTION_RESNET_V1,
        INCEPTION_RESNET_V1_FACENET,
        INCEPTION_RESNET_V2,
        INCEPTION_RESNET_V2_PAPER,
        XCEPTION,
        XCEPTION41,
        XCEPTION65,
        XCEPTION71,
        XCEPTION41P,
        XCEPTION65P,
        INCEPTION_SMALL,
        INCEPTION_CIFAR,
    )
}
"""Every network by name."""


class UnknownNetworkError(NetworkError):
    """A name that no network has; whoever shows the error says how to list those that there are."""


ALIASES = {"inception_v1": "googlenet"}


def list_models() -> list[str]:
    """Return the names of all networks, in the order of the papers."""
    return list(NETWORKS)


def get_network(name: str) -> Network:
    """Return the network called `name`, or by an alias of it.

    Raises NetworkError that suggests the nearest names.
    """
    network = NETWORKS.get(ALIASES.get(name, name))
    if network is not None:
        return network
    plain = {known.replace("_", ""): known for known in (*NETWORKS, *ALIASES)}
    near = get_close_matches(name.lower().replace("-", "").replace("_", ""), plain, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(plain[match] for match in near)}?" if near else f"known are {', '.join(NETWORKS)}"
    raise UnknownNetworkError(f"there is no network called {name!r}; {hint}")
