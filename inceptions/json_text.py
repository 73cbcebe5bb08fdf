"""Values as JSON that every reader takes: enters what Python's json knows, leaves text, with null where a number is not finite."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json(values: Any) -> str:
    """Return the text, which UTF-8 can hold: bytes of a file's name that are no UTF-8 are escaped, as Python's json reads them again."""
    text = json.dumps(finite(values), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace").decode()


def finite(value: Any) -> Any:
    """Return the value with None in place of each number that is not finite; JSON has no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
