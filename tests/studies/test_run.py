"""Studies on pictures that a network learns in seconds: run, killed, gone on with, told."""

import json
from dataclasses import replace

import pytest

from inceptions.data.folders import load_splits
from inceptions.errors import UserError
from inceptions.evaluation.saved import read_predictions
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.registry import get_network
from inceptions.networks.trace import trace
from inceptions.studies.catalog import get_study, list_studies
from inceptions.studies.pages import as_markdown, write_pages
from inceptions.studies.run import Budget, fewer, run_study
from inceptions.studies.study import Arm, Claim, Study
from inceptions.training.recipe import Recipe

TINY = reshape.scale_width(get_network("inception_small"), 0.125)
RECIPE = Recipe(batch_size=16, precision="float32")
STUDY = Study(
    "smoothing",
    "Label smoothing",
    "it helps",
    "1512.00567",
    (Arm("none", TINY, replace(RECIPE, label_smoothing=0.0)), Arm("a tenth", TINY, RECIPE)),
    (Claim("a tenth", "none"),),
)


@pytest.mark.parametrize("study", list_studies(), ids=lambda study: study.name)
def test_every_study_says_what_it_is_and_every_arm_can_be_built(study):
    assert study.hypothesis
    assert study.source
    assert study.claims or study.measure == "averages"
    for arm in study.arms:
        assert arm.network.image_size == 32
        assert trace(arm.network).total.multiply_adds < 300e6
        Classifier(reshape.with_classes(arm.network, 10))
    assert len({(arm.network, arm.recipe) for arm in study.arms}) == len(study.arms)


def test_arms_differ_in_what_is_compared_alone():
    for study in list_studies():
        recipes = {arm.recipe for arm in study.arms}
        networks = {arm.network for arm in study.arms}
        assert len(recipes) == 1 or len(networks) == 1 or study.name == "batch-norm"


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean dropout"):
        get_study("dropuot")


def test_a_study_leaves_table_plot_and_verdict_and_goes_on_where_it_was(pictures, tmp_path):
    splits, told = load_splits(pictures), []
    budget = Budget(seeds=2, epochs=1, images=30)
    result = run_study(STUDY, splits, "pictures", tmp_path / "s", budget=budget, device="cpu", workers=0, told=told.append)
    assert [(run.arm, run.seed) for run in told] == [("none", 0), ("a tenth", 0), ("none", 1), ("a tenth", 1)]
    assert len(result.verdicts) == 1
    write_pages(result, tmp_path / "s", command="inceptions study smoothing", data="pictures")
    text = (tmp_path / "s" / "study.md").read_text()
    assert text == as_markdown(result, command="inceptions study smoothing", data="pictures")
    assert "| none |" in text
    assert (tmp_path / "s" / "study.svg").stat().st_size > 1000
    assert json.loads((tmp_path / "s" / "study.json").read_text())["verdicts"][0]["word"] == result.verdicts[0].word

    (tmp_path / "s" / "a-tenth" / "seed-1" / "finished.json").unlink()  # as if it had been killed in the last run
    before = (tmp_path / "s" / "none" / "seed-0" / "metrics.csv").stat().st_mtime_ns
    again = run_study(STUDY, splits, "pictures", tmp_path / "s", budget=budget, device="cpu", workers=0)
    assert (tmp_path / "s" / "none" / "seed-0" / "metrics.csv").stat().st_mtime_ns == before
    assert [run.accuracy for run in again.runs] == [run.accuracy for run in result.runs]


def test_models_of_more_seeds_and_more_crops_are_averaged(pictures, tmp_path):
    study = Study("averages", "t", "h", "1409.4842", (Arm("model", TINY, RECIPE),), (), "averages", seeds=2)
    splits = load_splits(pictures)
    result = run_study(study, splits, "pictures", tmp_path, budget=Budget(epochs=1, images=90), device="cpu", workers=0)
    assert [(row.models, row.crops) for row in result.averages] == [(n, crops) for crops in (1, 10, 144) for n in (1, 2)]
    assert {row.images for row in result.averages} == {9}  # a tenth of the 90, three of each class
    rows = result.averages
    assert rows[-1].multiply_adds == 2 * 144 * rows[0].multiply_adds
    said = {(verdict.claim.better, verdict.claim.worse) for verdict in result.verdicts}
    assert ("1 model, 144 crops", "1 model, 10 crops") in said
    assert ("2 models, 1 crop", "1 model, 1 crop") in said
    write_pages(result, tmp_path, command="inceptions study averages", data="pictures")
    saved = read_predictions(tmp_path / "predictions.parquet").scores
    for row, told in zip(rows, json.loads((tmp_path / "study.json").read_text())["averages"], strict=True):
        score = saved[" + ".join(f"seed {seed}" for seed in range(row.models)), row.crops]
        assert told["error"]["value"] == pytest.approx(1 - score.accuracy)
        assert f"| {row.models} | {row.crops} | " in (tmp_path / "study.md").read_text()


def test_fewer_images_are_the_same_share_of_each_class(pictures):
    train = load_splits(pictures).train
    kept = fewer(train, 30)
    assert len(kept) == 30
    assert {label: sum(s.label == label for s in kept) for label in range(3)} == {0: 10, 1: 10, 2: 10}
    assert fewer(train, 30) == kept
    assert fewer(train, 1000) == train
