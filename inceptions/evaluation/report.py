"""The page of a run: enters what was trained and how it did, leaves `report.html`, one file without links to anything.

Needs jinja2 and matplotlib (`inceptions[report]`).
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
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
from inceptions.evaluation.score import Score

THUMBNAIL_PX = 96


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction: the file, the true and the predicted class, the softmax of the latter, a thumbnail as a data address."""

    path: str
    true: str
    predicted: str
    confidence: float
    thumbnail: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows; `on` says which images were scored."""

    title: str
    on: str
    score: Score
    classes: tuple[str, ...]
    rows: Sequence[Any]
    best_epoch: int
    settings: dict[str, Any]
    paths: tuple[Path | Stored, ...]
    drawing: str


def write_report(report: Report, folder: Path) -> None:
    """Write `curves.png`, `confusion_matrix.png` and `report.html` into `folder`."""
    counts = report.score.confusion(len(report.classes))
    lines = plots.curves(report.rows, best_epoch=report.best_epoch)
    plots.save_png(lines, folder / "curves.png")
    matrix = plots.confusion_matrix(counts, report.classes, title=f"{report.on}: {report.score.count} images")
    plots.save_png(matrix, folder / "confusion_matrix.png")
    page = _page(report, counts, plots.as_svg(lines), plots.as_svg(matrix))
    (folder / "report.html").write_text(page, encoding="utf-8")


def _page(report: Report, counts: np.ndarray, curves: str, matrix: str) -> str:
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("inceptions.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        low_high=report.score.interval,
        curves=Markup(curves),
        matrix=Markup(matrix),
        drawing=Markup(report.drawing),
        table=_class_table(counts, report.classes),
        mistakes=_mistakes(report),
        settings=yaml.safe_dump(report.settings, sort_keys=False, allow_unicode=True),
    )


def _class_table(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    right, true, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    table = []
    for k, name in enumerate(classes):
        wrong = counts[k].copy()
        wrong[k] = 0
        worst = int(wrong.argmax())
        table.append(
            {
                "name": name,
                "images": int(true[k]),
                "recall": right[k] / true[k] if true[k] else None,
                "precision": right[k] / predicted[k] if predicted[k] else None,
                "confused": f"{classes[worst]} ({wrong[worst]})" if wrong[worst] else "",
            }
        )
    return table


def _mistakes(report: Report, most: int = 24) -> list[Mistake]:
    score = report.score
    wrong = np.flatnonzero(score.predicted != score.labels)
    worst = wrong[np.argsort(-score.confidence[wrong], kind="stable")][:most]
    return [
        Mistake(
            path=str(report.paths[score.indices[i]]),
            true=report.classes[score.labels[i]],
            predicted=report.classes[score.predicted[i]],
            confidence=float(score.confidence[i]),
            thumbnail=_thumbnail(report.paths[score.indices[i]]),
        )
        for i in worst
    ]


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
