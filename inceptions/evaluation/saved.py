"""What was predicted of each image, as a table: enters an `Evaluation`, leaves `predictions.parquet`, and back.

Every number of a report can be worked out from it. Needs pyarrow (`inceptions[report]`).

    models       the model's name, or several with " + " between
    crops        of each image
    index        place of the image in the set that was scored; image: its file
    true, predicted   names of classes; confidence: softmax of the predicted one, 0 to 1
    loss         cross-entropy in nats; rank: how many classes were likelier than the true one
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inceptions.evaluation.evaluate import Evaluation
from inceptions.evaluation.score import Score


def write_predictions(found: Evaluation, file: Path) -> None:
    """Write the predictions of every row of `found` as one Parquet file."""
    import pyarrow as pa
    from pyarrow import parquet

    names = np.array(found.classes, dtype=object)
    tables = []
    for row in found.rows:
        score = row.score
        columns = {
            "models": pa.array([" + ".join(row.models)] * score.count).dictionary_encode(),
            "crops": np.full(score.count, row.crops),
            "index": score.indices,
            "image": [str(found.paths[index]) for index in score.indices],
            "true": pa.array(names[score.labels], pa.string()).dictionary_encode(),
            "predicted": pa.array(names[score.predicted], pa.string()).dictionary_encode(),
            "confidence": score.confidence,
            "loss": score.losses,
            "rank": score.ranks,
        }
        tables.append(pa.table(columns))
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
    parquet.write_table(whole.replace_schema_metadata({"classes": "\n".join(found.classes)}), file)


def read_predictions(file: Path) -> tuple[tuple[str, ...], dict[tuple[str, int], Score]]:
    """Return the classes, and the score of each (models, crops) in a file that `write_predictions` wrote."""
    from pyarrow import parquet

    table = parquet.read_table(file)
    classes = tuple(table.schema.metadata[b"classes"].decode().split("\n"))
    number = {name: place for place, name in enumerate(classes)}
    frame = {name: np.array(table[name].to_pylist()) for name in table.column_names}
    scores = {}
    for models, crops in dict.fromkeys(zip(frame["models"].tolist(), frame["crops"].tolist(), strict=True)):
        mine = (frame["models"] == models) & (frame["crops"] == crops)
        labels, predicted = (np.array([number[name] for name in frame[column][mine]]) for column in ("true", "predicted"))
        indices, confidence, losses, ranks = (frame[name][mine] for name in ("index", "confidence", "loss", "rank"))
        scores[models, int(crops)] = Score(indices, labels, predicted, confidence, losses, ranks)
    return classes, scores
