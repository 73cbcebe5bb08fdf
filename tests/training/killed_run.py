"""A tiny run in a process of its own, for tests to kill: `python -m tests.training.killed_run PICTURES FOLDER` begins or goes on."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Average
from inceptions.training.recipes import QUICK


class Announcer(Reporter):
    def started(self, start):
        print("begun", flush=True)


def main(pictures, folder):
    pace = Pace(steps=1, workers=0)
    if folder.exists():  # at whatever moment it was killed, there is enough to go on with
        resume(folder, reporter=Announcer(), pace=pace)
        return
    network = reshape.with_drop_rate(reshape.scale_width(get_network("inception_small"), 0.25), 0.2)
    recipe = replace(QUICK, epochs=8, batch_size=8, precision="float32", average=Average(decay=0.9), mixup=0.2, bn_momentum=0.001)
    setup = prepare(network, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
    fit(setup, folder, reporter=Announcer(), pace=pace)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
