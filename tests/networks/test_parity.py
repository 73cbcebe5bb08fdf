"""Logits against independent implementations, torchvision's and timm's, under the same random weights and the right numerics.

Weights are copied by a walk over both modules: convolutions, normalisations and linear layers in the order of definition, except that
what `LATE` names comes after its siblings, as our tables have it. A wrong pairing that fits in shape shows in the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.registry import get_network
from inceptions.networks.reshape import dilate, with_numerics
from inceptions.networks.spec import Network
from tests.networks.twins import noise, relative_error, twin

LATE = {
    "aux1", "aux2", "AuxLogits",  # torchvision defines them before the last layer, or where they branch off
    "skip", "skipbn", "shortcut",  # timm defines a block's shortcut before its body
}  # fmt: skip

# Float32 and 42 to 250 layers: the same network in two frameworks differs by at most 1.6e-6 (../shared/golden/README.md);
# each wrong detail tried there costs 1.5e-2 or more.
TOLERANCE = 1e-5
VISIBLE = 1e-3


def layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers with weights in order."""
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
        yield module
    else:
        for _, child in sorted(module.named_children(), key=lambda child: child[0] in LATE):  # sorting keeps the order of equals
            yield from layers(child)


def randomize(model: nn.Module, *, gain: float, seed: int) -> None:
    """Fill with noise that keeps activations of order one: He's, times `gain`; normalisations far from the identity."""
    generator = torch.Generator().manual_seed(seed)
    for layer in layers(model):
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.5, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
        else:
            layer.weight.normal_(0, gain * math.sqrt(2 / layer.weight[0].numel()), generator=generator)
            if layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)


def copy_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy every parameter and statistic, layer by layer; numbers of layers, names and shapes must agree."""
    for source, target in zip(layers(theirs), layers(ours), strict=True):
        tensors = source.state_dict()
        assert {key: t.shape for key, t in target.state_dict().items()} == {key: t.shape for key, t in tensors.items()}
        target.load_state_dict(tensors)


@dataclass(frozen=True)
class Peer:
    """A network of ours, the same one of somebody else, and the numerics in which that one differs from ours."""

    name: str
    make: Callable[[], nn.Module]
    sizes: tuple[int, ...]  # the published one, and one that is odd where it is even: there paddings differ
    numerics: dict[str, object] = field(default_factory=dict)
    gain: float = 1.0
    output_stride: int | None = None
    aux: bool = False

    @property
    def network(self) -> Network:
        network = with_numerics(get_network(self.name), **self.numerics)
        return network if self.output_stride is None else dilate(network, self.output_stride)


def of_timm(name: str, **settings: int) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, **settings)


def of_torchvision(name: str, **settings: bool) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, init_weights=False, transform_input=False, **settings)


PADDED_MEAN = {"avg_pool_counts_padding": True}
PEERS = {
    "torchvision googlenet": Peer("googlenet_bn", of_torchvision("googlenet", aux_logits=True), (224, 183), aux=True),
    "torchvision inception_v3": Peer("inception_v3", of_torchvision("inception_v3", aux_logits=True), (299, 318), PADDED_MEAN, aux=True),
    "timm inception_v3": Peer("inception_v3", of_timm("inception_v3"), (299, 140), PADDED_MEAN),
    "timm inception_v4": Peer("inception_v4", of_timm("inception_v4"), (299, 140)),
    "timm inception_resnet_v2": Peer("inception_resnet_v2", of_timm("inception_resnet_v2"), (299, 140)),
    "timm legacy_xception": Peer(
        "xception", of_timm("legacy_xception"), (299, 140), {"pool_padding": "symmetric", "bn_epsilon": 1e-5}, gain=0.7
    ),
    **{f"timm {name}": Peer(name, of_timm(name), (299, 140), gain=0.7) for name in ("xception41", "xception65", "xception71")},
    **{f"timm {name}": Peer(name, of_timm(name), (299, 140), gain=0.7) for name in ("xception41p", "xception65p")},
    **{
        f"timm xception65, output stride {stride}": Peer(
            "xception65", of_timm("xception65", output_stride=stride), (129, 140), gain=0.7, output_stride=stride
        )
        for stride in (16, 8)
    },
}


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[Peer, nn.Module, Classifier]:
    """A peer, its module and ours with the same weights, both in inference mode."""
    peer: Peer = PEERS[request.param]
    with torch.device("meta"):
        theirs, ours = peer.make(), (ClassifierWithAux if peer.aux else Classifier)(peer.network)
    theirs, ours = theirs.to_empty(device="cpu").eval(), ours.to_empty(device="cpu").eval()
    with torch.no_grad():
        randomize(theirs, gain=peer.gain, seed=0)
    copy_weights(theirs, ours)
    return peer, theirs, ours


def logits_of(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Return the main logits and those of the auxiliary heads, first head first, with dropout and statistics as in inference."""
    if isinstance(model, ClassifierWithAux):
        out = model(x)
        return out.logits, *out.aux
    aux = any(name in LATE for name, _ in model.named_children())
    model.training = aux  # torchvision runs these heads only in training; its layers stay in inference
    out = model(x)
    model.training = False
    return (out[0], *reversed(out[1:])) if aux else (out,)  # torchvision gives the last head first


ELSEWHERE = (
    *("torchvision inception_v3", "timm inception_v3", "timm legacy_xception", "timm xception41"),
    *("timm xception65", "timm xception71", "timm xception65p", "timm xception65, output stride 16", "timm xception65, output stride 8"),
)
"""What these give is recorded, and compared in tests/weights/test_golden.py; or others have all their blocks and numerics."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair", [pytest.param(name, marks=pytest.mark.exhaustive if name in ELSEWHERE else ()) for name in PEERS], indirect=True
)
@torch.no_grad()
def test_logits_are_those_of_the_independent_implementation(pair: tuple[Peer, nn.Module, Classifier]) -> None:
    peer, theirs, ours = pair
    for size in peer.sizes:
        x = noise(2, 3, size, size)
        pairs = list(zip(logits_of(ours, x), logits_of(theirs, x), strict=True))
        assert len(pairs) == 1 + len(peer.network.aux) * peer.aux
        for head, (our_logits, their_logits) in enumerate(pairs):
            error = relative_error(our_logits, their_logits)
            print(f"{peer.name}: error {error:.1e} of head {head} at {size} pixels, logits of {their_logits.std():.1e}")  # -rP shows it
            assert error < TOLERANCE
            assert 1e-2 < their_logits.std() < 1e3  # neither dead nor blown up, where all networks would agree
            assert relative_error(their_logits[:1], their_logits[1:]) > VISIBLE  # and the image is seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "wrong", "size"),
    [
        ("torchvision googlenet", {"conv_padding": "tensorflow"}, 224),
        pytest.param("torchvision googlenet", {"pool_padding": "symmetric"}, 224, marks=pytest.mark.exhaustive),
        pytest.param("torchvision inception_v3", {"bn_epsilon": 1e-5}, 299, marks=pytest.mark.exhaustive),
        pytest.param("torchvision inception_v3", {"avg_pool_counts_padding": False}, 299, marks=pytest.mark.exhaustive),
        pytest.param("timm legacy_xception", {"bn_epsilon": 1e-3}, 299, marks=pytest.mark.exhaustive),
        pytest.param("timm legacy_xception", {"pool_padding": "tensorflow"}, 299, marks=pytest.mark.exhaustive),
        pytest.param("timm xception41", {"conv_padding": "tensorflow"}, 140, marks=pytest.mark.exhaustive),
        ("timm xception41p", {"bn_epsilon": 1e-3}, 140),
    ],
    indirect=["pair"],
)
@torch.no_grad()
def test_wrong_numerics_break_the_agreement(pair: tuple[Peer, nn.Module, Classifier], wrong: dict[str, object], size: int) -> None:
    peer, theirs, ours = pair
    x = noise(2, 3, size, size)
    astray = twin(lambda: type(ours)(with_numerics(peer.network, **wrong)), ours)
    assert relative_error(logits_of(astray, x)[0], logits_of(theirs, x)[0]) > VISIBLE


@pytest.mark.slow
@pytest.mark.parametrize("pair", ["timm inception_v4"], indirect=True)
@torch.no_grad()
def test_two_branches_of_one_shape_exchanged_break_the_agreement(pair: tuple[Peer, nn.Module, Classifier]) -> None:
    _, theirs, ours = pair
    weights = ours.state_dict()
    first, second = "stages.5b.conv3x3.0.conv.weight", "stages.5b.double3x3.0.conv.weight"
    weights[first], weights[second] = weights[second], weights[first]
    with torch.device("meta"):
        astray = Classifier(ours.network)
    astray.load_state_dict(weights, assign=True)
    x = noise(2, 3, 140, 140)
    assert relative_error(astray.eval()(x), theirs(x)) > VISIBLE
