"""The page of a run or an evaluation: enters what was measured and how, leaves `report.html`, one file without links to anything.

Needs jinja2, matplotlib and pyarrow (`inceptions[report]`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from inceptions.data.decode import read_image
from inceptions.data.stored import Stored
from inceptions.errors import ImageError, UserError
from inceptions.evaluation import plots
from inceptions.evaluation.evaluate import Row
from inceptions.evaluation.metrics import calibration_error, class_rows, commonest_confusions, error, error_difference, top5_error
from inceptions.evaluation.score import NO_CLASS, Score
from inceptions.evaluation.standalone import environment, picture_address, template_text
from inceptions.evaluation.temperature import Confidence
from inceptions.files import write_whole

THUMBNAIL_PX = 96
MISTAKES = 12  # of each kind

HeatMap = Callable[[Path | Stored, str], Image.Image]
"""A picture and a class, to the picture with what spoke for that class on it; raises UserError where there is none."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction: the file, the true and the predicted class, the softmax of the latter, the loss, a thumbnail (a data address).

    heat: another one, with what spoke for the predicted class; "" where nobody asked or there is none.
    """

    path: str
    true: str
    predicted: str
    confidence: float
    loss: float
    thumbnail: str
    heat: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows.

    on: which images were scored, such as "test". paths: of all images of that set. rows: of metrics.csv, where there was training.
    facts: name and value of what else is to be known: command, versions, hashes. lines: what was compared; the score shown is the last's.
    heat_map: what shows why, for the mistakes. confidence: where it is known how the model came by it.
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
    heat_map: HeatMap | None = None
    confidence: Confidence | None = None


def write_report(report: Report, folder: Path) -> None:
    """Write `report.html` and its plots, `curves.png`, `confusion_matrix.png` and `reliability.png`, into `folder`."""
    counts = report.score.confusion(len(report.classes))
    figures = {
        "confusion_matrix": plots.confusion_matrix(counts, report.classes, title=f"{report.on}: {report.score.count} images"),
        "reliability": plots.reliability(report.score, undivided=report.confidence and report.confidence.undivided),
    }
    if report.rows:
        figures["curves"] = plots.curves(report.rows, best_epoch=report.best_epoch)
    drawn = {}
    for name, figure in figures.items():
        plots.save_figure(figure, folder / f"{name}.png")
        figure.set_layout_engine("none")  # it is laid out, which takes longer than to draw it
        drawn[name] = plots.as_svg(figure)
    write_whole(folder / "report.html", _page(report, drawn))


def _page(report: Report, drawn: dict[str, str]) -> str:
    from markupsafe import Markup

    pages = environment()
    pages.filters.update(percent=_percent, points=_points)
    template = pages.from_string(template_text("inceptions.evaluation", "report.html.jinja"))
    return template.render(
        report=report,
        accuracy=report.score.interval,
        top5=top5_error(report.score, classes=len(report.classes)),
        calibration=calibration_error(report.score),
        undivided=calibration_error(report.confidence.undivided) if report.confidence and report.confidence.undivided else None,
        figures={name: Markup(svg) for name, svg in drawn.items()},
        drawing=Markup(report.drawing),
        table=class_rows(report.score, report.classes),
        confusions=_confusions(report),
        mistakes=_mistakes(report),
        compared=_compared(report.lines),
        settings=yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True).strip().split("\n") if report.settings else (),
    )


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
    pictures = {i: _pictures(report, i) for i in {int(i) for places in shown.values() for i in places}}
    return [(name, [_mistake(report, int(i), pictures[int(i)]) for i in places]) for name, places in shown.items() if len(places)]


def _mistake(report: Report, i: int, pictures: tuple[str, str]) -> Mistake:
    score = report.score
    return Mistake(
        path=str(report.paths[score.indices[i]]),
        true=report.classes[score.labels[i]],
        predicted="nothing (nan)" if score.predicted[i] == NO_CLASS else report.classes[score.predicted[i]],
        confidence=float(score.confidence[i]),
        loss=float(score.losses[i]),
        thumbnail=pictures[0],
        heat=pictures[1],
    )


def _pictures(report: Report, i: int) -> tuple[str, str]:
    """Return the thumbnail of an image, and the one with what spoke for its predicted class; "" for what there isn't."""
    path, predicted = report.paths[report.score.indices[i]], report.score.predicted[i]
    try:
        thumbnail = picture_address(read_image(path), side_px=THUMBNAIL_PX)
    except ImageError:  # bands that are no colours
        return "", ""
    if report.heat_map is None or predicted == NO_CLASS:
        return thumbnail, ""
    try:
        return thumbnail, picture_address(report.heat_map(path, report.classes[predicted]), side_px=THUMBNAIL_PX)
    except UserError:
        return thumbnail, ""
