"""From a folder of pictures to a model folder: enters a `Network`, images and a `Recipe`, leaves a run folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
