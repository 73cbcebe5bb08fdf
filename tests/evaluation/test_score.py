import numpy as np
import pytest
import torch

from inceptions.evaluation.interval import wilson
from inceptions.evaluation.score import Score, join, predictions_of, score_of


def make(labels, predicted):
    labels, predicted = np.array(labels), np.array(predicted)
    ones = np.ones(len(labels))
    return Score(np.arange(len(labels)), labels, predicted, ones, ones, (labels != predicted).astype(int))


def test_accuracy_and_confusion_count_rows_as_truth():
    score = make([0, 0, 1, 2], [0, 1, 1, 0])
    assert score.accuracy == 0.5
    assert score.confusion(3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_nothing_scored_is_not_a_number():
    assert np.isnan(make([], []).accuracy)
    assert (make([], []).interval.low, make([], []).interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, Table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_interval_is_wilsons(right, count, low, high):
    found = wilson(right, count)
    assert (found.value, found.low, found.high) == pytest.approx((right / count, low, high), abs=1e-4)


def test_score_of_log_probabilities_by_hand():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6]])
    score = score_of(probabilities.log(), torch.tensor([0, 2, 0]), np.array([4, 7, 9]))
    assert score.predicted.tolist() == [0, 1, 2]
    assert score.ranks.tolist() == [0, 1, 2]
    assert [score.right_in(k) for k in (1, 2, 3)] == [1, 2, 3]
    assert score.confidence == pytest.approx([0.7, 0.5, 0.6])
    assert score.loss == pytest.approx(-np.log([0.7, 0.3, 0.1]).mean())


def test_of_equal_classes_the_first_is_predicted_and_the_others_are_wrong():
    """A network that says the same of all classes was right in each image by its rank."""
    found = score_of(torch.full((4, 4), 0.25).log(), torch.arange(4), np.arange(4))
    assert found.predicted.tolist() == [0, 0, 0, 0]
    assert found.ranks.tolist() == [0, 1, 2, 3]
    assert found.right_in(1) == round(4 * found.accuracy) == 1


@pytest.mark.parametrize("place", [0, 1, 3])
def test_what_is_not_a_number_is_right_nowhere(place):
    """The first nan is the greatest to torch, and so was the predicted class."""
    logits = torch.zeros(2, 8)
    logits[:, place] = float("nan")
    found = score_of(logits, torch.tensor([place, 5]), np.arange(2))
    assert found.predicted.tolist() == [-1, -1]
    assert found.right_in(7) == found.accuracy == 0
    assert np.isnan([*found.losses, *found.confidence]).all()
    assert predictions_of(logits, np.arange(2)).nan_outputs == 2


def test_a_share_without_images_joins_the_others():
    empty = score_of(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), np.zeros(0, np.int64))
    some = score_of(torch.eye(3), torch.tensor([0, 1, 1]), np.array([5, 1, 3]))
    assert join([empty, some]).indices.tolist() == [1, 3, 5]
    assert join([empty, some]).accuracy == some.accuracy
