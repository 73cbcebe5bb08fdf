"""Pictures that a program has already: enters Pillow's pictures, arrays, names of files and folders, leaves what all readers here take."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from inceptions.data.decode import convert_image
from inceptions.data.folders import find_images
from inceptions.data.stored import Stored
from inceptions.errors import ImageError, UserError

Given: TypeAlias = str | Path | Image.Image | np.ndarray
"""A name as `find_images` takes it, a picture of Pillow's, or an array: uint8, (H, W), (H, W, 1), RGB (H, W, 3) or RGBA (H, W, 4)."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # which a PNG keeps as they are
_SIGNS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class InMemory(Stored):
    """A picture that was given as pixels. It is kept as a PNG, which loses nothing, so that it goes the way of every other."""

    name: str
    png: bytes

    def read_bytes(self) -> bytes:
        """Return the PNG."""
        return self.png

    def __str__(self) -> str:
        return self.name


def find_pictures(images: Given | Iterable[Given], *, find: Callable[[str], Iterable[Path | Stored]] = find_images) -> list[Path | Stored]:
    """Return every picture that `images` means, in order: what is given, an array (N, H, W, C) or a sequence of these.

    A folder stands for all pictures below it, unless `find` says otherwise. What has no name is called "image 0" and so on, by place.

    Raises DataError where a name means no picture; ImageError for pixels that can't be used: floats, whose range nobody knows, or tensors.
    """
    if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    elif not isinstance(images, Iterable) or _is_tensor(images):
        raise _not_a_picture("images", images)
    found: list[Path | Stored] = []
    for place, image in enumerate(images):
        found += find(str(image)) if isinstance(image, str | Path) else [hold(image, f"image {place}")]
    return found


def hold(image: Image.Image | np.ndarray, name: str) -> InMemory:
    """Return a picture of Pillow's, or an array, as what every reader here takes. Raises ImageError, as `find_pictures` does."""
    if isinstance(image, np.ndarray):
        image = _from_array(image, name)
    elif not isinstance(image, Image.Image):
        raise _not_a_picture(name, image)
    try:
        upright = ImageOps.exif_transpose(image)  # a copy
        if upright.mode not in _PNG_MODES:
            upright = convert_image(upright)
        file = io.BytesIO()
        upright.save(file, "PNG", compress_level=1)
    except (UserError, OSError) as error:
        raise ImageError(f"{name}: {error}") from error
    return InMemory(name, file.getvalue())


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or not pixels.size or (pixels.ndim == 3 and pixels.shape[2] not in _SIGNS):
        remedy = "give uint8 of 0 to 255, (height, width, 3)"
        raise ImageError(
            f"{name}: an array of {pixels.dtype} {pixels.shape}; {remedy}; if it is of 0 to 1, np.rint(255 * it).astype('uint8')"
        )
    return Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels))


def _is_tensor(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "torch"


def _not_a_picture(name: str, value: object) -> ImageError:
    remedy = (
        "what a network reads goes into load_model(...).module" if _is_tensor(value) else "give a path, a picture of Pillow's or an array"
    )
    return ImageError(f"{name}: a {type(value).__name__}, which is no picture; {remedy}")
