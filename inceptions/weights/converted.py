"""A published checkpoint as a model folder: enters a tag, fetches its file, leaves the folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from inceptions.data.transfer import Progress
from inceptions.extras import require
from inceptions.versions import now
from inceptions.weights.download import fetch_tag
from inceptions.weights.folder import save_model
from inceptions.weights.importer import import_tensors, name_outputs
from inceptions.weights.readers import read_tensors
from inceptions.weights.tags import Tag, class_names


def convert_tag(tag: Tag, folder: Path, progress: Progress | None = None) -> None:
    """Write the model folder of a tag, its checkpoint fetched if it isn't in the cache. Raises UserError, WeightsError."""
    if tag.framework.startswith("tf_"):  # before what it needs is missed behind a long download
        require("tensorflow", "tensorflow", needed_for=f"reading {tag.name}, a TensorFlow checkpoint,")
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
