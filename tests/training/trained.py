"""Small networks with statistics as if they had been trained."""

from __future__ import annotations

import torch
from torch import nn

from inceptions.networks import reshape
from inceptions.networks.modules.models import training_module
from inceptions.networks.registry import get_network

SMALL = reshape.scale_width(get_network("inception_small"), 0.25)  # 11 stages with weights, 28 pixels, the first convolution pads
V3 = reshape.scale_width(get_network("inception_v3"), 0.125)  # the first convolution is VALID
GOOGLENET = reshape.scale_width(get_network("googlenet"), 0.125)  # auxiliary heads with layers that depend on the grid, from 80 pixels
RESNET = reshape.scale_width(get_network("inception_resnet_v1_facenet"), 0.125)  # its head has a layer with weights
PAIR = ("ant", "bee")
TEN = tuple("abcdefghij")


def trained(network):
    """The network as if it had been trained: its statistics of batch normalisation are of pictures."""
    torch.manual_seed(5)
    module = training_module(network if network.classes else reshape.without_aux(network))
    size = network.image_size
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches
    with torch.no_grad():
        for _ in range(3):
            module(torch.randn(8, network.in_channels, size, size))
    return module
