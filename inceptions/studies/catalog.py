"""The studies by name: the papers' own comparisons on networks made small by `reshape`, minutes for each run of an arm on two cores.

Those of networks are in `of_networks`, those of training and use in `of_training`, what they have alike in `base`.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from inceptions.errors import UserError
from inceptions.studies import of_networks, of_training
from inceptions.studies.study import Study


@cache
def list_studies() -> tuple[Study, ...]:
    """Return every study."""
    groups = (
        of_networks.of_googlenet,
        of_networks.of_inception_v3,
        of_training.of_normalisation,
        of_training.of_recipes,
        of_networks.of_residuals,
        of_networks.of_separable,
        of_training.of_averages,
        of_networks.of_principles,
        of_training.of_landscapes,
    )
    return tuple(study for group in groups for study in group())


def get_study(name: str) -> Study:
    """Return the study called `name`; UserError names the nearest."""
    studies = {study.name: study for study in list_studies()}
    if name not in studies:
        near = get_close_matches(name, studies, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(studies)}"
        raise UserError(f"no study is called {name!r}; {hint}")
    return studies[name]
