"""Errors, intervals, calibration and class rows against values worked out otherwise."""

import numpy as np
import pytest
import torch

from inceptions.evaluation.metrics import calibration_error, class_rows, difference, error
from inceptions.evaluation.score import score_of


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
    found = difference(score, other)
    gains = (ranks < 1).astype(float) - (score.ranks < 1)
    drawn = np.sort([gains[rng.integers(0, 400, 400)].mean() for _ in range(4000)])
    assert found.value == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx((drawn[100], drawn[3900]), abs=0.01)


def test_different_images_cannot_be_compared(score):
    with pytest.raises(ValueError, match="same images"):
        difference(score, score_of(torch.zeros(2, 4), torch.tensor([0, 1]), np.arange(2)))
