"""What a training step asks of a device, counted by torch's profiler: `python scripts/measure_steps.py [FIELD=VALUE...]`.

Inception-v3 with its recipe of 2015 and 1,000 classes, on two images, in float32 on the CPU, which counts what a GPU would be asked for;
the settings change the recipe. Prints for the third step how many operations the host asks for, where one may be of many tensors at once,
and views and empty tensors are none; and how many numbers it reads. It waits for each that lies on a GPU until all queued there is done.

    PYTHONPATH=CHECKOUT python scripts/measure_steps.py     # of another commit
"""

import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch.profiler import ProfilerActivity, profile, record_function

from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.networks.registry import get_network
from inceptions.training.learner import Learner
from inceptions.training.processes import Processes
from inceptions.training.recipes import get_recipe
from inceptions.training.settings import change
from inceptions.training.setup import prepare

CLASSES, BATCH, STEP = 1000, 2, 3
READ = "aten::_local_scalar_dense"
NONE = {  # that launch nothing
    f"aten::{name}"
    for name in (
        *("view", "reshape", "flatten", "unflatten", "expand", "expand_as", "as_strided", "t", "transpose", "permute", "slice", "select"),
        *("narrow", "split", "split_with_sizes", "tensor_split", "unsqueeze", "squeeze", "detach", "alias", "lift_fresh", "result_type"),
        *("empty", "empty_like", "empty_strided", "new_empty", "resize_", "to", "contiguous", "item", "is_nonzero", "unbind", "numpy_T"),
    )
}


def make_learner(folder, changes):
    """Return a learner and a batch of two pictures."""
    for number in range(CLASSES * 2):
        place = folder / "train" / f"{number // 2:04}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number % 251, np.uint8)).save(place / f"{number}.png")
    recipe = replace(get_recipe("inception_v3_2015"), precision="float32", batch_size=BATCH)
    recipe = change(recipe, changes)
    setup = prepare(get_network(recipe.model), load_splits(str(folder)), recipe, source=str(folder), device="cpu")
    learner = Learner(setup, Processes(), steps_per_epoch=setup.steps_per_epoch)
    learner.begin_epoch(1)
    dataset = ImageDataset(setup.splits.train, setup.preprocess)
    return learner, next(iter(image_loader(dataset, batch_size=BATCH, shuffle=False, workers=0)))


def mark(owner, name, label):
    """Have the profile show by `label` what the method does."""
    method = getattr(owner, name)

    def marked(*given):
        with record_function(label):
            return method(*given)

    setattr(owner, name, marked)


def place(event):
    """Return the label that an operation stands under, or none for a part of another operation."""
    above, label = event.cpu_parent, "network, loss and gradients"
    while above is not None:
        if above.name.startswith("aten::"):
            return None
        label = above.name if above.name in ("optimiser", "average") else label
        above = above.cpu_parent
    return label


def main(changes):
    """Print the counts."""
    with tempfile.TemporaryDirectory() as folder:
        learner, batch = make_learner(Path(folder), changes)
    mark(learner.optimizer, "step", "optimiser")
    if learner.average is not None:
        mark(learner.average, "update_parameters", "average")
    for _ in range(STEP - 1):
        learner.learn(batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        learner.learn(batch)
    events = [event for event in profiled.events() or () if event.name.startswith("aten::")]
    counts = Counter(label for event in events if event.name not in NONE and (label := place(event)) is not None)
    for label, count in [*sorted(counts.items(), reverse=True), ("in all", counts.total())]:
        print(f"{label}: {count:,} operations")
    print(f"numbers read: {sum(event.name == READ for event in events):,}")


if __name__ == "__main__":
    main(sys.argv[1:])
