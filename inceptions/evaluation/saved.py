"""What was predicted of each image, as a table: enters scores, leaves `predictions.parquet`, and back.

Every number of a report can be worked out from it. Needs pyarrow (`inceptions[report]`). Columns:

- models, crops: what was scored; the names of models that were averaged have " + " between them
- index, image: the place in the set, and the file
- true, predicted: names of classes; confidence: softmax of the predicted one, 0 to 1
- loss: cross-entropy in nats; rank: how many classes were likelier than the true one

Of images without labels, true, loss and rank are null; predicted is where the network gives nan, and confidence and loss are nan. Names are
as `inceptions.names.shown` gives them; those of the classes, as they are, lie in the file's metadata as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inceptions.data.stored import Stored
from inceptions.errors import UserError
from inceptions.evaluation.score import NO_CLASS, Predictions, Score
from inceptions.files import whole_file
from inceptions.names import shown

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, int]
"""Names of models, and the number of crops."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds: class names, names of the images by their place, and a score of each of what was compared, in order.

    known_by: what its writer knows it again by; empty where nothing was said.
    """

    classes: tuple[str, ...]
    images: dict[int, str]
    scores: dict[Key, Score]
    known_by: str = ""


def write_predictions(
    scores: Mapping[Key, Score] | Mapping[Key, Predictions],
    classes: tuple[str, ...],
    paths: Sequence[Path | Stored],
    file: Path,
    *,
    known_by: str = "",
) -> None:
    """Write the predictions of every score as one Parquet file; `paths` are those that the scores' indices mean.

    known_by: what the writer will know it again by.
    """
    import pyarrow as pa
    from pyarrow import parquet

    class_names, tables = _texts([*map(shown, classes)]), []
    for (models, crops), score in scores.items():
        labels = score.labels if isinstance(score, Score) else np.full(score.count, NO_CLASS)
        columns = {
            "models": _names(np.zeros(score.count), _texts([shown(models)])),
            "crops": _numbers(np.full(score.count, crops)),
            "index": _numbers(score.indices),
            "image": _texts([shown(paths[index]) for index in score.indices]),
            "true": _names(labels, class_names),
            "predicted": _names(score.predicted, class_names),
            "confidence": _numbers(score.confidence),
            "loss": _numbers(score.losses) if isinstance(score, Score) else pa.nulls(score.count, pa.float32()),
            "rank": _numbers(score.ranks) if isinstance(score, Score) else pa.nulls(score.count, pa.int64()),
        }
        tables.append(pa.table(columns))
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    with whole_file(file) as scratch, scratch.open("wb") as out:  # pyarrow itself opens no name that is no UTF-8
        parquet.write_table(whole.replace_schema_metadata({"class_names": json.dumps(classes), "known_by": known_by}), out)


def _names(places: np.ndarray, names: pa.Array) -> pa.Array:
    """Return the names at `places` (N,) as a column; NO_CLASS gives null."""
    import pyarrow as pa

    held = np.packbits(places != NO_CLASS, bitorder="little")
    indices = pa.Array.from_buffers(pa.int32(), len(places), [pa.py_buffer(held), pa.py_buffer(places.astype(np.int32))])
    return pa.DictionaryArray.from_arrays(indices, names)


def _numbers(values: np.ndarray) -> pa.Array:
    """Return numbers (N,) as a column, by their bytes: `pa.array` imports pandas where there is one, which takes half a second."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _texts(values: Sequence[str]) -> pa.Array:
    """Return texts as a column, by their bytes."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def read_predictions(file: Path) -> Saved:
    """Return what `write_predictions` wrote. Raises UserError where the images have no labels."""
    from pyarrow import parquet

    with file.open("rb") as content:
        table = parquet.read_table(content)
    if table["true"].null_count:
        raise UserError(f"{file}: predictions of images without labels, which no score can be made of; give some of labelled images")
    metadata = table.schema.metadata
    classes = tuple(json.loads(metadata[b"class_names"]) if b"class_names" in metadata else metadata[b"classes"].decode().split("\n"))
    number = {**{shown(name): place for place, name in enumerate(classes)}, None: NO_CLASS}
    frame = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    scores = {}
    for models, crops in dict.fromkeys(zip(frame["models"].tolist(), frame["crops"].tolist(), strict=True)):
        mine = (frame["models"] == models) & (frame["crops"] == crops)
        labels, predicted = (np.array([number[name] for name in frame[column][mine]]) for column in ("true", "predicted"))
        indices, confidence, losses, ranks = (frame[name][mine] for name in ("index", "confidence", "loss", "rank"))
        scores[models, int(crops)] = Score(indices, labels, predicted, confidence, losses, ranks)
    images = dict(zip(frame["index"].tolist(), frame["image"].tolist(), strict=True))
    return Saved(classes, images, scores, metadata.get(b"known_by", b"").decode())
