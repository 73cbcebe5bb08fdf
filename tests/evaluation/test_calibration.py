import pytest
import torch
from torch import nn
from torch.nn import functional

from inceptions.evaluation.calibration import apply_temperature, fit_temperature


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_the_temperature_of_logits_that_are_scaled_is_found(scale):
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]  # what a network that is calibrated would be right about
    assert fit_temperature((scale * logits).log_softmax(1), labels) == pytest.approx(scale, rel=0.03)


def test_no_other_temperature_has_a_lower_cross_entropy():
    torch.manual_seed(1)
    logits, labels = 3 * torch.randn(500, 4), torch.randint(4, (500,))
    labels = torch.where(labels > 0, logits.argmax(1), labels)
    found = fit_temperature(logits, labels)
    losses = [float(functional.cross_entropy(logits.double() / (found * factor), labels)) for factor in (0.99, 1.0, 1.01)]
    assert losses[1] < min(losses[0], losses[2])


def test_a_network_that_is_always_right_or_never_has_a_temperature_all_the_same():
    logits = torch.eye(4)
    assert fit_temperature(logits, torch.arange(4)) == pytest.approx(0.05, rel=1e-6)
    assert fit_temperature(logits, (torch.arange(4) + 1) % 4) == pytest.approx(20, rel=1e-6)


def test_a_classifier_that_is_given_a_temperature_divides_its_logits_and_answers_the_same():
    torch.manual_seed(0)
    classifier, features = nn.Linear(6, 3), torch.randn(5, 6)
    before = classifier(features)
    apply_temperature(classifier, 2.5)
    assert torch.allclose(classifier(features), before / 2.5)
