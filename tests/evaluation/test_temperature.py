"""One temperature of logits: where their cross-entropy is least, and what is done where that says nothing."""

import pytest
import torch
from torch.nn import functional

from inceptions.evaluation.temperature import MOST_LOGITS, fit_temperature, thinned


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_the_temperature_of_logits_that_are_scaled_is_found(scale):
    """Within the error of 20,000 images, three standard deviations of it."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]  # what a network that is calibrated would be right about
    fitted = fit_temperature((scale * logits).log_softmax(1), labels)
    assert fitted.temperature == pytest.approx(scale, rel=0.03)
    assert (fitted.images, fitted.note) == (20_000, "")


def test_no_other_temperature_has_a_lower_cross_entropy_and_the_order_of_images_is_nothing():
    torch.manual_seed(1)
    logits, labels = 3 * torch.randn(500, 4), torch.randint(4, (500,))
    labels = torch.where(labels > 0, logits.argmax(1), labels)
    found = fit_temperature(logits, labels).temperature
    losses = [float(functional.cross_entropy(logits.double() / (found * factor), labels)) for factor in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])
    order = torch.randperm(500)
    assert fit_temperature(logits[order], labels[order]).temperature == found


def test_where_all_images_are_right_the_mean_confidence_is_laplaces_and_not_one():
    torch.manual_seed(2)
    labels = torch.randint(3, (58,))
    logits = functional.one_hot(labels, 3) + 0.3 * torch.rand(58, 3)
    fitted = fit_temperature(logits, labels)
    assert (logits / fitted.temperature).softmax(1).amax(1).mean() == pytest.approx(59 / 60, abs=1e-5)
    assert "all of them are right" in fitted.said("validation")


def test_a_temperature_beyond_its_range_is_at_its_end_and_that_is_said():
    labels = torch.arange(40) % 4
    wrong = fit_temperature(10 * torch.eye(4)[(labels + 1) % 4], labels)
    small = fit_temperature(1e-4 * torch.eye(4)[labels], labels)
    assert (wrong.temperature, small.temperature) == (20, 0.05)
    assert all("0.05 to 20, and the best is beyond" in found.said("validation") for found in (wrong, small))


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (torch.randn(19, 3), "there are 19 images"),
        (torch.zeros(0, 1), "there are 0 images"),
        (torch.full((50, 3), float("nan")), "there are 0 images"),
        (torch.randn(50, 1), "there is one class"),
        (torch.ones(50, 3), "the same of all classes"),
    ],
)
def test_what_says_nothing_leaves_the_temperature_at_one_and_says_why(logits, said):
    fitted = fit_temperature(logits, torch.zeros(len(logits), dtype=torch.int64))
    assert fitted.temperature == 1
    assert said in fitted.said("validation")


def test_images_whose_logits_are_no_numbers_are_left_out():
    torch.manual_seed(3)
    logits, labels = torch.randn(100, 3), torch.randint(3, (100,))
    spoiled = torch.cat([logits, torch.tensor([[float("nan"), 0, 0], [float("inf"), 0, 0], [0, -float("inf"), 0]])])
    assert fit_temperature(spoiled, torch.cat([labels, torch.zeros(3, dtype=torch.int64)])) == fit_temperature(logits, labels)


def test_so_many_images_are_enough_that_their_logits_fit_into_memory():
    assert range(6)[thinned(6, classes=10)] == range(6)
    taken = range(10**6)[thinned(10**6, classes=1000)]
    assert MOST_LOGITS / 2 < 1000 * len(taken) <= MOST_LOGITS + 1000
