"""Pictures of no class: enters a folder, leaves those that lie in it, where no folder in it could be a class."""

from __future__ import annotations

from inceptions.data.folders import find_images
from inceptions.data.splits import Sample
from inceptions.errors import DataError
from inceptions.files import expand_home

NO_LABEL = -1  # of a picture whose class nobody knows


def find_unlabelled(source: str) -> tuple[Sample, ...]:
    """Return the pictures that lie directly in the folder `source`, sorted; none if it is no folder or has pictures further down."""
    root = expand_home(source)
    if not root.is_dir():
        return ()
    try:
        images = find_images(source)
    except DataError:  # no picture at all, or a folder that can't be listed
        return ()
    inside = all(image.parent == root for image in images)
    return tuple(Sample(image, NO_LABEL) for image in images) if inside else ()
