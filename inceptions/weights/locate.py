"""Where a model is: enters `inception_v3.tv_in1k`, a path or `hf:organisation/repository`, leaves its folder, fetched and converted once.

Needs no torch, unless a checkpoint has to be converted.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from filelock import FileLock

from inceptions.errors import UnknownModelError, UserError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, cannot_write, is_offline
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.shipped import shipped_models

if TYPE_CHECKING:  # tables of all that is published are read where a tag is asked for
    from inceptions.data.transfer import Progress
    from inceptions.weights.tags import Tag

CONVERSION = 1
"""Raised when what a converted checkpoint holds is mended otherwise than in the tables of tags and networks."""


def find_model(source: str | Path, *, progress: Progress | None = None) -> Path:
    """Return the model folder that `source` means: a folder, a tag such as `xception.keras_in1k`, or `hf:organisation/repository`.

    A few come with the package; another tag's checkpoint is fetched, converted and kept when it is not there yet. On the Hub,
    `@revision` may follow: a branch, a tag or a commit. Raises UserError as these do.
    """
    path = Path(source)
    if isinstance(source, Path) or path.exists() or "/" in source.removeprefix("hf:"):
        return _from_hub(str(source), progress) if str(source).startswith("hf:") else path
    if "." not in source:
        raise UnknownModelError(f"{source} is not a model folder: there is no such folder; give one, or a tag")
    shipped = shipped_models()
    if source in shipped:
        return shipped[source]
    from inceptions.weights.tags import get_tag

    return _kept(get_tag(source), progress)


def _kept(tag: Tag, progress: Progress | None) -> Path:
    """Return the model folder of a tag in the cache, made when it is not there; two processes make it once."""
    folder = cache_folder() / "models" / f"{tag.name}-{_fingerprint(tag)}"
    if (folder / CARD_NAME).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not (folder / CARD_NAME).is_file():
                from inceptions.weights.converted import convert_tag

                convert_tag(tag, folder, progress)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def _fingerprint(tag: Tag) -> str:
    """Return what changes with all that a converted tag is made of, so that one that was mended is converted anew."""
    from inceptions.weights.adapters.catalog import find_adapter
    from inceptions.weights.tags import class_names

    adapter = find_adapter(tag.framework, tag.network)
    made_of = (CONVERSION, repr(tag), repr(adapter.network), class_names(tag))
    return hashlib.blake2b(repr(made_of).encode(), digest_size=4).hexdigest()


def _from_hub(source: str, progress: Progress | None) -> Path:
    """Return the model folder `hf:organisation/repository`, or `...@revision`, in the cache of huggingface_hub, or as the mirror has it."""
    from inceptions.data.transfer import MIRROR_VARIABLE
    from inceptions.weights.download import fetch, require_hub, split_repository

    repository, revision = split_repository(source.removeprefix("hf:"))
    if os.environ.get(MIRROR_VARIABLE):
        named = f"hf:{repository}@{quote(revision or 'main', safe='')}"
        fetch(f"{named}/{WEIGHTS_NAME}", progress=progress)
        folder = fetch(f"{named}/{CARD_NAME}").parent
    else:
        hub = require_hub()
        try:
            files = [CARD_NAME, WEIGHTS_NAME]
            folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=files, local_files_only=is_offline()))
        except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError, OSError) as error:
            hint = f"{OFFLINE_VARIABLE} is set; unset it" if is_offline() else "check the name and the connection"
            raise UserError(f"{source} could not be fetched from the Hub ({first_line(error)}); {hint}") from None
    read_card(folder)
    return folder


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]
