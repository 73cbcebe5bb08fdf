"""evaluate: from models and labelled images to a table of errors, costs and intervals; without labels, to predictions alone."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inceptions.cli.terminal import Cell, Column, Download, err, print_json, print_table, tell, track
from inceptions.cli.together import Together
from inceptions.data.folders import load_splits, name_source
from inceptions.data.splits import Sample, Splits
from inceptions.data.unlabelled import find_unlabelled
from inceptions.errors import DataError, UserError
from inceptions.extras import REPORT_MODULES, require
from inceptions.files import new_folder, new_path
from inceptions.names import shown

if TYPE_CHECKING:
    from inceptions.evaluation.evaluate import Evaluation, Row
    from inceptions.evaluation.interval import Interval
    from inceptions.evaluation.measured import Measured
    from inceptions.evaluation.score import Predictions, Score

Part = Literal["auto", "test", "val", "train", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of an evaluation."""

    models: tuple[str, ...]
    data: str
    crops: tuple[int, ...]
    protocol: str
    part: Part
    split_seed: int | None
    batch_size: int
    workers: int | None
    engine: str | None
    most_lost: float | None
    device: str | None
    output: Path | None
    explain: bool = False
    calibrated: bool = True


def read_crops(text: str) -> tuple[int, ...]:
    """Return the numbers in "1,10,144"; UserError when they are none."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not set(numbers) <= {1, 2, 6, 10, 12, 144}:
        raise UserError(f"--crops is {text!r}; give 1, 2, 6, 10, 12 or 144, or several with commas between")
    return numbers


def run_evaluation(options: Options, *, as_json: bool) -> None:
    """Evaluate the models, print the table, and write the predictions and the report; of several processes, only the first does."""
    with Together() as together, ExitStack() as stack:
        listed = together.do(lambda: _list_images(options))
        together.do(lambda: _check_machine(options))
        folder = together.do(lambda: stack.enter_context(new_folder(_place(options))) if together.is_first else Path())
        models = together.do(lambda: _load_models(options))
        measured = together.do(lambda: _choose_images(options, listed, models))
        found = _whole(together, together.do(lambda: _evaluate(options, measured, models, together.part)))
        if together.is_first and measured.classes:
            _conclude(found, options, measured, models, folder, as_json=as_json)
        elif together.is_first:
            _conclude_unlabelled(found, options, measured, folder, as_json=as_json)


def _place(options: Options) -> Path:
    return options.output or new_path(Path("runs"), f"evaluate-{name_source(options.data)}")


def _list_images(options: Options) -> Splits | tuple[Sample, ...]:
    """Return the images in their parts, or those without labels. Raises UserError for what can be told before anything is fetched."""
    from inceptions.evaluation.protocols import check_protocol

    check_protocol(options.protocol)
    try:
        with err.status("reading the list of images…"):
            return load_splits(options.data, seed=options.split_seed or 0)
    except DataError:
        samples = find_unlabelled(options.data)
        if not samples:
            raise
    folders = f"{options.data} has {len(samples)} pictures and no folder of pictures for each class"
    if options.part not in ("auto", "all"):
        raise UserError(f"--part {options.part}: {folders}, so there are no parts of it; leave out --part, and all are predicted")
    nothing = "so nothing can be measured; only predictions are written, and no report.html"
    tell(f"note: {folders}, {nothing}")
    return samples


def _check_machine(options: Options) -> None:
    """Raise UserError where the device or a library is missing, before anything is made or fetched."""
    with err.status("loading torch…"):
        from inceptions.devices import pick_device

    require("report", *REPORT_MODULES, needed_for="evaluate")
    if options.explain:
        require("explain", "captum", needed_for="evaluate --explain")
    pick_device(options.device)


def _load_models(options: Options) -> dict[str, Any]:
    """Return the models by name."""
    from inceptions.inference.evaluate import load_for

    models = {}
    for name in options.models:
        with Download(name) as download:
            how = {"engine": options.engine, "device": options.device, "most_lost": options.most_lost, "calibrated": options.calibrated}
            models[name] = load_for(name, **how, progress=download.step)
    if options.explain:
        from inceptions.explain.attribution import check_explainable

        for model in models.values():
            check_explainable(model.card)
    return models


def _engines(models: dict[str, Any]) -> dict[str, str]:
    """Return what runs each model, in words."""
    found = {name: getattr(model, "engine", None) for name, model in models.items()}
    return {name: str(engine or "torch in float32") for name, engine in found.items()}


def _temperatures(options: Options, models: dict[str, Any]) -> list[str]:
    """Return in words what the logits of each model are divided by, where its folder has a temperature."""
    held = {name: model.card.temperature for name, model in models.items() if model.card.temperature != 1}
    return [f"{name}: {value:.3g}{'' if options.calibrated else ', left aside (--uncalibrated)'}" for name, value in held.items()]


def _choose_images(options: Options, listed: Splits | tuple[Sample, ...], models: dict[str, Any]) -> Measured:
    from inceptions.evaluation.measured import Measured, choose_images

    if not isinstance(listed, Splits):
        return Measured("all", (), listed, len(listed), (), dict.fromkeys(models))
    cards = {name: model.card for name, model in models.items()}
    return choose_images(options.data, listed, cards, part=options.part, split_seed=options.split_seed)


def _evaluate(options: Options, images: Measured, models: dict[str, Any], part: tuple[int, int]) -> Evaluation[Any]:
    """Return what the models make of this process's share of the images: scores, or predictions where there are no labels."""
    from inceptions.devices import pick_device
    from inceptions.evaluation.evaluate import evaluate, predict_unlabelled

    rank, world = part
    settings: dict[str, Any] = {
        "crops": options.crops,
        "protocol": options.protocol,
        "batch_size": options.batch_size,
        "device": pick_device(options.device),
        "workers": options.workers,
        "part": part,
    }
    with track("evaluating", len(models) * len(images.samples[rank::world]) * max(options.crops)) as step:
        if images.classes:
            return evaluate(models, images.samples, images.classes, **settings, step=step)
        return predict_unlabelled(models, images.samples, **settings, step=step)


def _whole(together: Together, share: Any) -> Any:
    """Return the evaluation of all images from this process's and the others'."""
    from inceptions.evaluation.evaluate import merge

    return replace(merge(together.gather(replace(share, paths=()))), paths=share.paths)


def _conclude(
    found: Evaluation[Score], options: Options, measured: Measured, models: dict[str, Any], folder: Path, *, as_json: bool
) -> None:
    """Print what was measured, whatever becomes of the files, and write them."""
    try:
        with _complete(folder, "predictions.parquet", "report.html"):
            _write_predictions(found, folder)
    finally:
        if as_json:
            print_json({**_said(options, measured, folder), **_how(options, models), **as_plain(found)})
        else:
            _print(found, options, measured, models)
    with _complete(folder, "report.html"):
        _write_report(found, options, measured, models, folder)
    if not as_json:
        _print_paths(folder, "report.html", "predictions.parquet")


def _conclude_unlabelled(found: Evaluation[Predictions], options: Options, measured: Measured, folder: Path, *, as_json: bool) -> None:
    """Print what was predicted, whatever becomes of the file, and write it."""
    from inceptions.cli.unlabelled import predictions_as_plain, print_predictions

    try:
        with _complete(folder, "predictions.parquet"):
            _write_predictions(found, folder)
    finally:
        if as_json:
            print_json({**_said(options, measured, folder), **predictions_as_plain(found)})
        else:
            print_predictions(found, options.data)
    if not as_json:
        _print_paths(folder, "predictions.parquet")


def _how(options: Options, models: dict[str, Any]) -> dict[str, Any]:
    held = {name: model.card.temperature if options.calibrated else 1.0 for name, model in models.items()}
    return {"engines": _engines(models), "temperatures": held}


def _said(options: Options, measured: Measured, folder: Path) -> dict[str, Any]:
    return {"data": options.data, "part": measured.part, "measured": measured.to_dict(), "folder": str(folder)}


def _print_paths(folder: Path, *names: str) -> None:
    for name in names:
        tell(f"  {folder / name}")


@contextmanager
def _complete(folder: Path, *names: str) -> Iterator[None]:
    """Say which files are missing, and why, where they can't be written."""
    try:
        yield
    except (OSError, UserError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"what was found is printed, but {' and '.join(names)} can't be written into {shown(folder)}: {reason}") from error


def _write_predictions(found: Evaluation[Any], folder: Path) -> None:
    from inceptions.evaluation.saved import write_predictions

    write_predictions(found.scores, found.classes, found.paths, folder / "predictions.parquet")


def _write_report(found: Evaluation[Score], options: Options, measured: Measured, models: dict[str, Any], folder: Path) -> None:
    from inceptions.evaluation.crops import WHOLE
    from inceptions.evaluation.protocols import PROTOCOLS
    from inceptions.evaluation.report import Report, write_report
    from inceptions.networks.drawing.page import draw
    from inceptions.versions import now, versions

    last = found.rows[-1]
    how = PROTOCOLS[options.protocol][1] if set(options.crops) <= set(WHOLE) else "as in 1409.4842, section 7"
    facts = (
        ("command", shlex.join(["inceptions", *sys.argv[1:]])),
        *(("model", f"{name}, SHA-256 {model.card.sha256[:16]}") for name, model in models.items()),
        *(("engine", f"{name}: {engine}") for name, engine in _engines(models).items()),
        *(("temperature", said) for said in _temperatures(options, models)),
        ("measured", measured.said),
        ("crops", f"{', '.join(map(str, options.crops))}; {how}"),
        ("cost", f"{last.multiply_adds / 1e9:,.2f} G multiply-adds an image"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("date", now()),
    )
    report = Report(
        title=f"{last.name} on {options.data}",
        on=measured.part,
        score=last.score,
        classes=found.classes,
        paths=found.paths,
        drawing=draw(models[last.models[0]].card.network),
        facts=facts,
        lines=found.rows,
        notes=(*measured.notes, *found.notes),
        heat_map=_heat_map(last.models[0], options) if options.explain else None,
    )
    write_report(report, folder)


def _heat_map(name: str, options: Options) -> Any:
    """Return what shows why the first of the averaged models took an image for a class: of its weights in torch, whatever engine ran."""
    from inceptions.devices import pick_device
    from inceptions.explain.mistakes import heat_map_of
    from inceptions.weights.folder import load_model
    from inceptions.weights.locate import find_model

    return heat_map_of(load_model(find_model(name)), pick_device(options.device))


def as_plain(found: Evaluation[Score]) -> dict[str, Any]:
    """Return an evaluation in plain values; errors, intervals and what is measured of a class are shares, 0 to 1, nan where unknown.

    error_difference_points: the error less that of the first row on the same images, in percentage points, and its interval by the paired
    bootstrap. per_class: of the last row.
    """
    from inceptions.evaluation.metrics import class_rows

    last = found.rows[-1].score
    return {
        "classes": len(found.classes),
        "rows": [_row_as_plain(row, found.rows[0].score, len(found.classes)) for row in found.rows],
        "per_class": [asdict(row) for row in class_rows(last, found.classes)],
        "unreadable": [str(item.path) for item in last.unreadable],
        "views_per_second": found.views_per_second,
        "notes": list(found.notes),
    }


def _row_as_plain(row: Row[Score], base: Score, classes: int) -> dict[str, Any]:
    from inceptions.evaluation.metrics import calibration_error, error, error_difference, top5_error

    top1, top5, points = error(row.score), top5_error(row.score, classes=classes), error_difference(base, row.score)
    return {
        "models": list(row.models),
        "crops": row.crops,
        "images": row.score.count,
        "nan_outputs": row.score.nan_outputs,
        "top1_error": top1.value,
        "top1_interval": [top1.low, top1.high],
        "top5_error": top5 and top5.value,
        "top5_interval": top5 and [top5.low, top5.high],
        "error_difference_points": points.value,
        "error_difference_points_interval": [points.low, points.high],
        "loss": row.score.loss,
        "calibration_error": calibration_error(row.score),
        "multiply_adds": row.multiply_adds,
    }


def _print(found: Evaluation[Score], options: Options, measured: Measured, models: dict[str, Any]) -> None:
    base = found.rows[0].score
    _print_rows(found.rows, len(found.classes))
    nan = max(row.score.nan_outputs for row in found.rows)
    notes = [*measured.notes, *found.notes]
    if nan:
        notes.append(f"a network gives nan for {nan} images: they count as wrong, and not in loss and ECE")
    if base.unreadable:
        notes.append(f"{len(base.unreadable)} unreadable files left out, such as {base.unreadable[0].path}")
    notes += [f"temperature of {said}" for said in _temperatures(options, models)]
    for note in notes:
        tell(f"note: {note}")
    speeds = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.views_per_second.items())
    intervals = "95 % intervals: Wilson's, and the paired bootstrap's"
    against = "; against base: points of error, below zero is better" if len(found.rows) > 1 else ""
    tell(f"{measured.said} of {options.data}; {intervals}{against}")
    by = ", ".join(dict.fromkeys(_engines(models).values()))
    tell(f"crops a second, read and computed by {by}: {speeds}; cost: multiply-adds of an image")


def _print_rows(rows: Sequence[Row[Score]], classes: int) -> None:
    from inceptions.evaluation.metrics import calibration_error, error, error_difference, top5_error

    base, several, with_top5 = rows[0].score, len(rows) > 1, classes > 5
    some = [*(["top-5 error"] if with_top5 else []), *(["against base"] if several else [])]
    measured = [Column((name, "95 % interval")) for name in ("top-1 error", *some)]
    columns = (Column("models", "text"), Column(("crops", "cost")), *measured, Column(("loss", "ECE")))
    lines: list[tuple[Cell, ...]] = []
    for row in rows:
        top5 = top5_error(row.score, classes=classes)
        errors = [_percent(share) for share in (error(row.score), top5) if share]
        against = [_points(error_difference(base, row.score)) if row.score is not base else ("base", "")] if several else []
        cost = (str(row.crops), f"{row.multiply_adds / 1e9:,.2f} G")
        loss = (f"{row.score.loss:.3f}", f"{100 * calibration_error(row.score):.1f} %")
        lines.append((row.name, cost, *errors, *against, loss))
    print_table(columns, lines)


def _percent(share: Interval) -> tuple[str, str]:
    return f"{100 * share.value:.2f} %", f"{100 * share.low:.1f} to {100 * share.high:.1f}"


def _points(points: Interval) -> tuple[str, str]:
    return f"{points.value:+.2f}", f"{points.low:+.1f} to {points.high:+.1f}"
