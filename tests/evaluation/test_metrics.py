"""Errors, intervals, calibration and class rows against values worked out otherwise."""

import numpy as np
import pytest
import torch

from inceptions.evaluation.metrics import calibration_error, class_rows, error, error_difference, top5_error
from inceptions.evaluation.score import Score, score_of


@pytest.fixture
def score():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(400, 4)) * 2).float()
    labels = torch.from_numpy(rng.integers(0, 3, 400))  # no image of the last class
    return score_of(logits.log_softmax(1), labels, np.arange(400))


def test_error_counts_the_true_class_outside_the_likeliest(score):
    assert error(score).value == pytest.approx(1 - score.accuracy)
    assert error(score, k=4).value == 0
    assert error(score).low < error(score).value < error(score).high


def test_calibration_error_is_the_definition(score):
    right = score.predicted == score.labels
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (score.confidence > low) & (score.confidence <= low + 1 / 15)
        if inside.any():
            total += inside.sum() / 400 * abs(right[inside].mean() - score.confidence[inside].mean())
    assert calibration_error(score) == pytest.approx(total, abs=1e-5)


def test_a_confidence_of_one_is_of_the_last_bin():
    ranks, confidence = np.repeat([0, 1, 0], [95, 5, 100]), np.repeat([1.0, 0.95], 100).astype(np.float32)
    nothing = np.zeros(200)
    found = Score(np.arange(200), nothing.astype(np.int64), nothing.astype(np.int64), confidence, nothing, ranks)
    assert calibration_error(found) == pytest.approx(0, abs=1e-6)  # 195 of 200 right, and 97.5 % sure


def test_class_rows_are_the_definitions_and_say_nothing_of_a_class_without_images(score):
    rows = class_rows(score, ("a", "b", "c", "d"))
    for k in range(3):
        hits = np.sum((score.predicted == k) & (score.labels == k))
        assert rows[k].recall == pytest.approx(hits / np.sum(score.labels == k))
        assert rows[k].precision == pytest.approx(hits / np.sum(score.predicted == k))
        assert rows[k].f1 == pytest.approx(2 * rows[k].recall * rows[k].precision / (rows[k].recall + rows[k].precision))
        wrong = [np.sum((score.labels == k) & (score.predicted == other)) if other != k else 0 for other in range(4)]
        assert (rows[k].taken_for, rows[k].taken_for_count) == ("abcd"[int(np.argmax(wrong))], max(wrong))
    assert rows[3].images == 0
    assert np.isnan([rows[3].recall, rows[3].f1]).all()


def test_paired_bootstrap_is_that_of_drawing_images(score):
    rng = np.random.default_rng(1)
    ranks = np.where(rng.random(400) < 0.2, 0, score.ranks)
    other = score_of(torch.zeros(400, 4).log_softmax(1), torch.zeros(400, dtype=torch.int64), np.arange(400))
    other = type(other)(other.indices, score.labels, other.predicted, other.confidence, other.losses, ranks)
    found = error_difference(score, other)
    errors = 100 * ((ranks >= 1).astype(float) - (score.ranks >= 1))
    drawn = np.sort([errors[rng.integers(0, 400, 400)].mean() for _ in range(4000)])
    assert found.value == pytest.approx(errors.mean())
    assert (found.low, found.high) == pytest.approx((drawn[100], drawn[3900]), abs=1)


def test_fewer_errors_than_the_base_are_points_below_zero():
    labels, places = torch.tensor([0, 0, 1, 1]), np.arange(4)
    base, better = (score_of(torch.eye(2)[predicted].log(), labels, places) for predicted in ([0, 1, 0, 1], [0, 0, 0, 1]))
    assert error_difference(base, better).value == -25
    assert error_difference(better, base).value == 25


def test_a_model_of_one_class_has_numbers_too():
    score = score_of(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), np.arange(3))
    (row,) = class_rows(score, ("only",))
    assert (row.images, row.recall, row.precision, row.f1, row.taken_for) == (3, 1, 1, 1, "")
    assert error(score).value == calibration_error(score) == 0


def test_of_five_classes_the_top_5_error_says_nothing(score):
    assert top5_error(score, classes=5) is None
    assert top5_error(score, classes=6) == error(score, k=5)


def test_what_is_not_a_number_is_wrong_and_spoils_no_mean(score):
    """An image of which a network made nan had accuracy 0.5 and error 1.0 with it, and all images' calibration was nan."""
    outputs = torch.tensor([[2.0, 1.0], [float("nan"), 1.0], [1.0, 2.0], [2.0, 1.0]]).log_softmax(1)
    labels, places = torch.tensor([0, 0, 1, 1]), np.arange(4)
    found, without = (score_of(outputs[rows], labels[rows], places[rows]) for rows in ([0, 1, 2, 3], [0, 2, 3]))
    assert found.nan_outputs == 1
    assert found.accuracy == found.interval.value == 1 - error(found).value == 0.5
    assert (found.loss, calibration_error(found)) == (without.loss, calibration_error(without))
    first, second = class_rows(found, ("a", "b"))
    assert (first.images, first.recall, first.precision) == (2, 0.5, 0.5)
    assert (second.images, second.taken_for_count) == (2, 1)
    assert found.confusion(2).sum() == 3


def test_different_images_cannot_be_compared(score):
    with pytest.raises(ValueError, match="same images"):
        error_difference(score, score_of(torch.zeros(2, 4), torch.tensor([0, 1]), np.arange(2)))
