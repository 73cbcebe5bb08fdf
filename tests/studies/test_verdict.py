"""Intervals and words against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest

from inceptions.networks.registry import get_network
from inceptions.studies.study import Arm, BatchNoise, Claim, Study
from inceptions.studies.verdict import RunResult, interval, judge, steps_to
from inceptions.training.recipe import Recipe

NETWORK = get_network("inception_small")


def study(measure):
    arms = (Arm("old", NETWORK, Recipe()), Arm("new", NETWORK, Recipe()))
    return Study("s", "t", "h", "source", arms, (Claim("new", "old"),), measure)


def runs(old, new, *, curves=None):
    curves = curves or {"old": (0.5, 0.6), "new": (0.5, 0.6)}
    found = []
    for arm, accuracies in (("old", old), ("new", new)):
        found += [RunResult(arm, seed, value, curves[arm], 10, 1.0) for seed, value in enumerate(accuracies)]
    return found


def test_interval_is_students():
    found = interval([0.80, 0.82, 0.84])
    assert found.value == pytest.approx(0.82)
    assert found.high - found.value == pytest.approx(4.303 * 0.02 / math.sqrt(3), rel=1e-3)  # t of 2 degrees of freedom
    assert interval([0.5]).low == -math.inf


@pytest.mark.parametrize(
    ("new", "word"),
    [((0.83, 0.84, 0.85), "shown"), ((0.80, 0.86, 0.79), "not shown at this size"), ((0.70, 0.71, 0.72), "contradicted")],
)
def test_accuracy_is_compared_seed_by_seed(new, word):
    (verdict,) = judge(study("accuracy"), runs((0.80, 0.81, 0.82), new), {"old": 2, "new": 2})
    assert verdict.word == word
    assert verdict.difference.value == pytest.approx(sum(new) / 3 - 0.81)


@pytest.mark.parametrize(
    ("new", "word"),
    [((0.800, 0.811, 0.819), "shown"), ((0.75, 0.84, 0.83), "not shown at this size"), ((0.70, 0.71, 0.72), "contradicted")],
)
def test_no_worse_is_within_a_point(new, word):
    of_two = study("accuracy")
    (verdict,) = judge(replace(of_two, claims=(Claim("new", "old", no_worse=True),)), runs((0.80, 0.81, 0.82), new), {})
    assert verdict.word == word
    assert "the claim is no more than 1 point less" in verdict.said


def test_what_a_study_can_t_measure_is_refused():
    with pytest.raises(ValueError, match="no_worse is of accuracy or steps"):
        replace(study("cost"), claims=(Claim("new", "old", no_worse=True),))
    with pytest.raises(ValueError, match="arms have noise"):
        replace(study("accuracy"), arms=(Arm("old", NETWORK, Recipe(), BatchNoise()), Arm("new", NETWORK, Recipe())))

    with pytest.raises(ValueError, match="it measures surface, of which no claim can be judged by steps"):
        replace(study("surface"), claims=(Claim("new", "old", by="steps"),))
    with pytest.raises(ValueError, match="it measures accuracy, of which no claim can be judged by averages"):
        replace(study("accuracy"), claims=(Claim("new", "old", by="averages"),))


def test_a_claim_can_be_judged_by_another_score_than_the_studys_own():
    of_two = replace(study("cost"), claims=(Claim("new", "old"), Claim("new", "old", by="accuracy"), Claim("old", "new", by="steps")))
    verdicts = judge(of_two, runs((0.80, 0.81, 0.82), (0.83, 0.84, 0.85)), {"old": 1, "new": 2})
    assert [verdict.word for verdict in verdicts] == ["contradicted", "shown", "not shown at this size"]
    assert [verdict.said.split()[2] for verdict in verdicts] == ["200", "3.0", "the"]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ((True, True, True), (False, False, False), "shown"),
        ((True, True, False), (False, False, False), "not shown at this size"),
        ((True, True, True), (False, False, True), "not shown at this size"),
        ((True,), (False,), "not shown at this size"),
        ((False, False, False), (False, False, False), "contradicted"),
        ((False, False, False), (True, True, True), "contradicted"),
    ],
)
def test_runs_that_die_are_counted(old, new, word):
    found = [replace(run, died=(old if run.arm == "old" else new)[run.seed]) for run in runs((0.1,) * len(old), (0.1,) * len(new))]
    (verdict,) = judge(study("deaths"), found, {})
    assert (verdict.word, verdict.said) == (word, f"{sum(old)} of {len(old)} runs died (old), and {sum(new)} of {len(new)} (new)")


@pytest.mark.parametrize(
    ("new", "costs", "word"),
    [
        ((0.801, 0.811, 0.821), {"old": 10, "new": 2}, "shown"),
        ((0.70, 0.71, 0.72), {"old": 10, "new": 2}, "contradicted"),
        ((0.80, 0.81, 0.82), {"old": 10, "new": 10}, "contradicted"),
        ((0.75, 0.84, 0.83), {"old": 10, "new": 2}, "not shown at this size"),
    ],
)
def test_cost_counts_where_accuracy_is_no_lower(new, costs, word):
    (verdict,) = judge(study("cost"), runs((0.80, 0.81, 0.82), new), costs)
    assert verdict.word == word


def test_steps_are_those_to_the_accuracy_of_the_worse():
    curves = {"old": (0.2, 0.4, 0.6), "new": (0.5, 0.7, 0.9)}
    (verdict,) = judge(study("steps"), runs((0.6, 0.6), (0.9, 0.9), curves=curves), {})
    assert steps_to(runs((0.6,), (0.9,), curves=curves)[1], 0.6) == pytest.approx(15)
    assert verdict.word == "shown"
    assert "in 50 % (50 to 50) of its steps" in verdict.said
    never = {"old": (0.2, 0.9), "new": (0.5, 0.6)}
    (verdict,) = judge(study("steps"), runs((0.9, 0.9), (0.6, 0.6), curves=never), {})
    assert verdict.word == "contradicted"


@pytest.mark.parametrize(
    ("curve", "word", "said"),
    [
        (
            (0.2, 0.4, 0.6),
            "shown",
            "has half-way in 100 % (100 to 100) of its steps, and up to 125 % is as fast",
        ),
        ((0.1, 0.2, 0.4), "contradicted", "in 150 % (150 to 150) of its steps"),
        ((0.1, 0.1, 0.1), "contradicted", "does not reach the accuracy of old half-way with 2 of 2 seeds"),
    ],
)
def test_to_be_no_slower_is_judged_by_the_accuracy_half_way(curve, word, said):
    of_two = replace(study("steps"), claims=(Claim("new", "old", no_worse=True),))
    (verdict,) = judge(of_two, runs((0.9, 0.9), (0.6, 0.6), curves={"old": (0.2, 0.4, 0.9), "new": curve}), {})
    assert verdict.word == word
    assert said in verdict.said


def test_steps_to_an_accuracy_of_nothing_are_the_same():
    """They were divided by zero: few validation images, and an epoch in which none of them was right."""
    (verdict,) = judge(study("steps"), runs((0.0, 0.0), (0.5, 0.5), curves={"old": (0.0,), "new": (0.5,)}), {})
    assert verdict.word == "not shown at this size"
    assert verdict.difference.value == 0


def test_one_seed_shows_nothing():
    (verdict,) = judge(study("accuracy"), runs((0.1,), (0.9,)), {})
    assert verdict.word == "not shown at this size"


def test_claims_of_arms_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="claims of no others"):
        Study("s", "t", "h", "source", (Arm("a", NETWORK, Recipe()),), (Claim("a", "b"),))
