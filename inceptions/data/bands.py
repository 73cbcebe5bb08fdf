"""Pictures of any number of bands: enters the bytes of an `.npy` file, uint8 (H, W) or (H, W, C), leaves a picture or `Bands`.

Pillow's pictures have four bands at most, and the fourth is transparency. `Bands` is the little of such a picture that cropping, varying
and normalising ask for; each band is resized by itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from inceptions.errors import UserError

SUFFIX = ".npy"


class Bands:
    """Several grey pictures of one size that lie on each other. It reads as an array (H, W, C)."""

    def __init__(self, bands: Iterable[Image.Image]) -> None:
        self.bands = tuple(bands)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.bands[0].size

    @property
    def mode(self) -> str:
        """What Pillow's pictures say with "RGB"."""
        return f"{len(self.bands)} bands"

    def resize(self, size: tuple[int, int], resample: Image.Resampling, box: tuple[float, float, float, float] | None = None) -> Bands:
        """Return every band resized."""
        return Bands(band.resize(size, resample, box) for band in self.bands)

    def crop(self, box: tuple[int, int, int, int]) -> Bands:
        """Return every band cut to (left, top, right, bottom)."""
        return Bands(band.crop(box) for band in self.bands)

    def transpose(self, method: Image.Transpose) -> Bands:
        """Return every band mirrored or turned."""
        return Bands(band.transpose(method) for band in self.bands)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return np.stack([np.asarray(band) for band in self.bands], axis=-1)


Picture = Image.Image | Bands


def read_array(data: bytes, *, channels: int, most: int) -> Picture:
    """Return the picture in an `.npy` file: mode "L" of one band, "RGB" of three, `Bands` of as many as `channels`.

    Nothing in it is executed. most: the greatest number of values that is read.

    Raises UserError for another type, number of axes, size, or number of bands, and ValueError for a damaged file.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    if dtype != np.uint8 or len(shape) not in (2, 3) or not all(shape):
        raise UserError(f"an array of {dtype} {shape}; save uint8, (height, width) or (height, width, bands)")
    bands = shape[2] if len(shape) == 3 else 1
    if bands not in (1, 3, channels):  # before a picture is made of each, for a small file may have millions
        raise UserError(f"{bands} bands, where the network reads {channels} channels; give pictures of {channels}")
    values = int(np.prod(shape, dtype=object))
    if values > most:
        raise UserError(f"an array {shape} of more than the {most:,} values that are allowed; make it smaller or leave it out")
    if len(data) - file.tell() != values:
        raise ValueError(f"{len(data) - file.tell()} bytes of values, where {shape} needs {values}")
    pixels = np.frombuffer(data, np.uint8, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")
    return _to_picture(pixels.reshape(*shape[:2], -1))


def _to_picture(pixels: np.ndarray) -> Picture:
    match pixels.shape[-1]:
        case 1:
            return Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
        case 3:
            return Image.fromarray(np.ascontiguousarray(pixels))
        case count:
            return Bands(Image.fromarray(np.ascontiguousarray(pixels[..., band])) for band in range(count))
