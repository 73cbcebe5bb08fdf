import numpy as np
import pytest
import torch

from inceptions.evaluation.score import Score, score_of, wilson


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
    assert make([], []).interval == (0.0, 1.0)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, Table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_interval_is_wilsons(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)


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


def test_what_is_not_a_number_is_right_nowhere():
    found = score_of(torch.full((2, 8), float("nan")), torch.arange(2), np.arange(2))
    assert found.right_in(5) == 0
