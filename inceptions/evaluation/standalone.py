"""What pages that are one file each have in common: enters a template or a picture, leaves HTML without a link to anything.

Names in a page may hold any bytes: they are shown as what they are, and what HTML means by their characters is escaped. Needs jinja2.
"""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from inceptions.data.stored import Stored
from inceptions.names import shown

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """Return how templates become pages."""
    from jinja2 import Environment

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)


def template_text(package: str, name: str) -> str:
    """Return the text of a template that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def picture_address(image: Image.Image, *, side_px: int) -> str:
    """Return a picture as an address that holds all of it, with a longer side of twice `side_px`, for fine screens, at most.

    A tiny picture is shown in whole pixels, about `side_px` large, and not blurred.
    """
    if max(image.size) < side_px:
        factor = side_px // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image = image.copy()
    image.thumbnail((2 * side_px, 2 * side_px))
    out = io.BytesIO()
    image.save(out, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return value if isinstance(value, Markup) or not isinstance(value, str | Path | Stored) else shown(value)
