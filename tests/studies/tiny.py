"""A study that takes seconds: two arms of a tiny network, and how tests run it."""

from dataclasses import replace

from inceptions.data.folders import load_splits
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.studies.run import Budget, run_study
from inceptions.studies.study import Arm, Claim, Study
from inceptions.training.recipe import Recipe

TINY = reshape.scale_width(get_network("inception_small"), 0.125)
RECIPE = Recipe(batch_size=16, precision="float32")
STUDY = Study(
    "smoothing",
    "Label smoothing",
    "it helps",
    "1512.00567",
    (Arm("none", TINY, replace(RECIPE, label_smoothing=0.0)), Arm("a tenth", TINY, RECIPE)),
    (Claim("a tenth", "none"),),
)
BUDGET = Budget(seeds=2, epochs=1, images=30)


def go(folder, pictures, *, study=STUDY, budget=BUDGET, **options):
    return run_study(study, load_splits(pictures), str(pictures), folder, budget=budget, device="cpu", workers=0, **options)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
