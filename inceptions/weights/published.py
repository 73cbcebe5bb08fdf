"""Models by tag or folder: enters `inception_v3.tv_in1k` or a path, leaves a model; `create_model` with weights; the way to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inceptions.data.transfer import Progress
from inceptions.errors import UserError, WeightsError
from inceptions.networks.modules import models
from inceptions.networks.registry import get_network
from inceptions.weights import folder as folders
from inceptions.weights.download import require_hub
from inceptions.weights.folder import LoadedModel
from inceptions.weights.locate import find_model, first_line


def load_model(source: str | Path, *, aux: bool = False, calibrated: bool = True, progress: Progress | None = None) -> LoadedModel:
    """Return the model that a folder, a tag or `hf:organisation/repository` means, in evaluation mode on the CPU.

    aux: with its auxiliary heads. calibrated: with logits divided by the card's temperature; not so, with the weights as they were trained.
    Raises UserError: nothing such, a fetch that failed, or a folder that is not whole.
    """
    return folders.load_model(find_model(source, progress=progress), aux=aux, calibrated=calibrated)


def create_model(name: str, *, weights: str | Path | None = None, **settings: Any) -> Any:
    """Return a network by name, as `networks.modules.models.create_model` does; with `weights`, those of a tag or a model folder.

    With weights, num_classes other than theirs gives a fresh classifier on them, 0 none; numerics are those of the weights,
    which are as they were trained: `load_model` gives a network that divides its logits by the card's temperature.
    Raises UserError: weights of another network, or settings that would need other tensors.
    """
    if weights is None:
        return models.create_model(name, **settings)
    loaded = load_model(weights, aux=bool(settings.get("aux")), calibrated=False)
    network = loaded.card.network
    if get_network(name).name != network.name:
        raise WeightsError(f"{weights} holds weights of {network.name}, not of {name}")
    if settings.get("in_chans", network.in_channels) != network.in_channels:
        raise WeightsError(f"{weights} reads {network.in_channels} channels; in_chans is {settings['in_chans']}")
    keywords: dict[str, Any] = {"in_chans": network.in_channels, **settings}
    module: Any = models.create_model(network, **keywords)
    fresh = settings.get("num_classes") not in (None, network.classes)
    ours = {key: value for key, value in module.state_dict().items() if not (fresh and "classifier." in key)}
    theirs = loaded.module.state_dict()
    missing = [key for key in ours if key not in theirs]
    if missing:
        raise WeightsError(f"{weights} has no tensor {missing[0]!r} ({len(missing)} missing); it can't be used with these settings")
    module.load_state_dict({key: theirs[key] for key in ours}, strict=False)
    return module


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
        raise UserError(f"{repository} could not be written on the Hub ({first_line(error)}); log in with `hf auth login`") from None
    return f"https://huggingface.co/{repository}"
