"""The page of a run or an evaluation: enters what was measured and how, leaves `report.html`, one file without links to anything.

Needs jinja2, matplotlib and pyarrow (`inceptions[report]`).
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from inceptions.data.decode import read_image
from inceptions.data.stored import Stored
from inceptions.errors import ImageError
from inceptions.evaluation import plots
from inceptions.evaluation.evaluate import Row
from inceptions.evaluation.metrics import calibration_error, class_rows, commonest_confusions, error, error_difference, top5_error
from inceptions.evaluation.score import NO_CLASS, Score
from inceptions.files import write_whole
from inceptions.names import shown

THUMBNAIL_PX = 96
MISTAKES = 12  # of each kind


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction: the file, the true and the predicted class, the softmax of the latter, the loss, a thumbnail (a data address)."""

    path: str
    true: str
    predicted: str
    confidence: float
    loss: float
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows.

    on: which images were scored, such as "test". paths: of all images of that set. rows: of metrics.csv, where there was training.
    facts: name and value of what else is to be known: command, versions, hashes. lines: what was compared; the score shown is the last's.
    """

    title: str
    on: str
    score: Score
    classes: tuple[str, ...]
    paths: tuple[Path | Stored, ...]
    drawing: str
    settings: dict[str, Any] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    rows: Sequence[Any] = ()
    best_epoch: int = 0
    lines: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


def write_report(report: Report, folder: Path) -> None:
    """Write `report.html` and its plots, `curves.png`, `confusion_matrix.png` and `reliability.png`, into `folder`."""
    counts = report.score.confusion(len(report.classes))
    figures = {
        "confusion_matrix": plots.confusion_matrix(counts, report.classes, title=f"{report.on}: {report.score.count} images"),
        "reliability": plots.reliability(report.score),
    }
    if report.rows:
        figures["curves"] = plots.curves(report.rows, best_epoch=report.best_epoch)
    drawn = {}
    for name, figure in figures.items():
        plots.save_figure(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")  # it is laid out, which takes longer than to draw it
        drawn[name] = plots.as_svg(figure)
    write_whole(folder / "report.html", _page(report, counts, drawn))


def _page(report: Report, counts: np.ndarray, drawn: dict[str, str]) -> str:
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    environment.filters.update(percent=_percent, points=_points)
    template = environment.from_string(files("inceptions.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        accuracy=report.score.interval,
        top5=top5_error(report.score, classes=len(report.classes)),
        calibration=calibration_error(report.score),
        figures={name: Markup(svg) for name, svg in drawn.items()},
        drawing=Markup(report.drawing),
        table=class_rows(report.score, report.classes),
        confusions=_confusions(report),
        mistakes=_mistakes(report),
        compared=_compared(report.lines),
        settings=yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True).strip().split("\n") if report.settings else (),
    )


def _shown(value: Any) -> Any:
    """Return what an expression of the page gives so that it can be shown: names may be any bytes. Jinja escapes what HTML means by it."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) or not isinstance(value, str | Path | Stored) else shown(value)


def _percent(share: float, digits: int = 1) -> str:
    return "n/a" if math.isnan(share) else f"{100 * share:.{digits}f} %"


def _points(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}"


def _compared(lines: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the cells of the table of what was compared: errors with intervals, and the error against the first's, in points."""
    return [
        {
            "line": line,
            "top1": error(line.score),
            "top5": error(line.score, k=5),
            "against": error_difference(lines[0].score, line.score) if place else None,
        }
        for place, line in enumerate(lines)
    ]


def _confusions(report: Report) -> list[tuple[str, str, int, float]]:
    """Return the commonest confusions, each with which share of the true class that is."""
    images = np.bincount(report.score.labels, minlength=len(report.classes))
    found = commonest_confusions(report.score, report.classes)
    return [(true, taken_for, count, count / images[report.classes.index(true)]) for true, taken_for, count in found]


def _mistakes(report: Report) -> list[tuple[str, list[Mistake]]]:
    """Return the mistakes to be shown, by kind: those made with the greatest confidence, and those with the greatest loss."""
    score = report.score
    wrong = np.flatnonzero(score.predicted != score.labels)
    kinds = {"Most confident": score.confidence, "Worst, by loss": np.nan_to_num(score.losses, nan=np.inf)}
    shown = {name: wrong[np.argsort(-values[wrong], kind="stable")][:MISTAKES] for name, values in kinds.items()}
    thumbnails = {i: _thumbnail(report.paths[score.indices[i]]) for i in {int(i) for places in shown.values() for i in places}}
    return [(name, [_mistake(report, int(i), thumbnails[int(i)]) for i in places]) for name, places in shown.items() if len(places)]


def _mistake(report: Report, i: int, thumbnail: str) -> Mistake:
    score = report.score
    return Mistake(
        path=str(report.paths[score.indices[i]]),
        true=report.classes[score.labels[i]],
        predicted="nothing (nan)" if score.predicted[i] == NO_CLASS else report.classes[score.predicted[i]],
        confidence=float(score.confidence[i]),
        loss=float(score.losses[i]),
        thumbnail=thumbnail,
    )


def _thumbnail(path: Path | Stored) -> str:
    try:
        image = read_image(path)
    except ImageError:  # bands that are no colours
        return ""
    if max(image.size) < THUMBNAIL_PX:  # a tiny picture is shown in whole pixels, not blurred
        factor = THUMBNAIL_PX // max(image.size)
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
    out = io.BytesIO()
    image.save(out, format="WEBP", quality=80)
    return f"data:image/webp;base64,{html.escape(base64.b64encode(out.getvalue()).decode())}"
