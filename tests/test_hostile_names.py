"""Names that somebody else chose go through everything that is written and come back as they were."""

import csv
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data.folders import load_splits
from inceptions.errors import DataError, ImageError
from inceptions.evaluation import plots
from inceptions.evaluation.compare import read_run
from inceptions.evaluation.evaluate import Row, evaluate
from inceptions.evaluation.report import Report, write_report
from inceptions.evaluation.saved import read_predictions, write_predictions
from inceptions.evaluation.score import score_of
from inceptions.inference.predict import predict
from inceptions.inference.rows import open_rows
from inceptions.names import cell, shown
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training.loop import Pace, fit, prepare
from inceptions.training.recipes import QUICK
from inceptions.weights.card import read_card
from inceptions.weights.folder import load_model

FOLDERS = (  # that a class can be called on the disk
    r"a$\frac$",
    "$x$ $",
    "=1+1",
    "-1",
    "x\ny",
    "猫",
    "caf\udce9",  # the byte E9, which is no UTF-8
    '"quoted"',
    "con|pipe",
    "  spaces  ",
    "\u202egnp",  # what follows is written from right to left
    "_hidden",
    "#000000",
    "{{ 7*7 }}",
    "a#b?c%d&amp;",
)
NAMES = (*FOLDERS, "[/x]", "</script><b>", "</title><img src=x onerror=alert(1)>")  # and in a table


@pytest.fixture
def found(tmp_path):
    """A score of two images of each class, half of them wrong, and the images, in a folder of a name that is no UTF-8."""
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    paths = [folder / f"{number}\n\udce9'\"<b>.png" for number in range(2 * len(NAMES))]
    for path in paths:
        Image.new("RGB", (3, 3)).save(path)
    labels = torch.arange(len(paths)) % len(NAMES)
    logits = torch.nn.functional.one_hot((labels + (torch.arange(len(paths)) < len(NAMES)).long()) % len(NAMES), len(NAMES)).float()
    return folder, paths, score_of(logits.log_softmax(1), labels, np.arange(len(paths)))


def test_predictions_are_read_back_with_the_very_names(found):
    folder, paths, score = found
    write_predictions({("runs/caf\udce9", 1): score}, NAMES, paths, folder / "predictions.parquet")
    saved = read_predictions(folder / "predictions.parquet")
    assert saved.classes == NAMES
    assert saved.images == {place: shown(path) for place, path in enumerate(paths)}
    again = saved.scores[shown("runs/caf\udce9"), 1]
    assert again.labels.tolist() == score.labels.tolist()
    assert again.predicted.tolist() == score.predicted.tolist()


def test_the_report_says_every_name_and_takes_none_for_something_else(found):
    folder, paths, score = found
    report = Report(
        title="caf\udce9 </title>",
        on="test",
        score=score,
        classes=NAMES,
        paths=tuple(paths),
        drawing="<svg></svg>",
        settings={"data": str(folder), "classes": list(NAMES)},
        facts=(("command", f"inceptions evaluate {folder}"),),
        lines=(Row(("runs/caf\udce9",), 1, 10, score), Row(("runs/<i>",), 1, 10, score)),
        notes=("caf\udce9\u202e: left out",),
    )
    write_report(report, folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == page.count("</script>") == 1
    assert not re.search(r"<(b>\"|i>|img src=x)|\u202e", page)
    cells = [re.sub(r"&#(\d+);", lambda code: chr(int(code[1])), cell) for cell in re.findall(r'<tr><td class="name">(.*?)</td>', page)]
    for name in NAMES:
        text = shown(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert text in cells
    assert {path.name for path in folder.glob("*.png")} > {"confusion_matrix.png", "reliability.png"}


def test_a_name_is_drawn_letter_by_letter_and_never_as_a_box():
    labels, families = plots.as_labels(NAMES)
    assert labels[0] == r"a\$\frac\$"
    assert labels[NAMES.index("x\ny")] == r"x\ny"
    assert labels[NAMES.index("_hidden")] == " _hidden"
    if len(families) == 1:  # no font for it is installed
        assert labels[NAMES.index("猫")] == r"\u732b"
    drawn = plots.as_svg(plots.confusion_matrix(np.eye(len(NAMES), dtype=int), NAMES, title=""))
    texts = re.findall(r">([^<>\n]+)</text>", drawn)
    assert r"a$\frac$" in texts and "#000000" in texts and "$x$ $" in texts


def test_runs_of_any_name_are_in_the_legend():
    rows = [SimpleNamespace(epoch=1, train_loss=1.0, train_accuracy=0.5, val_loss=1.0, val_accuracy=0.5)]
    figure = plots.curves_over_each_other(dict.fromkeys(FOLDERS, rows))
    assert len(figure.axes[0].get_legend().get_texts()) == len(FOLDERS)
    plots.as_svg(figure)


def test_a_run_on_such_names_ends_and_everything_it_wrote_says_them(tmp_path):
    """One epoch, then what evaluates, compares and predicts: all of it in folders of such names too."""
    data, place = tmp_path / "caf\udce9$_$\n", tmp_path / "runs\udce9"
    rng = np.random.default_rng(0)
    for name in FOLDERS:
        for part in ("train", "test"):
            (data / part / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(data / part / name / f"{number}\udce9\n<b>.png")
    splits = load_splits(data)
    assert set(splits.classes) == set(FOLDERS)
    tiny = reshape.scale_width(get_network("inception_small"), 0.25)
    setup = prepare(tiny, splits, replace(QUICK, epochs=1, precision="float32"), source=str(data), image_size=8, device="cpu")
    fit(setup, place, pace=Pace(workers=0))

    assert read_card(place / "best").classes == splits.classes
    found = read_run(place)
    assert found.images == {number: shown(sample.path) for number, sample in enumerate(splits.test)}
    assert read_predictions(place / "predictions.parquet").classes == splits.classes
    assert r"caf\xe9" in (place / "report.html").read_text(encoding="utf-8")

    model, paths = load_model(place / "best"), [sample.path for sample in splits.test]
    written = predict(model, paths, top_k=1, device="cpu")
    with open_rows(place / "predicted.csv", {}, top_k=1, batch_size=1) as rows:
        rows.add(written)
    assert {item.classes[0] for item in written} <= set(FOLDERS)
    with (place / "predicted.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [cell(path) for path in paths]
    assert [row["class"] for row in rows] == [cell(item.classes[0]) for item in written]
    measured = evaluate({str(place): model}, splits.test, splits.classes)
    assert measured.rows[0].score.accuracy == found.score.accuracy


@pytest.mark.parametrize("kind", [DataError, ImageError])
def test_an_error_is_one_line_that_can_be_printed(kind):
    text = str(kind("photos/caf\udce9\n\u202e: no such file"))
    assert text == r"photos/caf\xe9\n\u202e: no such file"
    assert json.loads(json.dumps(text.encode().decode())) == text
