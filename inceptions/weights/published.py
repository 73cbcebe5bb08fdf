"""Models by tag or folder: enters `inception_v3.tv_in1k` or a path, leaves a model, fetched and converted once and kept in the cache.

Also `create_model` with weights, and the Hugging Face Hub: a model folder up, and down by `hf:organisation/repository`.
"""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from inceptions.data.transfer import MIRROR_VARIABLE, Progress
from inceptions.errors import ModelFolderError, UserError, WeightsError
from inceptions.files import OFFLINE_VARIABLE, cache_folder, cannot_write, is_offline
from inceptions.networks.modules import models
from inceptions.networks.registry import get_network
from inceptions.versions import now
from inceptions.weights import folder as folders
from inceptions.weights.adapters.catalog import find_adapter
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.download import fetch, fetch_tag, require_hub, split_repository
from inceptions.weights.folder import LoadedModel, save_model
from inceptions.weights.importer import import_tensors, name_outputs
from inceptions.weights.readers import read_tensors
from inceptions.weights.shipped import shipped_models
from inceptions.weights.tags import Tag, class_names, get_tag

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
        raise ModelFolderError(f"{source} is not a model folder: there is no such folder; give one, or a tag (`inceptions list --weights`)")
    shipped = shipped_models()
    return shipped[source] if source in shipped else _kept(get_tag(source), progress)


def load_model(source: str | Path, *, aux: bool = False, progress: Progress | None = None) -> LoadedModel:
    """Return the model that a folder, a tag or `hf:organisation/repository` means, in evaluation mode on the CPU.

    aux: with its auxiliary heads. Raises UserError: nothing such, a fetch that failed, or a folder that is not whole.
    """
    return folders.load_model(find_model(source, progress=progress), aux=aux)


def create_model(name: str, *, weights: str | Path | None = None, **settings: Any) -> Any:
    """Return a network by name, as `networks.modules.models.create_model` does; with `weights`, those of a tag or a model folder.

    With weights, num_classes other than theirs gives a fresh classifier on them, 0 none; numerics are those of the weights.
    Raises UserError: weights of another network, or settings that would need other tensors.
    """
    if weights is None:
        return models.create_model(name, **settings)
    loaded = load_model(weights, aux=bool(settings.get("aux")))
    network = loaded.card.network
    if get_network(name).name != network.name:
        raise WeightsError(f"{weights} holds weights of {network.name}, not of {name}")
    if settings.get("in_chans", network.in_channels) != network.in_channels:
        raise WeightsError(f"{weights} reads {network.in_channels} channels; in_chans is {settings['in_chans']}")
    module = models.create_model(network, **{"in_chans": network.in_channels, **settings})
    fresh = settings.get("num_classes") not in (None, network.classes)
    ours = {key: value for key, value in module.state_dict().items() if not (fresh and "classifier." in key)}
    theirs = loaded.module.state_dict()
    missing = [key for key in ours if key not in theirs]
    if missing:
        raise WeightsError(f"{weights} has no tensor {missing[0]!r} ({len(missing)} missing); it can't be used with these settings")
    module.load_state_dict({key: theirs[key] for key in ours}, strict=False)
    return module


def _kept(tag: Tag, progress: Progress | None) -> Path:
    """Return the model folder of a tag in the cache, made when it is not there; two processes make it once."""
    folder = cache_folder() / "models" / f"{tag.name}-{_fingerprint(tag)}"
    if (folder / CARD_NAME).is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if not (folder / CARD_NAME).is_file():
                _convert(tag, folder, progress)
    except OSError as error:
        raise cannot_write(folder, error) from None
    return folder


def _fingerprint(tag: Tag) -> str:
    """Return what changes with all that a converted tag is made of, so that one that was mended is converted anew."""
    adapter = find_adapter(tag.framework, tag.network)
    made_of = (CONVERSION, repr(tag), repr(adapter.network), class_names(tag))
    return hashlib.blake2b(repr(made_of).encode(), digest_size=4).hexdigest()


def _convert(tag: Tag, folder: Path, progress: Progress | None) -> None:
    found = read_tensors(fetch_tag(tag, progress=progress)[0])
    module, audit = import_tensors(found.tensors, framework=tag.framework, network=tag.network)
    provenance = {
        "made_by": f"inceptions {version('inceptions')}",
        "tag": tag.name,
        "url": tag.url,
        "sha256": tag.sha256,
        "verified_by": tag.verified or "nothing: it came over http, and its hash is known in part",
        "date": now(),
        "framework": tag.framework,
        "numerics_because": audit.numerics_because,
        "notes": [*found.notes, *audit.notes, *([tag.notes] if tag.notes else [])],
    }
    names = class_names(tag) if audit.classes == tag.classes else ()
    published = {"published_top1": tag.top1, "published_top5": tag.top5}
    save_model(
        module,
        folder,
        preprocess=tag.preprocess,
        classes=names or name_outputs(audit.classes),
        licence=tag.licence,
        provenance=provenance,
        metrics={name: value for name, value in published.items() if value is not None},
    )


def push_model(folder: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload a model folder to the Hugging Face Hub as `organisation/repository`, and return its address.

    Raises ModelFolderError when the folder is not whole, UserError without huggingface_hub or without leave to write there.
    """
    folders.load_model(folder)  # only a whole folder is worth sending
    hub = require_hub()
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=["model.json", "model.safetensors"])
    except (hub.errors.HfHubHTTPError, OSError) as error:
        raise UserError(f"{repository} could not be written on the Hub ({_line(error)}); log in with `hf auth login`") from None
    return f"https://huggingface.co/{repository}"


def _from_hub(source: str, progress: Progress | None) -> Path:
    """Return the model folder `hf:organisation/repository`, or `...@revision`, in the cache of huggingface_hub, or as the mirror has it."""
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
            raise UserError(f"{source} could not be fetched from the Hub ({_line(error)}); {hint}") from None
    read_card(folder)
    return folder


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
