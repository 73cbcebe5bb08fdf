"""Pictures on disk become batches of tensors.

    folders      a folder, or a built-in set, as samples in train, val and test; the files that a path or a pattern means
    digits       the built-in set of handwritten digits
    decode       a file as an upright 8-bit picture, or an error that says what is wrong with it
    preprocess   a picture as the float32 array that a network reads; the presets of published weights
    augment      a random crop and mirror of a training picture
    dataset      torch's data set and loader over all of these

What is named here needs Pillow and NumPy only. `inceptions.data.dataset` needs torch and is imported where batches are made.
"""

from inceptions.data.augment import Augment
from inceptions.data.decode import convert_image, read_image
from inceptions.data.folders import Sample, Splits, find_images, load_splits
from inceptions.data.preprocess import CAFFE, IMAGENET_MEAN, IMAGENET_STD, INCEPTION, Preprocess, for_training

__all__ = [
    "CAFFE",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INCEPTION",
    "Augment",
    "Preprocess",
    "Sample",
    "Splits",
    "convert_image",
    "find_images",
    "for_training",
    "load_splits",
    "read_image",
]
