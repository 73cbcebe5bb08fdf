"""Why: what a network looks at in a picture, and what a part of it answers to. Attributions are Captum's (`inceptions[explain]`).

explanation       the map of one picture and class, laid on the picture as it was; attribution: how it is worked out
page              pictures with their maps as one HTML page; mistakes: maps for the reports of training and evaluation
layers            stages and branches by name
features, paint   pictures that a branch answers to; dream: a photo in which a stage finds more of what it knows
checks            whether maps mean something: deletion, insertion, networks made random from the top
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
