"""Read an image file: enters a path, leaves an upright 8-bit picture, "RGB" or "L", or an `ImageError` that says what is wrong.

Training, evaluation and prediction all come through here, so that a file gives the same pixels everywhere. What is decided for all:

- Transparent pixels lie on white, as on a page. The colours that files keep under transparency are arbitrary.
- 16-bit grey is scaled so that 65535 becomes 255, and rounded. 32-bit grey is refused, for its range isn't known.
- CMYK is converted by the plain formula and colour profiles aren't applied, as in the pipelines that made the published weights.
- Animated files give their first frame, and a picture stands as its EXIF orientation says.
- A picture of which a part is missing is an error, never a picture that is grey below.
"""

from __future__ import annotations

import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inceptions.errors import ImageError, UserError

MAX_PIXELS = 178_956_970  # where Pillow itself gives up: twice a quarter of a gibibyte of RGB
MODES = {1: "L", 3: "RGB"}  # by number of channels

# Formats of pictures that are pixels and that Pillow decodes by itself; PostScript, for one, would start another program.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")
# What Pillow's readers raise on a damaged file; most of them parse without checking.
_DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RuntimeError),
    *(struct.error, zlib.error),
)
_REMEDY = "replace the file or leave it out"


def read_image(path: Path, *, channels: int = 3) -> Image.Image:
    """Return the picture in `path`: mode "RGB" for 3 channels and "L" for 1.

    Raises ImageError, one line that begins with the path, for a file that is missing, empty, no image, too large, cut off or damaged.
    """
    # Pillow warns about metadata and size; what matters of that is checked here. Threads may lift each other's filter: it is Pillow's only.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        image = _load(path)
        try:
            return convert_image(image, channels=channels)
        except UserError as error:
            raise _error(path, str(error)) from None


def _load(path: Path) -> Image.Image:
    """Return the first frame of the file, whole, as Pillow decodes it."""
    _check_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_size(path, image.size)
            image.load()
            return image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise _error(path, f"no image, or one without a whole header; {_REMEDY} (read are {', '.join(_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise _error(path, _too_large("the picture has")) from error
    except _DAMAGE as error:
        detail = getattr(error, "strerror", None) or error
        raise _error(path, f"cut off or damaged ({detail}); {_REMEDY}") from error


def convert_image(image: Image.Image, *, channels: int = 3) -> Image.Image:
    """Return any Pillow picture upright in 8 bits: mode "RGB" for 3 channels and "L" for 1; the picture itself if it is so already.

    Raises UserError for pixels of which the range isn't known: 32-bit integers beyond 16 bits, and floats.
    """
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except _DAMAGE:
        pass  # damaged EXIF data don't make a picture unreadable; it is then as upright as it was stored
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    if image.mode == "F":
        raise UserError("32-bit float pixels, whose range isn't known; save it with 8 or 16 bits")
    if image.has_transparency_data:
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


def _check_size(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _error(path, _too_large(f"{width}x{height} pixels,"))


def _too_large(what: str) -> str:
    return f"{what} more than the {MAX_PIXELS:,} that are allowed; make the picture smaller or leave it out"


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Return grey of 0..65535 (modes "I;16", its variants, and "I") as "L": v * 255 / 65535, rounded."""
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise UserError("32-bit integer pixels, whose range isn't known; save it with 8 or 16 bits")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _error(path: Path, what: str) -> ImageError:
    return ImageError(" ".join(f"{path}: {what}".split("\n")).encode(errors="backslashreplace").decode())
