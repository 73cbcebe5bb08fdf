"""What a study's pages say of intervals that are not known, and of errors that are fewer."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from inceptions.evaluation.evaluate import Row
from inceptions.evaluation.score import score_of
from inceptions.networks.registry import get_network
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


@pytest.mark.parametrize(("by", "is_told"), [("deaths", True), (None, False)])
def test_that_no_run_died_is_told_of_every_arm_where_it_is_asked(by, is_told):
    result = result_of_one_seed()
    said = as_markdown(replace(result, study=replace(STUDY, claims=(Claim("new", "old", by=by),))), command="c", data="d")
    assert ("all images: old: 0 of 1; new: 0 of 1." in said) is is_told


def test_fewer_errors_are_points_below_zero_in_the_table_the_verdict_and_json(tmp_path):
    labels = torch.zeros(40, dtype=torch.int64)
    rows = []
    for models in (1, 2):
        for place, crops in enumerate((1, 10, 144)):
            wrong = torch.arange(40) < 20 - 5 * place - 2 * models
            score = score_of(torch.eye(2)[wrong.long()].log(), labels, np.arange(40))
            rows.append(Row(tuple("ab"[:models]), crops, 1, score))
    result = replace(result_of_one_seed(), averages=table(rows), verdicts=judge_averages(rows))
    text = as_markdown(result, command="c", data="d")
    assert "| 1 | 10 | 0 | 32.50 | 20.1 to 48.0 | -12.50 (" in text
    verdict = result.verdicts[0]
    assert (verdict.difference.value, verdict.word) == (-12.5, "shown")
    assert verdict.said.startswith("1 model, 10 crops: 12.5 points fewer errors than 1 model, 1 crop (-")
    write_pages(result, tmp_path, command="c", data="d")
    found = json.loads((tmp_path / "study.json").read_text())
    assert found["averages"][1]["against_base"]["value"] == found["verdicts"][0]["difference"]["value"] == -12.5


@pytest.mark.parametrize(
    ("errors", "word", "gained"),
    [((60, 20, 18, 17), "shown", 39.0), ((60, 50, 40, 30), "not shown at this size", 0.0), ((60, 59, 50, 10), "contradicted", -39.0)],
)
def test_the_first_step_to_more_crops_is_held_against_the_last(errors, word, gained):
    labels, order = torch.zeros(100, dtype=torch.int64), np.random.default_rng(0).permutation(100)
    rows = []
    for crops, count in zip((1, 10, 12, 144), errors, strict=True):
        wrong = torch.from_numpy(order < count) if crops != 12 else torch.arange(100) < count
        score = score_of(torch.eye(2)[wrong.long()].log(), labels, order if crops != 12 else np.arange(100))
        rows.append(Row(("a",), crops, 1, score))
    verdict = judge_averages(rows)[-1]
    assert (verdict.claim.better, verdict.claim.worse) == ("1 to 10 crops", "12 to 144 crops")
    assert (verdict.word, verdict.difference.value) == (word, pytest.approx(gained))
    assert verdict.difference.low <= gained <= verdict.difference.high


def test_where_no_crops_change_anything_nothing_is_shown_of_gains():
    score = score_of(torch.eye(2)[torch.zeros(10, dtype=torch.int64)].log(), torch.zeros(10, dtype=torch.int64), np.arange(10))
    verdict = judge_averages([Row(("a",), crops, 1, score) for crops in (1, 10, 144)])[-1]
    assert (verdict.word, verdict.difference.low, verdict.difference.high) == ("not shown at this size", 0.0, 0.0)
