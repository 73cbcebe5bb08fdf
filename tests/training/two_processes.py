"""One step without batch normalisation, for a test to run by torchrun: `two_processes.py PICTURES FILE` writes the gradients."""

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


def main(pictures, file):
    torch.set_num_threads(1)
    processes = Processes()
    network = reshape.without_batch_norm(reshape.scale_width(get_network("inception_small"), 0.25))
    recipe = replace(QUICK, batch_size=32, precision="float32", clip_norm=None)
    setup = prepare(network, load_splits(pictures), recipe, source=pictures, image_size=16, device="cpu")
    learner = Learner(setup, processes, steps_per_epoch=1)
    learner.begin_epoch(1)
    dataset = ImageDataset(setup.splits.train, setup.preprocess, augment=recipe.augment)
    loader = image_loader(dataset, batch_size=32, shuffle=True, workers=0, part=processes.part)
    learner.learn(next(iter(loader)))
    if processes.is_first:
        safetensors.torch.save_file({name: p.grad.contiguous() for name, p in learner.module.named_parameters()}, file)
    processes.leave()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
