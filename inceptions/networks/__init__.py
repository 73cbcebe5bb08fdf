"""What a network is: the vocabulary, one module of tables per paper, and what is worked out from them without torch.

`build`, `layers` and `models` make torch modules and are imported only where one is wanted.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
