"""Checkpoint files of other frameworks: enters a path, leaves its tensors under the file's own names and in its own layout.

Each format is read by its own library, and nothing in a file is executed: PyTorch's by `torch.load(weights_only=True)`, NumPy's without
pickle, Caffe's and ONNX' by protobuf, Keras' by h5py, TensorFlow's by TensorFlow. Beyond what these check, a person who converts a file
that they chose needs one line that says what is wrong, and a limit of size, so that a wrong file doesn't fill the memory.
"""

from inceptions.weights.readers.dispatch import read_tensors
from inceptions.weights.readers.foreign import MAX_BYTES, ForeignTensors

__all__ = ["MAX_BYTES", "ForeignTensors", "read_tensors"]
