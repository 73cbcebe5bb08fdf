"""What a network is: the vocabulary (`spec`), the papers' tables (`tables/`, by name in `registry`), and what is worked out from them.

`trace`, `reshape`, `describe`, `codec` and `drawing/` need no torch; `modules/` makes torch modules, and is imported where one is wanted.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
