"""What of studies is left to do: enters their planned runs, leaves each arm once, with the runs of it that aren't through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from inceptions.studies.planned import PlannedRun
from inceptions.studies.study import Arm, Study


@dataclass(slots=True)
class ArmLeft:
    """An arm, the names of the studies that have one like it, and the seed and the epochs of each run that isn't through."""

    arm: Arm
    studies: list[str]
    runs: set[tuple[int, int]]

    @property
    def seeds(self) -> int:
        """How many seeds have something left."""
        return len({seed for seed, _ in self.runs})

    @property
    def epochs(self) -> int:
        """Of all budgets of a seed that are left."""
        return sum({epochs for _, epochs in self.runs})

    @property
    def epochs_in_all(self) -> int:
        """Of all runs that are left."""
        return sum(epochs for _, epochs in self.runs)


@dataclass(slots=True)
class Left:
    """What is left of several studies; arms that are alike are one."""

    of_arms: dict[tuple[Any, ...], ArmLeft] = field(default_factory=dict)

    def add(self, study: Study, planned: Iterable[PlannedRun]) -> None:
        """Count a study's runs."""
        left = [run for run in planned if not run.is_through]
        for arm in study.arms:
            alike = self.of_arms.setdefault((arm.network, arm.recipe, arm.noise), ArmLeft(arm, [], set()))
            alike.studies.append(study.name)
            alike.runs |= {(run.setup.recipe.seed, run.setup.recipe.epochs) for run in left if run.arm == arm.name}

    @property
    def arms(self) -> tuple[ArmLeft, ...]:
        """All arms, those of which nothing is left too."""
        return tuple(self.of_arms.values())

    @property
    def studies(self) -> set[str]:
        """The names of the studies that have something left."""
        return {name for arm in self.arms if arm.runs for name in arm.studies}
