"""Models behind HTTP: enters model folders, leaves a server that answers pictures, until it is told to stop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
