"""Read an image: enters a path or a `Stored`, leaves an upright 8-bit picture, or an `ImageError` that says what is wrong.

Training, evaluation and prediction all come through here, so that a file gives the same pixels everywhere. What is decided for all:

- Transparent pixels lie on white, as on a page. The colours that files keep under transparency are arbitrary.
- 16-bit grey is scaled so that 65535 becomes 255, and rounded. 32-bit grey is refused, for its range isn't known.
- CMYK is converted by the plain formula and colour profiles aren't applied, as in the pipelines that made the published weights.
- Animated files give their first frame, and a picture stands as its EXIF orientation says.
- A picture of which a part is missing is an error, never a picture that is grey below.
- Four channels are RGB and transparency, which is then an input and lies on nothing. Files that end in .npy hold any number of bands.

Evaluation and prediction decode every pixel. Training may ask for a JPEG at a half, a quarter or an eighth of its size, which libjpeg works
out of the same file in a fraction of the time; see `read_image`.
"""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, overload

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from inceptions.data.bands import SUFFIX, Bands, Picture, read_array
from inceptions.data.stored import Stored
from inceptions.errors import DataError, ImageError, TooManyPixelsError, UserError

MAX_PIXELS = 178_956_970  # where Pillow itself gives up: twice a quarter of a gibibyte of RGB
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by number of channels; pictures with others are `Bands`

Reduction = Callable[[tuple[int, int]], int]  # width and height of the upright picture, to the divisor that it may be read at: 1, 2, 4 or 8

_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values where width and height change places

# Formats of pictures that are pixels and that Pillow decodes by itself; PostScript, for one, would start another program.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
# What Pillow's readers raise on a damaged file; most of them parse without checking.
_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError),
    *(struct.error, zlib.error),
)
_REMEDY = "replace the file or leave it out"


@overload
def read_image(
    path: Path | Stored, *, channels: Literal[1, 3] = 3, reduction: Reduction | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image: ...
@overload
def read_image(path: Path | Stored, *, channels: int, reduction: Reduction | None = None, max_pixels: int = MAX_PIXELS) -> Picture: ...
def read_image(path: Path | Stored, *, channels: int = 3, reduction: Reduction | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture in `path`: mode "L" for 1 channel, "RGB" for 3, "RGBA" or `Bands` for 4, `Bands` for others.

    reduction: asked, for a JPEG, by how much the picture may be smaller than it is; its answer divides width and height, rounded up.
    max_pixels: of a picture that has more nothing is decoded; it can't be raised above MAX_PIXELS.

    Raises ImageError, one line that begins with the path, for a file that is missing, empty, no image, too large, cut off or damaged;
    DataError where what a `Stored` lies in can't be reached, which is no fault of the picture.
    """
    # Pillow warns about metadata and size; what matters of that is checked here. Threads may lift each other's filter: it is Pillow's only.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            if str(path).lower().endswith(SUFFIX):
                picture = _load_array(path, channels, max_pixels)
                return picture if isinstance(picture, Bands) else convert_image(picture, channels=channels)
            return convert_image(_keep_samples(_load(path, reduction, max_pixels), channels), channels=channels)
        except (ImageError, DataError):
            raise
        except UserError as error:
            raise _error(path, str(error)) from None


def _load(path: Path | Stored, reduction: Reduction | None, max_pixels: int) -> Image.Image:
    """Return the first frame of the file, whole, as Pillow decodes it."""
    file = _open(path)
    try:
        with Image.open(file, formats=_FORMATS) as image:
            _check_size(path, image.size, max_pixels)
            if reduction and image.format in ("JPEG", "MPO"):  # MPO is what telephones write: JPEGs in a row
                _reduce(image, reduction)
            image.load()
            return image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _error(path, f"no image, or one without a whole header; {_REMEDY} (read are {', '.join(_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, "the picture has", min(max_pixels, MAX_PIXELS)) from error
    except _DAMAGE as error:
        raise _error(path, _damaged(error)) from error


def _reduce(image: Image.Image, reduction: Reduction) -> None:
    """Have the JPEG, of which only the header is read so far, decoded at a fraction of its size."""
    try:
        lying = image.getexif().get(_ORIENTATION) in _LYING
    except _DAMAGE:
        lying = False
    width, height = image.size
    divisor = reduction((height, width) if lying else (width, height))
    if divisor > 1:
        image.draft(None, (max(1, width // divisor), max(1, height // divisor)))


def _load_array(path: Path | Stored, channels: int, max_pixels: int) -> Picture:
    file = _open(path)
    try:
        if isinstance(file, Path) and file.stat().st_size > 4 * MAX_PIXELS:
            raise _too_large(path, "a file of more bytes, and so of values,", MAX_PIXELS)
        data = file.read_bytes() if isinstance(file, Path) else file.getvalue()
        return read_array(data, channels=channels, most=3 * max_pixels)
    except UserError:
        raise
    except _DAMAGE as error:
        raise _error(path, _damaged(error)) from error


def _open(path: Path | Stored) -> Path | io.BytesIO:
    """Return what can be read from, known to be there and not empty."""
    if isinstance(path, Path):
        _check_file(path)
        return path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _error(path, f"can't be read ({getattr(error, 'strerror', None) or error})") from error
    if not data:
        raise _error(path, f"an empty file (0 bytes); {_REMEDY}")
    return io.BytesIO(data)


def _keep_samples(image: Image.Image, channels: int) -> Image.Image:
    """Return the picture; raises UserError where four channels are wanted, and Pillow has left out one that the file has."""
    if channels == 4 and isinstance(image, TiffImagePlugin.TiffImageFile):
        samples = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
        if samples > len(image.getbands()):
            raise UserError(f"a TIFF of {samples} samples, the last of which isn't said to be transparency; give {SUFFIX} arrays")
    return image


def convert_image(image: Image.Image, *, channels: int = 3) -> Image.Image:
    """Return any Pillow picture upright in 8 bits: mode "L" for 1 channel, "RGB" for 3, "RGBA" for 4; itself if it is so already.

    Raises UserError for pixels of unknown range, 32-bit integers beyond 16 bits and floats, and for other numbers of channels.
    """
    if channels not in MODES:
        raise UserError(
            f"a picture of {len(image.getbands())} channels, where the network reads {channels}; give {SUFFIX} arrays of {channels}"
        )
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except _DAMAGE:
        pass  # damaged EXIF data don't make a picture unreadable; it is then as upright as it was stored
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    if image.mode == "F":
        raise UserError("32-bit float pixels, whose range isn't known; save it with 8 or 16 bits")
    if image.has_transparency_data and channels != 4:
        image = _on_white(image)
    mode = MODES[channels]
    try:
        return image if image.mode == mode else image.convert(mode)
    except ValueError as error:
        raise UserError(f"{error}; save it as RGB or as grey") from error


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise _error(path, "no such file; check the name") from None
    except (OSError, ValueError) as error:
        raise _error(path, f"can't be opened ({getattr(error, 'strerror', None) or error}); check the name") from error
    if stat.S_ISDIR(status.st_mode):
        raise _error(path, "a folder, where an image file is needed; give a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise _error(path, "not an ordinary file; give an image file")
    if status.st_size == 0:
        raise _error(path, f"an empty file (0 bytes); {_REMEDY}")


def _check_size(path: Path | Stored, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(path, f"{width}x{height} pixels,", max_pixels)


def _too_large(path: Path | Stored, what: str, most: int) -> TooManyPixelsError:
    return TooManyPixelsError(f"{path}: {what} more than the {most:,} that are allowed; make the picture smaller or leave it out")


def _damaged(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return f"it may not be read ({error.strerror}); let it be read, or leave it out"
    return f"cut off or damaged ({getattr(error, 'strerror', None) or error}); {_REMEDY}"


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Return grey of 0..65535 (modes "I;16", its variants, and "I") as "L": v * 255 / 65535, rounded."""
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise UserError("32-bit integer pixels, whose range isn't known; save it with 8 or 16 bits")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _error(path: Path | Stored, what: str) -> ImageError:
    return ImageError(f"{path}: {what}")
