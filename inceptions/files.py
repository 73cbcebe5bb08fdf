"""Writing files so that nothing is ever half there: enters a path and text, leaves the whole file or the old one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from inceptions.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` by way of a file beside it, which takes its place at the end.

    Raises UserError when the folder can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8", newline="") as file:
            scratch = Path(file.name)
            file.write(text)
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}); give another place") from None
