"""Every network in every exported form, run by its own runtime, against torch: `python scripts/measure_exports.py FILE [NETWORK...]`.

Weights are random, with batch statistics that say something; the images are views of a photograph at the network's own size. Rows go into
FILE, a CSV, after each network, and what is there already is not made again.
"""

import csv
import sys
import tempfile
import time
from pathlib import Path

import torch

from inceptions.data.preprocess import for_training
from inceptions.inference.export import FORMS, export_model
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import list_models
from inceptions.weights.folder import save_model

COLUMNS = ("network", "form", "image_size", "bytes", "pictures", "same_class", "largest_difference", "seconds")


def make(name: str, folder: Path) -> int:
    """Write a model folder of the network with random weights, and return the size of its images."""
    torch.manual_seed(0)
    module = create_model(name)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    classes = tuple(f"class {number}" for number in range(module.num_classes))
    save_model(module.eval(), folder, preprocess=for_training(module.network.image_size), classes=classes)
    return module.network.image_size


def measure(name: str, scratch: Path, there: set[tuple[str, str]]) -> list[tuple]:
    """Return a row for each form of the network that is not there yet."""
    missing = [ending for ending, form in FORMS.items() if (name, form.name) not in there]
    if not missing:
        return []
    size, rows = make(name, scratch / name), []
    for ending in missing:
        began = time.perf_counter()
        found = export_model(scratch / name, scratch / f"{name}{ending}", preprocess=True)
        rows.append(
            (
                name,
                found.form,
                size,
                found.size,
                found.pictures,
                found.same,
                f"{found.difference:.2g}",
                f"{time.perf_counter() - began:.0f}",
            )
        )
    return rows


def main(output: Path, names: list[str]) -> None:
    """Measure what is missing of `names`, all networks where there are none."""
    there = set()
    if output.exists():
        with output.open(newline="") as file:
            there = {(row["network"], row["form"]) for row in csv.DictReader(file)}
    else:
        output.write_text(",".join(COLUMNS) + "\n")
    for name in names or list_models():
        with tempfile.TemporaryDirectory() as scratch, output.open("a", newline="") as file:
            for row in measure(name, Path(scratch), there):
                csv.writer(file).writerow(row)
                print(*row, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
