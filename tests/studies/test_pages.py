"""What a study's pages say of intervals that are not known, and of errors that are fewer."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.evaluation.evaluate import Row
from inceptions.evaluation.score import score_of
from inceptions.networks.registry import get_network
from inceptions.studies import pages
from inceptions.studies.averages import judge_averages, table
from inceptions.studies.pages import as_markdown, write_pages
from inceptions.studies.run import ArmResult, StudyResult
from inceptions.studies.study import Arm, Claim, Study
from inceptions.studies.verdict import RunResult, interval, judge
from inceptions.training.recipe import Recipe

ARMS = tuple(Arm(name, get_network("inception_small"), Recipe()) for name in ("old", "new"))
STUDY = Study("s", "A title", "new is better", "source", ARMS, (Claim("new", "old"),))


def result_of_one_seed():
    runs = tuple(RunResult(arm.name, 0, 0.5, (0.4, float("nan")), 10, 1.0) for arm in ARMS)
    arms = tuple(ArmResult(arm.name, 1, 1, interval([0.5]), 1.0) for arm in ARMS)
    return StudyResult(STUDY, arms, runs, tuple(judge(STUDY, runs, {"old": 1, "new": 1})))


def test_one_seed_has_no_interval_and_json_says_so_with_null(tmp_path):
    """`-Infinity` and `NaN` stood there, which no other reader of JSON takes."""
    write_pages(result_of_one_seed(), tmp_path, command="c", data="d")
    found = json.loads((tmp_path / "study.json").read_text(), parse_constant=pytest.fail)
    assert found["arms"][0]["accuracy"] == {"value": 0.5, "low": None, "high": None}
    assert found["runs"][0]["curve"] == [0.4, None]


@pytest.mark.parametrize(("images", "said"), [((90, 12), "12 others"), ((90, 0), "the same")])
def test_the_budget_is_told(tmp_path, images, said):
    result = replace(result_of_one_seed(), images=images)
    write_pages(result, tmp_path, command="c", data="d")
    assert f"1 seed on d, 2 epochs of 90 images in 20 steps, accuracy of {said}; " in (tmp_path / "study.md").read_text()
    found = json.loads((tmp_path / "study.json").read_text())
    assert (found["epochs"], found["images"]) == (2, {"training": 90, "in_the_end": images[1]})


@pytest.mark.parametrize(("by", "is_told"), [("deaths", True), (None, False)])
def test_that_no_run_died_is_told_of_every_arm_where_it_is_asked(by, is_told):
    result = result_of_one_seed()
    said = as_markdown(replace(result, study=replace(STUDY, claims=(Claim("new", "old", by=by),))), command="c", data="d")
    assert ("all images: old: 0 of 1; new: 0 of 1." in said) is is_told


def scored(models, crops, wrong):
    """Return a row of images of one class of two, of which those are wrong; of each model and crop a million multiply-adds."""
    score = score_of(torch.eye(2)[wrong.long()].log(), torch.zeros(len(wrong), dtype=torch.int64), np.arange(len(wrong)))
    return Row(models, crops, 10**6 * crops * len(models), score)


def test_fewer_errors_are_points_below_zero_in_the_table_the_verdict_and_json(tmp_path):
    rows = []
    for models, errors in {("a",): (18, 13, 8), ("a", "b"): (16, 11, 6), ("b",): (18, 15, 8)}.items():
        rows += [scored(models, crops, torch.arange(40) < count) for crops, count in zip((1, 10, 144), errors, strict=True)]
    result = replace(result_of_one_seed(), averages=table(rows), verdicts=judge_averages(rows))
    text = as_markdown(result, command="c", data="d")
    assert "| 1 | 10 | 10 | 32.50 | 20.1 to 48.0 | -12.50 (" in text
    assert [row.models for row in result.averages] == [1, 1, 1, 2, 2, 2]  # that of b alone is no line of the table
    said = [(verdict.word, verdict.said) for verdict in result.verdicts]
    spread = 2.5 * 12.706  # two seeds, 12.5 and 7.5 points
    few = f"each model, 10 crops: 10.0 points fewer errors than each model, 1 crop ({-10 - spread:+.1f} to {-10 + spread:+.1f})"
    assert said[0] == ("not shown at this size", few)
    # two of 40 images, which are drawn anew: 97.5 % of a binomial distribution's counts are 5 at most, and 2.5 % are none
    assert said[2] == ("not shown at this size", "2 models, 1 crop: 5.0 points fewer errors than each model, 1 crop (-12.5 to +0.0)")
    alone = judge_averages([row for row in rows if row.models == ("a",)])[0]
    assert alone.word == "not shown at this size" and alone.said.endswith(" (one seed, no interval)")
    write_pages(result, tmp_path, command="c", data="d")
    found = json.loads((tmp_path / "study.json").read_text())
    assert found["averages"][1]["against_base"]["value"] == -12.5
    assert found["verdicts"][0]["difference"]["value"] == pytest.approx(-10)
    axis = pages._plot_averages(result).axes[0]
    assert axis.get_xscale() == "log"
    drawn = {line.get_label(): list(line.lines[0].get_xdata()) for line in axis.containers}
    assert drawn == {"1 model": [1, 10, 144], "2 models": [2, 20, 288]}  # as lines, of which there are fewer than of crops


@pytest.mark.parametrize(
    ("errors", "word", "gained"),
    [((60, 20, 18, 17), "shown", 39.0), ((60, 50, 40, 30), "not shown at this size", 0.0), ((60, 59, 50, 10), "contradicted", -39.0)],
)
def test_the_first_step_to_more_crops_is_held_against_the_last(errors, word, gained):
    rows = []
    for seed, more in (("a", 0), ("b", 1), ("c", 2)):  # of a model that errs more at all crops nothing changes
        counts = zip((1, 10, 12, 144), errors, strict=True)
        rows += [scored((seed,), crops, torch.arange(100) < count + more) for crops, count in counts]
    verdict = judge_averages(rows)[-1]
    assert (verdict.claim.better, verdict.claim.worse) == ("1 to 10 crops", "12 to 144 crops")
    assert (verdict.word, verdict.difference.value) == (word, pytest.approx(gained))
    assert verdict.difference.low <= gained <= verdict.difference.high


def test_where_no_crops_change_anything_nothing_is_shown_of_gains():
    verdict = judge_averages([scored((seed,), crops, torch.arange(10) < 0) for crops in (1, 10, 144) for seed in "ab"])[-1]
    assert (verdict.word, verdict.difference.low, verdict.difference.high) == ("not shown at this size", 0.0, 0.0)
