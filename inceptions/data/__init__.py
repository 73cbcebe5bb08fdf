"""Pictures on disk, in shards or behind a library become batches of tensors.

    folders        any source as samples in train, val and test; the files that a path or a pattern means
    built_in       data sets by name; `digits` is shipped, the others are downloaded by torchvision
    tables         CSV and Parquet
    shards         WebDataset's tar files, of which `remote` keeps those behind a URL
    hugging_face   data sets of its Hub
    splits         what all of these give: samples, and how they are divided
    unlabelled     pictures without class folders, which can be predicted but not scored
    imagenet       the WordNet ids that ImageNet's folders are named by
    stored         a picture that is no file of its own
    packed         many samples in little memory
    decode         a file as an upright 8-bit picture, or an error that says what is wrong with it; `bands`: of more than four channels
    preprocess     a picture as the float32 array that a network reads; the presets of published weights
    augment        a random crop and mirror of a training picture; `photometric`: its colours
    dataset        torch's data set and loader over all of these
    cache          where files are kept that can be made again

What is named here needs Pillow and NumPy only. `inceptions.data.dataset` needs torch and is imported where batches are made.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
