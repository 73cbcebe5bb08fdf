"""Steps of training, for a test to run by torchrun: `two_processes.py PICTURES FOLDER MODE...` writes the gradients, of all processes.

FOLDER gets a file of each mode: "plain" has batches of 32; "parts" computes 30 in four parts; "weights" weighs classes, in three;
"unreadable" gives the second process one image that can be read.

Batch normalisation is left out, so that one process has the same gradients on the same images.
"""

import sys
from dataclasses import replace

import safetensors.torch
import torch

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.loop import prepare
from inceptions.training.processes import Processes
from inceptions.training.recipes import QUICK


def main(pictures, folder, *modes):
    processes = Processes()
    for mode in modes:
        gradients = gradients_of(pictures, mode, processes)
        if processes.is_first:
            safetensors.torch.save_file(gradients, f"{folder}/{mode}.safetensors")
    processes.leave()


def gradients_of(pictures, mode, processes):
    """Return the gradients of one step by name, and under `loss` how it went."""
    network = reshape.without_batch_norm(reshape.scale_width(get_network("inception_small"), 0.25))
    recipe = replace(
        QUICK, batch_size=30 if mode == "parts" else 32, accumulate=4 if mode == "parts" else 1, precision="float32", clip_norm=None
    )
    if mode == "weights":
        recipe = replace(recipe, class_weights="balanced", accumulate=3)
    setup = prepare(network, load_splits(pictures), recipe, source=pictures, image_size=16, device="cpu")
    learner = Learner(setup, processes, steps_per_epoch=1)
    learner.begin_epoch(1)
    dataset = ImageDataset(setup.splits.train, setup.preprocess, augment=recipe.augment)
    batch = next(iter(image_loader(dataset, batch_size=recipe.batch_size, shuffle=True, workers=0, part=processes.part)))
    if mode == "unreadable":  # what the second process has of the batch: the first image or none
        kept = slice(0, 1) if processes.rank else slice(None)
        kept = slice(0, None, 2) if processes.world == 1 else kept
        batch = batch._replace(pixels=batch.pixels[kept], labels=batch.labels[kept], indices=batch.indices[kept])
    done = learner.learn(batch)
    gradients = {name: parameter.grad.contiguous() for name, parameter in learner.module.named_parameters()}
    return {**gradients, "loss": torch.tensor([done.loss, done.right, done.images])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
