"""The papers' comparisons as experiments that one can run: what is compared (`catalog`, by name), running (`run`), verdicts (`verdict`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
