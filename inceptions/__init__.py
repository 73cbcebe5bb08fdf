"""The Inception family of image networks: GoogLeNet, BN-Inception, Inception-v2/v3/v4, Inception-ResNet-v1/v2, Xception.

    networks/    what a network is: the vocabulary, one module of tables per paper, describe, draw, reshape, build
    data/        images in: decode, preprocess, augment, folders, splits
    weights/     model folders: weights with everything that they need to be used
    evaluation/  how good a model is
    training/    from a folder of pictures to a model folder
    studies/     the papers' comparisons
    inference/   a model folder and pictures in, classes out
    explain/     what a network looks at, and what its parts answer to
    serving/     models behind HTTP
    cli/         the command line

The public names of each stand in the `__init__.pyi` beside its `__init__.py`. None is imported before it is used; the tables need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
