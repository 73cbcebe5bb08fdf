"""A model folder of a network of three stages, which engines are prepared of in a second or two."""

from dataclasses import replace
from pathlib import Path

CLASSES = ("amber", "blue", "green")
SIZE_PX = 16


def save_tiny(folder: Path, *, classes: tuple[str, ...] = CLASSES, embedding=(), seed: int = 0) -> Path:
    """Write the model with random weights; without classes it ends in `embedding`, or in the features."""
    import torch

    from inceptions.data.preprocess import for_training
    from inceptions.networks import reshape
    from inceptions.networks.modules.models import create_model
    from inceptions.networks.registry import get_network
    from inceptions.weights.folder import save_model

    torch.manual_seed(seed)
    network = reshape.with_classes(reshape.scale_width(get_network("inception_small"), 0.25), len(classes))
    network = replace(network, stages=network.stages[:3], features=())
    if not classes:
        network = replace(network, embedding=embedding)
    module = create_model(network)
    if classes:  # so that classes differ by more than rounding
        torch.nn.init.normal_(module.classifier.weight, std=3)
    save_model(module, folder, preprocess=for_training(SIZE_PX), classes=classes)
    return folder
