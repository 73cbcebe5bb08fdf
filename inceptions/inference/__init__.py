"""Models at work: enters a model folder and image files, leaves classes with probabilities."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
