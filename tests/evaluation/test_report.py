"""The report and the saved predictions: every number again from the table of predictions, and the page in a browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from inceptions.errors import UserError
from inceptions.evaluation.evaluate import Evaluation, Row
from inceptions.evaluation.metrics import calibration_error, class_rows, error, error_difference
from inceptions.evaluation.plots import save_figure
from inceptions.evaluation.report import Report, write_report
from inceptions.evaluation.saved import read_predictions, write_predictions
from inceptions.evaluation.score import predictions_of, score_of
from inceptions.networks.drawing.page import draw
from inceptions.networks.registry import get_network

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
NAMES = {2: ("ants", "bees"), 10: tuple("abcdefghij")}


def names_of(classes):
    return NAMES.get(classes) or tuple(f"class {k:04}" for k in range(classes))


def evaluation(folder: Path, *, classes=10, images=200):
    rng = np.random.default_rng(classes)
    labels = torch.from_numpy(rng.integers(0, classes, images))
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / "a.png")
    rows = []
    for models, crops, strength in ((("m",), 1, 2.0), (("m", "n"), 144, 3.0)):
        logits = torch.from_numpy(rng.normal(size=(images, classes))).float() + strength * torch.nn.functional.one_hot(labels, classes)
        rows.append(Row(models, crops, crops * 10**9, score_of(logits.log_softmax(1), labels, np.arange(images))))
    return Evaluation(names_of(classes), tuple(rows), {"m": 1.0}, (folder / "a.png",) * images, ("a note",))


def save(found: Evaluation, file: Path) -> None:
    scores = {(" + ".join(row.models), row.crops): row.score for row in found.rows}
    write_predictions(scores, found.classes, found.paths, file)


def page_of(folder: Path, found: Evaluation) -> str:
    rows = [SimpleNamespace(epoch=e, train_loss=1 / e, train_accuracy=0.5, val_loss=1 / e, val_accuracy=0.4) for e in (1, 2, 3)]
    report = Report(
        title="m on images <&>",
        on="test",
        score=found.rows[-1].score,
        classes=found.classes,
        paths=found.paths,
        drawing=draw(get_network("inception_small")),
        settings={"lr": 0.1},
        facts=(("command", "inceptions evaluate m n"),),
        rows=rows,
        best_epoch=2,
        lines=found.rows,
        notes=found.notes,
    )
    write_report(report, folder)
    return (folder / "report.html").read_text()


def test_every_number_of_the_report_comes_again_from_the_saved_predictions(tmp_path):
    found = evaluation(tmp_path)
    page = page_of(tmp_path, found)
    save(found, tmp_path / "predictions.parquet")
    saved = read_predictions(tmp_path / "predictions.parquet")
    classes, scores = saved.classes, saved.scores
    assert classes == found.classes
    base, last = scores["m", 1], scores["m + n", 144]
    words = " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2]).split())
    for score in (base, last):
        for k in (1, 5):
            share = error(score, k=k)
            assert f"{100 * share.value:.2f} % ({100 * share.low:.1f} % to {100 * share.high:.1f} %)" in words
    against = error_difference(base, last)
    assert against.value < 0
    assert f"{against.value:+.2f} ({against.low:+.1f} to {against.high:+.1f})" in words
    assert f"{100 * last.accuracy:.2f} % of 200 test images right" in words
    assert f"loss {last.loss:.3f} nats; calibration error {100 * calibration_error(last):.1f} %" in words
    for row in class_rows(last, classes):
        cells = f"{row.name} {row.images} {100 * row.recall:.1f} % {100 * row.precision:.1f} % {100 * row.f1:.1f} %"
        assert cells in words
    confusion = last.confusion(10)
    np.fill_diagonal(confusion, 0)
    true, predicted = divmod(int(confusion.argmax()), 10)
    assert f"of the class {classes[true]} {classes[predicted]} {confusion.max()} " in words


def test_predictions_come_back_as_they_were(tmp_path):
    found = evaluation(tmp_path)
    save(found, tmp_path / "p.parquet")
    saved = read_predictions(tmp_path / "p.parquet")
    assert saved.images == {place: str(tmp_path / "a.png") for place in range(200)}
    for row in found.rows:
        read = saved.scores[" + ".join(row.models), row.crops]
        for name in ("indices", "labels", "predicted", "confidence", "losses", "ranks"):
            assert np.array_equal(getattr(read, name), getattr(row.score, name)), name


def test_images_of_which_a_network_makes_nan_are_told_and_saved(tmp_path):
    found = evaluation(tmp_path, images=20)
    logits = torch.full((20, 10), float("nan"))
    logits[1:] = torch.eye(10)[torch.arange(19) % 10]
    score = score_of(logits.log_softmax(1), torch.arange(20) % 10, np.arange(20))
    found = replace(found, rows=(replace(found.rows[0], score=score),))
    words = page_of(tmp_path, found)
    assert "gives nan for 1 images" in words
    assert "nothing (nan)" in words
    save(found, tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet").scores["m", 1]
    assert read.predicted.tolist() == score.predicted.tolist()
    assert read.nan_outputs == 1
    assert read.loss == score.loss


def test_predictions_without_labels_have_no_score_to_read(tmp_path):
    from pyarrow import parquet

    file, score = tmp_path / "p.parquet", predictions_of(torch.eye(3), np.arange(3))
    write_predictions({("m", 1): score, ("m + n", 10): score}, ("a", "b", "c"), (tmp_path / "a.png",) * 3, file)
    table = parquet.read_table(file)
    assert table["predicted"].to_pylist() == list("abcabc")
    assert {value for name in ("true", "loss", "rank") for value in table[name].to_pylist()} == {None}
    assert str(table.schema.field("rank").type) == "int64"
    with pytest.raises(UserError, match=r"p\.parquet: predictions of images without labels"):
        read_predictions(file)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_page_is_one_small_file_that_asks_for_nothing(tmp_path, classes):
    page = page_of(tmp_path, evaluation(tmp_path, classes=classes, images=1000))
    assert len(page.encode()) < 2e6
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)[^"')\s>]+""", page.replace("xlink:href", "href"))
    assert "images &lt;&amp;&gt;" in page


CLICKS = """
<script>
const table = document.getElementById("classes"), shown = () => [...table.tBodies[0].rows].filter(row => !row.hidden);
const column = at => shown().map(row => row.cells[at].textContent);
const click = at => table.tHead.rows[0].cells[at].firstElementChild.click(), found = {};
click(1); found.rising = column(1).map(Number); click(1); found.falling = column(1).map(Number);
click(0); found.names = column(0);
const filter = document.getElementById("filter"); filter.value = "B"; filter.dispatchEvent(new Event("input")); found.filtered = column(0);
found.said = document.getElementById("shown").textContent;
document.body.innerHTML = "<pre id=found>" + JSON.stringify(found) + "</pre>";
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")
def test_sort_and_filter_work_in_a_browser_without_an_error(tmp_path):
    page = page_of(tmp_path, evaluation(tmp_path))
    (tmp_path / "clicked.html").write_text(page.replace("</body>", f"{CLICKS}</body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0", "--dump-dom"]
    done = subprocess.run([*command, (tmp_path / "clicked.html").as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(re.search(r"<pre id=\"found\">(.*?)</pre>", done.stdout)[1])
    assert "CONSOLE" not in done.stderr
    assert found["rising"] == sorted(found["rising"])
    assert found["falling"] == found["rising"][::-1]
    assert found["names"] == list("abcdefghij")
    assert found["filtered"] == ["b"]
    assert found["said"] == "1 of 10"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_plot_that_cannot_be_written_is_told_in_a_line_and_leaves_nothing(kind, tmp_path):
    """`compare --output` ended in matplotlib's traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write .* \(Not a directory\); make room, or give another place"):
        save_figure(Figure(), tmp_path / "file" / f"curves.{kind}")
    save_figure(Figure(), tmp_path / "new" / f"curves.{kind}")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"curves.{kind}"]
