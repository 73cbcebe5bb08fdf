"""Small classifiers with weights at random that answer otherwise on every image."""

from dataclasses import replace
from functools import cache

import torch

from inceptions.data.preprocess import for_training
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.weights.card import ModelCard
from inceptions.weights.folder import LoadedModel


@cache
def make_model(classes=("ant", "bee", "cat"), *, seed=0, size=28, **pixels):
    """Return a network with the statistics that noise has in it; with those it is born with, it says the same of all images."""
    torch.manual_seed(seed)
    network = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.125), len(classes))
    module = Classifier(network).train()
    with torch.no_grad():
        for _ in range(20):
            module(torch.randn(16, 3, 28, 28))
        module.classifier.weight.mul_(4)
    return LoadedModel(module.eval(), ModelCard(network, replace(for_training(size), **pixels), tuple(classes)))
