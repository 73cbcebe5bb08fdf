"""Checkpoint files of other frameworks: enters a path, leaves its tensors under the file's own names and in its own layout.

Nothing in a file is executed, nothing is written but in a temporary folder, and what a file claims is checked before memory is taken.
"""

from inceptions.weights.readers.dispatch import read_tensors
from inceptions.weights.readers.foreign import MAX_BYTES, MAX_TENSORS, ForeignTensors

__all__ = ["MAX_BYTES", "MAX_TENSORS", "ForeignTensors", "read_tensors"]
