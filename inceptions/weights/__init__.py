"""Weights and everything that must travel with them: enters a trained model, leaves a folder that any command can use.

card, folder      model folders: what they say and what they hold
readers           checkpoint files as named arrays; nothing is executed
adapters          where each framework keeps each layer, by a walk over the tables
importer          named arrays as a model, with an audit; exporter, writers: the other way
tags, download    published checkpoints and the cache; published: a model by its tag
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
