"""predict: from pictures to a table on the terminal, a file, and folders by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inceptions.cli.terminal import Column, Download, err, out, print_json_list, print_table, say, tell, tell_on, track
from inceptions.errors import UserError
from inceptions.inference.prediction import Prediction, column_names, row_of
from inceptions.inference.rows import FinishedError, RowFile, as_plain, check_output, kind_of, open_rows
from inceptions.inference.sorting import Sorter
from inceptions.inference.sources import check_sources, count_pictures, iterate_pictures
from inceptions.weights.card import ModelCard, read_card

SHOWN = 20  # images, on a terminal
NAMED = 10  # files that can't be read


@dataclass(frozen=True, slots=True)
class Output:
    """Where predictions go beside the terminal: a file, with vectors or without; folders by class; what is done where it is there."""

    path: Path | None
    embeddings: bool
    sorter: Sorter | None
    force: bool
    resume: bool


def run_prediction(
    sources: Sequence[str],
    model: str,
    *,
    output: Output,
    as_json: bool,
    top_k: int,
    engine: str | None,
    most_lost: float | None,
    device: str | None,
    batch_size: int | None,
    workers: int | None,
    on_error: Any,
) -> None:
    """Predict every image of `sources`, and print, and perhaps write, its classes.

    Raises UserError, too, when no image at all can be read.
    """
    try:
        _check_output(output, is_left_early=most_lost is not None)
    except FinishedError as done:
        tell(str(done))
        return
    check_sources(sources)
    from inceptions.inference.pipeline import iterate_predictions
    from inceptions.inference.predict import open_model
    from inceptions.weights.locate import find_model

    with Download(model) as download:
        folder = find_model(model, progress=download.step)
    _check_classes(read_card(folder), output, sources)  # before an engine is prepared, which takes a minute
    with err.status("loading the model…") as status:
        running, card = open_model(folder, engine=engine, device=device, most_lost=most_lost, tell=tell_on(status))
    size = batch_size or running.batch_size
    top_k = min(top_k, len(card.classes))
    settings = {"images": list(sources), "model": card.sha256 or str(folder), "top_k": top_k, "batch_size": size, "on_error": on_error}
    settings |= {"temperature": card.temperature} if card.temperature != 1 else {}
    settings |= {**running.settings, "preprocess": card.preprocess.to_dict()}
    with (
        _rows_in(output, settings, top_k=top_k, batch_size=size) as rows,
        track("predicting", count_pictures(sources) if err.is_terminal else None) as advance,
    ):
        pictures = iterate_pictures(sources)
        if rows is not None and rows.done:
            rows.skip(pictures)
            tell(f"going on after {rows.done} images")
            advance(rows.done)
        batches = iterate_predictions(running, card, pictures, top_k=max(1, top_k), on_error=on_error, batch_size=size, workers=workers)
        counted = Counted(batches, advance, rows, output.sorter)
        first = _show(counted, top_k=top_k, as_json=as_json, are_written=output.path is not None)
    if first:
        columns = (Column("file", "text"), Column("class", "text"), Column(""), Column("then", "text"))
        print_table(columns, map(_cells, first))
    if running.conclusion:
        tell(running.conclusion)
    _conclude(counted, output, earlier=rows.done if rows is not None else 0)


def _check_output(output: Output, *, is_left_early: bool) -> None:
    if output.embeddings and is_left_early:
        raise UserError("--embeddings are of the whole network, and images that leave it early have none: give one of the two")
    if output.path is not None:
        check_output(output.path, replace=output.force, resume=output.resume)
        kind_of(output.path, vectors=output.embeddings)
    elif output.embeddings:
        raise UserError("--embeddings needs a file to write the vectors into: --output FILE.parquet")
    elif output.resume:
        raise UserError("--resume goes on with a file that is half written: give --output FILE as before")


def _check_classes(card: ModelCard, output: Output, sources: Sequence[str]) -> None:
    if card.classes:
        if output.sorter is not None:
            output.sorter.check_classes(card.classes)
            output.sorter.check_sources(sources, card.classes)
        return
    if not output.embeddings:
        raise UserError(f"{card.network.name} ends in features and has no classes; --embeddings --output FILE.parquet writes its vectors")
    if output.sorter is not None:
        raise UserError(f"{card.network.name} ends in features and has no classes to put images into folders by; leave that out")


def _rows_in(output: Output, settings: dict[str, Any], *, top_k: int, batch_size: int) -> AbstractContextManager[RowFile | None]:
    """Return the file that was asked for, opened for rows; of None, there is no such file."""
    if output.path is None:
        return nullcontext()
    settings = {**settings, "embeddings": output.embeddings}
    how = {"vectors": output.embeddings, "replace": output.force, "resume": output.resume}
    return open_rows(output.path, settings, top_k=top_k, batch_size=batch_size, **how)


class Counted:
    """Predictions as they go by, to where they are written, with what is said of all of them in the end."""

    def __init__(
        self, batches: Iterable[list[Prediction]], advance: Callable[[int], None], rows: RowFile | None, sorter: Sorter | None
    ) -> None:
        self.batches, self.advance, self.rows, self.sorter = batches, advance, rows, sorter
        self.classes: Counter[str] = Counter()
        self.unreadable: list[Prediction] = []
        self.errors = 0

    def __iter__(self) -> Iterator[Prediction]:
        for batch in self.batches:
            for item in batch:
                self._count(item)
                if self.sorter is not None:
                    self.sorter.place(item)
            if self.rows is not None:
                self.rows.add(batch)
            self.advance(len(batch))
            yield from batch

    def _count(self, item: Prediction) -> None:
        if item.error:
            self.errors += 1
            if len(self.unreadable) < NAMED:
                self.unreadable.append(item)
        else:
            self.classes[item.classes[0] if item.classes else ""] += 1


def _show(predictions: Iterable[Prediction], *, top_k: int, as_json: bool, are_written: bool) -> list[Prediction]:
    """Print all predictions as they come; for a terminal return the first of them, which are shown when the progress bar is gone.

    are_written: they go into a file anyway, and a pipe or a log needn't have them too.
    """
    if as_json:
        print_json_list(as_plain(item) for item in predictions)
    elif out.is_terminal or are_written:
        first = [item for place, item in enumerate(predictions) if place < SHOWN]
        return first if out.is_terminal else []
    else:
        columns = [Column(name) for name in column_names(top_k)]
        print_table(columns, (row_of(item, top_k=top_k) for item in predictions))
    return []


def _cells(item: Prediction) -> tuple[str, str, str, str]:
    if item.error:
        return str(item.path), "unreadable", "", ""
    if not item.classes:
        return str(item.path), "", "", ""
    (first, best), *others = zip(item.classes, (100 * p for p in item.probabilities), strict=True)
    return str(item.path), first, f"{best:.1f} %", ", ".join(f"{name} {p:.1f}" for name, p in others[:3])


def _conclude(found: Counted, output: Output, *, earlier: int) -> None:
    count = found.classes.total()
    for item in found.unreadable:
        tell(f"warning: left out: {item.path}: {item.error}", style="yellow")
    if found.errors:
        tell(f"{found.errors} of {count + found.errors} files can't be read and are left out", style="yellow")
    if count:
        commonest = ", ".join(f"{number} {name}" for name, number in found.classes.most_common(10) if name)
        (say if out.is_terminal else tell)(f"{count} image{'s' if count > 1 else ''}{': ' if commonest else ''}{commonest}")
    if output.path is not None:
        tell(f"all of them are in {output.path}")
    elif count > SHOWN and out.is_terminal:
        tell(f"the first {SHOWN} are shown; --output FILE.csv writes all")
    if output.sorter is not None:
        tell(f"{'links to' if output.sorter.how == 'link' else 'copies of'} them are in {output.sorter.folder}, by class")
    if not count and not earlier:
        raise UserError("none of the images can be read" if found.errors else "no images were given")
