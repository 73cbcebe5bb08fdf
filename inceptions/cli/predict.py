"""predict: from image files to a table on the terminal and a CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from inceptions.cli.terminal import Column, Download, err, out, print_json, print_table, say, tell, track
from inceptions.data.folders import find_images
from inceptions.errors import UserError
from inceptions.files import growing_file
from inceptions.inference.prediction import Prediction, column_names, row_of, write_rows

SHOWN = 20  # images, on a terminal
NAMED = 10  # files that can't be read


def run_prediction(
    sources: Sequence[str], model: str, *, output: Path | None, force: bool, as_json: bool, top_k: int, device: str | None, **settings: Any
) -> None:
    """Predict every image of `sources`, and print, and perhaps write, its classes; settings: more, as `inceptions.predict` takes them.

    Raises UserError, too, when no image at all can be read.
    """
    paths = [path for source in sources for path in find_images(source)]
    with growing_file(output, replace=force) if output else nullcontext() as write:
        with err.status("loading torch…"):
            from inceptions.devices import pick_device
            from inceptions.inference.predict import iterate_predictions
            from inceptions.weights.published import load_model

        picked = pick_device(device)
        with Download(model) as download:
            loaded = load_model(model, progress=download.step)
        top_k = min(top_k, len(loaded.card.classes)) or top_k
        found = iterate_predictions(loaded, paths, top_k=top_k, device=picked, **settings)
        if write:
            found = write_rows(found, write, top_k=top_k)
        with track("predicting", len(paths)) as advance:
            counted = Counted(found, advance)
            first = _show(counted, top_k=top_k, as_json=as_json, are_written=output is not None)
    if first:
        columns = (Column("file", "text"), Column("class", "text"), Column(""), Column("then", "text"))
        print_table(columns, map(_cells, first))
    _conclude(counted, output)


class Counted:
    """Predictions as they go by, with what is said of all of them in the end: how many of which class, and what couldn't be read."""

    def __init__(self, predictions: Iterable[Prediction], advance: Callable[[int], None]) -> None:
        self.predictions, self.advance = predictions, advance
        self.classes: Counter[str] = Counter()
        self.unreadable: list[Prediction] = []

    def __iter__(self) -> Iterator[Prediction]:
        for item in self.predictions:
            if item.error:
                self.unreadable.append(item)
            else:
                self.classes[item.classes[0]] += 1
            self.advance(1)
            yield item


def _show(predictions: Iterable[Prediction], *, top_k: int, as_json: bool, are_written: bool) -> list[Prediction]:
    """Print all predictions as they come; for a terminal return the first of them, which are shown when the progress bar is gone.

    are_written: they go into a file anyway, and a pipe or a log needn't have them too.
    """
    if as_json:
        print_json([_as_plain(item) for item in predictions])
    elif out.is_terminal or are_written:
        first = [item for place, item in enumerate(predictions) if place < SHOWN]
        return first if out.is_terminal else []
    else:
        columns = [Column(name) for name in column_names(top_k)]
        print_table(columns, (row_of(item, top_k=top_k) for item in predictions))
    return []


def _as_plain(item: Prediction) -> dict[str, Any]:
    classes = [{"class": name, "probability": p} for name, p in zip(item.classes, item.probabilities, strict=True)]
    return {"file": str(item.path), "classes": classes, "error": item.error}


def _cells(item: Prediction) -> tuple[str, str, str, str]:
    if item.error:
        return str(item.path), "unreadable", "", ""
    (first, best), *others = zip(item.classes, (100 * p for p in item.probabilities), strict=True)
    return str(item.path), first, f"{best:.1f} %", ", ".join(f"{name} {p:.1f}" for name, p in others[:3])


def _conclude(found: Counted, output: Path | None) -> None:
    count = found.classes.total()
    for item in found.unreadable[:NAMED]:
        tell(f"warning: left out: {item.path}: {item.error}", style="yellow")
    if found.unreadable:
        tell(f"{len(found.unreadable)} of {count + len(found.unreadable)} files can't be read and are left out", style="yellow")
    if count:
        commonest = ", ".join(f"{number} {name}" for name, number in found.classes.most_common(10))
        (say if out.is_terminal else tell)(f"{count} image{'s' if count > 1 else ''}: {commonest}")
    if output is not None:
        tell(f"all of them are in {output}")
    elif count > SHOWN and out.is_terminal:
        tell(f"the first {SHOWN} are shown; --output FILE.csv writes all")
    if not count:
        raise UserError("none of the images can be read")
