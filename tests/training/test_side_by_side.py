"""Images side by side give the gradients that each alone gives, and the convolutions that gain nothing by it are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inceptions.training import side_by_side
from inceptions.training.gradients import Gradients, Loss
from inceptions.training.side_by_side import SideBySide


@pytest.fixture
def done(monkeypatch):
    """The shapes of the weights whose gradients were worked out side by side."""
    shapes, plain = [], side_by_side._of_weight
    monkeypatch.setattr(side_by_side, "_of_weight", lambda *given: shapes.append(tuple(given[2].shape)) or plain(*given))
    return shapes


def whole_numbers(*shape, most=2):
    return torch.randint(-most, most + 1, shape).float()


# images, channels in and out, height, width, kernel, stride, padding; numbers so small that bfloat16 holds every product and most sums
@pytest.mark.parametrize(
    "given",
    [
        (19, 8, 5, 7, 7, (3, 3), 1, 1),
        (16, 4, 4, 15, 15, (3, 3), 2, 0),
        (33, 4, 6, 7, 8, (1, 7), 1, (0, 3)),
        (33, 4, 6, 8, 7, (7, 1), 1, (3, 0)),
        (8, 3, 4, 9, 16, (5, 5), 2, 2),
        (20, 3, 4, 9, 9, (2, 2), 1, 0),
        (20, 3, 4, 9, 10, (2, 2), 2, 1),
        (48, 3, 4, 1, 1, (3, 3), 1, 1),
    ],
)
def test_gradients_are_those_of_each_image_alone(given, done):
    torch.manual_seed(0)
    count, channels, out, height, width, kernel, stride, padding = given
    layer = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
    layer.weight.data = whole_numbers(*layer.weight.shape)
    images = whole_numbers(count, channels, height, width).requires_grad_()
    with SideBySide(), torch.autocast("cpu", torch.bfloat16):
        given_out = layer(images)
    upstream = whole_numbers(*given_out.shape, most=1)
    given_out.backward(upstream.bfloat16())
    found = [images.grad, layer.weight.grad]
    images.grad = layer.weight.grad = None
    truth = layer(images)
    truth.backward(upstream)
    assert done == [tuple(layer.weight.shape)]
    torch.testing.assert_close(given_out.float(), truth, rtol=2**-8, atol=0)
    for ours, theirs in zip(found, [images.grad, layer.weight.grad], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2**-8, atol=0)


@pytest.mark.parametrize(
    ("layer", "images"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), (16, 4, 7, 7)),  # which has a bias
        (nn.Conv2d(4, 4, 1, bias=False), (16, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), (16, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False), (16, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding="same", bias=False), (16, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False).requires_grad_(False), (16, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False), (16, 4, 9, 9)),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False), (7, 4, 7, 7)),
        (nn.Conv2d(4, 4, 3, padding=1, bias=False), (0, 4, 7, 7)),
    ],
)
def test_what_gains_nothing_is_left_to_torch(layer, images, done):
    with SideBySide(), torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.ones(images, requires_grad=True))
    out.sum().backward()
    assert not done


@pytest.mark.parametrize("beside", [False, True])
def test_a_step_does_so_where_it_is_told_to(beside, done):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % 8
    Gradients(Loss(), torch.bfloat16, side_by_side=beside).compute(model, [(images, labels, labels)], total=16.0)
    assert len(done) == beside


@pytest.mark.parametrize(
    ("device", "autocast", "has", "answer"),
    [
        ("cpu", torch.bfloat16, True, True),
        ("cpu", torch.bfloat16, False, False),
        ("cpu", None, True, False),
        ("cuda", torch.bfloat16, True, False),
    ],
)
def test_only_amx_gains_by_it(device, autocast, has, answer, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has})
    assert side_by_side.can_gain(torch.device(device), autocast) is answer
