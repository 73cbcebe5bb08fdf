"""A door into the loop for those who measure while a run trains: is shown the learner and its batch before and after each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inceptions.data.dataset import Batch
    from inceptions.training.features import FeatureBatch
    from inceptions.training.learner import Learner


class Look:
    """Shown everything, does nothing; override what you want to see. Runs that are asynchronous show nothing.

    What looks at a learner and doesn't mean to change the run leaves it as it was: weights, statistics, gradients, chance.
    """

    def begin(self, learner: Learner) -> None:
        """See the learner as it begins, or goes on, before its first step."""

    def before(self, learner: Learner, batch: Batch | FeatureBatch) -> None:
        """See the learner before it takes a step on `batch`."""

    def after(self, learner: Learner, batch: Batch | FeatureBatch) -> None:
        """See it after the step."""
