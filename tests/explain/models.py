"""A network that is its own explanation: what is bright speaks for "bright", what is dark for "dark", each where it is."""

from dataclasses import replace

import torch

from inceptions.data.preprocess import Preprocess
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.spec import AdaptiveAvgPool, AuxHead, Conv, Network, Stage
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel

SIDE = 16
CLASSES = ("bright", "dark")


def make_light_meter(*, channels=3, aux=False, **pixels) -> LoadedModel:
    """Return a model of one stage, `light`, whose two channels are how bright and how dark each pixel is."""
    network = Network(
        name="light_meter",
        title="Light meter",
        source="made for tests",
        image_size=SIDE,
        stages=(Stage("light", Conv(2, 1, norm=False), SIDE, 2),),
        head=(AdaptiveAvgPool(),),
        classes=2,
        in_channels=channels,
        aux=(AuxHead("light", 0.3, (AdaptiveAvgPool(),)),) if aux else (),
    )
    module = ClassifierWithAux(network) if aux else Classifier(network)
    with torch.no_grad():
        module.get_parameter("stages.light.conv.weight").copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1).expand(2, channels, 1, 1))
        module.get_parameter("stages.light.conv.bias").zero_()
        module.get_parameter("classifier.weight").copy_(4 * torch.eye(2))
        module.get_parameter("classifier.bias").zero_()
    mean = (127.5,) * channels
    preprocess = replace(Preprocess(SIDE, mean=mean, std=mean, crop_fraction=1.0), **pixels)
    return LoadedModel(module.eval(), ModelCard(network, preprocess, CLASSES))
