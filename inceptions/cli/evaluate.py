"""evaluate: from models and labelled images to a table of errors, costs and intervals; without labels, to predictions alone."""

from __future__ import annotations

import json
import math
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.progress import Progress
from rich.table import Table

from inceptions.cli.terminal import Download, err, out, show_warnings
from inceptions.cli.together import Together
from inceptions.data.folders import load_splits, name_source
from inceptions.data.splits import Sample, Splits
from inceptions.data.unlabelled import find_unlabelled
from inceptions.errors import DataError, UserError
from inceptions.extras import require

if TYPE_CHECKING:
    from inceptions.evaluation.evaluate import Evaluation, Row
    from inceptions.evaluation.score import Predictions, Score
    from inceptions.weights.folder import LoadedModel

Part = Literal["auto", "test", "val", "train", "all"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of an evaluation."""

    models: tuple[str, ...]
    data: str
    crops: tuple[int, ...]
    protocol: str
    part: Part
    seed: int
    batch_size: int
    workers: int | None
    device: str | None
    output: Path | None


@dataclass(frozen=True, slots=True)
class Images:
    """What is asked about: the name of the part, its samples, and the names that their labels are places in; none without labels."""

    part: str
    samples: tuple[Sample, ...]
    names: tuple[str, ...]


def read_crops(text: str) -> tuple[int, ...]:
    """Return the numbers in "1,10,144"; UserError when they are none."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not set(numbers) <= {1, 10, 12, 144}:
        raise UserError(f"--crops is {text!r}; give 1, 10, 12 or 144, or several with commas between")
    return numbers


def run_evaluation(asked: Asked, *, as_json: bool) -> None:
    """Evaluate the models, print the table, and write the predictions and the report; of several processes, only the first does."""
    show_warnings()
    with Together() as together:
        images, models = together.do(lambda: _prepare(asked))
        if images.names:
            found = _whole(together, together.do(lambda: _evaluate(asked, images, models, together.part)))
            if together.is_first:
                _conclude(found, asked, images.part, models, as_json=as_json)
        else:
            predicted = _whole(together, together.do(lambda: _predict(asked, images, models, together.part)))
            if together.is_first:
                _conclude_unlabelled(predicted, asked, as_json=as_json)


def _prepare(asked: Asked) -> tuple[Images, dict[str, LoadedModel]]:
    """Return the images and the models, by name. Raises UserError for whatever would stop the evaluation later."""
    if asked.output is not None and asked.output.exists():
        raise UserError(f"{asked.output} exists already; give another --output, or delete it")
    images = choose_images(asked)
    with err.status("loading torch…"):
        from inceptions.evaluation.report import NEEDED
        from inceptions.weights.published import load_model

    require("report", *NEEDED, needed_for="evaluate")
    models = {}
    for name in asked.models:
        with Download(name) as download:
            models[name] = load_model(name, progress=download.step)
    return images, models


def choose_images(asked: Asked) -> Images:
    """Return the images that are asked about, and say what there is to know of them: set aside here, or without labels."""
    try:
        with err.status("reading the list of images…"):
            splits = load_splits(asked.data, seed=asked.seed)
    except DataError:
        samples = find_unlabelled(asked.data)
        if not samples:
            raise
        return _without_labels(asked, samples)
    part, samples = choose_part(splits, asked.part)
    if part in splits.set_aside:
        aside = f"the {part} images are those that training sets aside of each class, by seed {asked.seed}"
        err.print(f"note: {aside}; --part all takes all {len(choose_part(splits, 'all')[1])}", soft_wrap=True)
    return Images(part, samples, splits.classes)


def _without_labels(asked: Asked, samples: tuple[Sample, ...]) -> Images:
    folders = f"{asked.data} has {len(samples)} pictures and no folder of pictures for each class"
    if asked.part not in ("auto", "all"):
        raise UserError(f"--part {asked.part}: {folders}, so there are no parts of it; leave out --part, and all are predicted")
    nothing = "so nothing can be measured; only predictions are written, and no report.html"
    err.print(f"note: {folders}, {nothing}", markup=False, soft_wrap=True)
    return Images("all", samples, ())


def _evaluate(asked: Asked, images: Images, models: dict[str, LoadedModel], part: tuple[int, int]) -> Evaluation[Score]:
    from inceptions.evaluation.evaluate import evaluate

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        settings = _settings(asked, images, part, progress)
        return evaluate(models, images.samples, images.names, **settings)


def _predict(asked: Asked, images: Images, models: dict[str, LoadedModel], part: tuple[int, int]) -> Evaluation[Predictions]:
    from inceptions.evaluation.evaluate import predict_unlabelled

    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        settings = _settings(asked, images, part, progress)
        return predict_unlabelled(models, images.samples, **settings)


def _settings(asked: Asked, images: Images, part: tuple[int, int], progress: Progress) -> dict[str, Any]:
    """Return how to go through this process's share of the images, with a bar that moves as it is done."""
    from inceptions.devices import pick_device

    rank, world = part
    total = len(asked.models) * len(images.samples[rank::world]) * max(asked.crops)
    bar = progress.add_task("evaluating", total=total)
    return {
        "crops": asked.crops,
        "protocol": asked.protocol,
        "batch_size": asked.batch_size,
        "device": pick_device(asked.device),
        "workers": asked.workers,
        "part": part,
        "step": lambda count: progress.advance(bar, count),
    }


def _whole(together: Together, share: Any) -> Any:
    """Return the evaluation of all images from this process's and the others'."""
    from inceptions.evaluation.evaluate import merge

    return replace(merge(together.gather(replace(share, paths=()))), paths=share.paths)


def _conclude(found: Evaluation[Score], asked: Asked, part: str, models: dict[str, LoadedModel], *, as_json: bool) -> None:
    """Write and print what was measured."""
    folder = _new_folder(asked)
    _write(found, asked, part, models, folder)
    if as_json:
        plain = {"data": asked.data, "part": part, "folder": str(folder), **as_plain(found)}
        print(json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False))
        return
    _print(found, asked, part)
    for name in ("report.html", "predictions.parquet"):
        out.print(f"  {folder / name}", soft_wrap=True)


def _conclude_unlabelled(found: Evaluation[Predictions], asked: Asked, *, as_json: bool) -> None:
    """Write and print what was predicted."""
    from inceptions.cli.unlabelled import predictions_as_plain, print_predictions

    folder = _new_folder(asked)
    _write_predictions(found, folder)
    if as_json:
        plain = {"data": asked.data, "part": "all", "folder": str(folder), **predictions_as_plain(found)}
        print(json.dumps(plain, indent=1, ensure_ascii=False))
        return
    print_predictions(found, asked.data)
    out.print(f"  {folder / 'predictions.parquet'}", soft_wrap=True)


def _new_folder(asked: Asked) -> Path:
    from inceptions.files import new_path

    folder = asked.output or new_path(Path("runs"), f"evaluate-{name_source(asked.data)}")
    folder.mkdir(parents=True)
    return folder


def _write_predictions(found: Evaluation[Any], folder: Path) -> None:
    from inceptions.evaluation.saved import write_predictions

    write_predictions(found.scores, found.classes, found.paths, folder / "predictions.parquet")


def _write(found: Evaluation[Score], asked: Asked, part: str, models: dict[str, LoadedModel], folder: Path) -> None:
    """Write predictions.parquet and report.html into `folder`."""
    from inceptions.evaluation.protocols import PROTOCOLS
    from inceptions.evaluation.report import Report, write_report
    from inceptions.networks.drawing.page import draw
    from inceptions.versions import now, versions

    shown = found.rows[-1]
    how = PROTOCOLS[asked.protocol][1] if asked.crops == (1,) else "as in 1409.4842, section 7"
    facts = (
        ("command", shlex.join(["inceptions", *sys.argv[1:]])),
        *(("model", f"{name}, SHA-256 {model.card.sha256[:16]}") for name, model in models.items()),
        ("crops", f"{', '.join(map(str, asked.crops))}; {how}"),
        ("cost", f"{shown.multiply_adds / 1e9:,.2f} G multiply-adds an image"),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ("date", now()),
    )
    report = Report(
        title=f"{shown.name} on {asked.data}",
        on=part,
        score=shown.score,
        classes=found.classes,
        paths=found.paths,
        drawing=draw(models[shown.models[0]].card.network),
        facts=facts,
        lines=found.rows,
        notes=found.notes,
    )
    _write_predictions(found, folder)
    write_report(report, folder)


def choose_part(splits: Splits, part: Part) -> tuple[str, tuple[Sample, ...]]:
    """Return the name and the samples of the part that is asked for; "auto" takes test images, for want of them val, then all."""
    parts = {"test": splits.test, "val": splits.val, "train": splits.train, "all": (*splits.train, *splits.val, *splits.test)}
    name = next(name for name in ("test", "val", "all") if parts[name]) if part == "auto" else part
    if not parts[name]:
        raise UserError(f"there are no {name} images; there are {', '.join(f'{len(s)} {n}' for n, s in parts.items() if s)}")
    return name, parts[name]


def as_plain(found: Evaluation[Score]) -> dict[str, Any]:
    """Return an evaluation in JSON's types; errors, intervals and what is measured of a class are shares, 0 to 1, null where unknown.

    less_error: than the first row on the same images, and its interval by the paired bootstrap. per_class: of the last row.
    """
    from inceptions.evaluation.metrics import class_rows

    last = found.rows[-1].score
    return {
        "classes": len(found.classes),
        "rows": [_row_as_plain(row, found.rows[0].score) for row in found.rows],
        "per_class": [_without_nan(asdict(row)) for row in class_rows(last, found.classes)],
        "unreadable": [str(item.path) for item in last.unreadable],
        "views_per_second": found.views_per_second,
        "notes": list(found.notes),
    }


def _row_as_plain(row: Row[Score], base: Score) -> dict[str, Any]:
    from inceptions.evaluation.metrics import calibration_error, difference, error

    top1, top5, less = error(row.score), error(row.score, k=5), difference(base, row.score)
    plain = {
        "models": list(row.models),
        "crops": row.crops,
        "images": row.score.count,
        "top1_error": top1.value,
        "top1_interval": [top1.low, top1.high],
        "top5_error": top5.value,
        "top5_interval": [top5.low, top5.high],
        "less_error": less.value,
        "less_error_interval": [less.low, less.high],
        "loss": row.score.loss,
        "calibration_error": calibration_error(row.score),
        "multiply_adds": row.multiply_adds,
    }
    return _without_nan(plain)


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}


def _print(found: Evaluation[Score], asked: Asked, part: str) -> None:
    from inceptions.evaluation.metrics import calibration_error, error

    base = found.rows[0].score
    several, with_top5 = len(found.rows) > 1, len(found.classes) > 5
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("models", overflow="fold", min_width=16)
    some = [*(["top-5 error"] if with_top5 else []), *(["against base"] if several else [])]
    for column in ("crops\n[dim]cost[/dim]", "top-1 error", *some, "loss\n[dim]ECE[/dim]"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        errors = [_percent(error(row.score)), *([_percent(error(row.score, k=5))] if with_top5 else [])]
        against = [_against(base, row)] if several else []
        cost = f"{row.crops}\n[dim]{row.multiply_adds / 1e9:,.2f} G[/dim]"
        loss = f"{row.score.loss:.3f}\n[dim]{100 * calibration_error(row.score):.1f} %[/dim]"
        table.add_row(row.name, cost, *errors, *against, loss)
    out.print(table)
    for note in found.notes:
        out.print(f"note: {note}", markup=False, soft_wrap=True)
    if base.unreadable:
        one = base.unreadable[0].path
        out.print(f"note: {len(base.unreadable)} unreadable files left out, such as {one}", markup=False, soft_wrap=True)
    speeds = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.views_per_second.items())
    count = f"all {base.count}" if part == "all" else f"{base.count} {part}"
    out.print(f"{count} images of {asked.data}; 95 % intervals: Wilson's, and the paired bootstrap's", soft_wrap=True)
    out.print(f"crops a second, read and computed: {speeds}; cost: multiply-adds of an image", soft_wrap=True)


def _percent(share: Any) -> str:
    return f"{100 * share.value:.2f} %\n[dim]{100 * share.low:.1f} to {100 * share.high:.1f}[/dim]"


def _against(base: Score, row: Row[Score]) -> str:
    from inceptions.evaluation.metrics import difference

    if row.score is base:
        return "base"
    less = difference(base, row.score)
    return f"{0 - 100 * less.value:+.2f}\n[dim]{0 - 100 * less.high:+.1f} to {0 - 100 * less.low:+.1f}[/dim]"
