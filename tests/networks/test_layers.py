"""Windows of convolutions and pools, cell by cell, under each rule of padding, against a reference that says which pixels a window sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from inceptions.networks.modules.build import build
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import get_network
from inceptions.networks.spec import AvgPool, Conv, L2Normalize, MaxPool, NetworkError, Node, Numerics, Parallel, Residual, SeparableConv
from inceptions.networks.trace import Shape, same_padding, trace_node, window_count
from tests.networks.twins import noise

RULES = ("tensorflow", "symmetric", "ceil", "floor")


def windows(size: int, kernel: int, stride: int, dilation: int, rule: str) -> list[range]:
    """Return the positions that each window covers along one side; those outside 0 to size are padding (networks.md 0.2)."""
    reach = dilation * (kernel - 1) + 1
    match rule:
        case "tensorflow":
            count = -(-size // stride)
            before = max((count - 1) * stride + reach - size, 0) // 2
        case "symmetric":
            before = (reach - 1) // 2
            count = (size + 2 * before - reach) // stride + 1
        case _:
            before, count = 0, (size - reach) // stride + 1
            if rule == "ceil":  # one more where pixels are left over and it starts on one
                count += (size - reach) % stride > 0 and count * stride < size
    return [range(i * stride - before, i * stride - before + reach, dilation) for i in range(count)]


def seen(x: Tensor, spans: list[range], reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `reduce` makes of the pixels that each of the square windows sees, in (C, H, W)."""
    inside = [[p for p in span if 0 <= p < x.shape[-1]] for span in spans]
    return torch.stack([torch.stack([reduce(x[:, rows][:, :, columns].flatten(1)) for columns in inside], -1) for rows in inside], -2)


def made(node: Node, size: int, numerics: Numerics) -> nn.Module:
    return build(node, Shape(2, size, size), replace(get_network("inception_small"), numerics=numerics), "here")[0]


def cases() -> Iterator[tuple[int, int, int, int, str]]:
    for size, kernel, stride, dilation, rule in product((5, 6, 7, 8), (1, 2, 3, 5), (1, 2, 3), (1, 2), RULES):
        if dilation * (kernel - 1) < size and (dilation == 1 or stride == 1):
            yield size, kernel, stride, dilation, rule


@pytest.mark.parametrize("rule", RULES)
@torch.no_grad()
def test_max_pools_see_the_pixels_that_the_rule_says(rule: str) -> None:
    count = 0
    for size, kernel, stride, dilation, _ in (case for case in cases() if case[-1] == rule):
        spans = windows(size, kernel, stride, dilation, rule if stride > 1 else "tensorflow")
        x = noise(2, size, size) - 2  # below zero, so that padding with zeros would show
        pool = made(MaxPool(kernel, stride=stride, dilation=dilation), size, Numerics(pool_padding=rule))
        torch.testing.assert_close(pool(x[None])[0], seen(x, spans, lambda w: w.amax(1)), msg=f"{size=} {kernel=} {stride=} {dilation=}")
        count += 1
    assert count > 40


@pytest.mark.parametrize("rule", ["tensorflow", "symmetric"])
@pytest.mark.parametrize("kind", [Conv, SeparableConv])
@torch.no_grad()
def test_convolutions_see_the_pixels_that_the_rule_says(kind: type, rule: str) -> None:
    for size, kernel, stride, dilation, _ in (case for case in cases() if case[-1] == rule):
        spans = windows(size, kernel, stride, dilation, rule if stride > 1 else "tensorflow")
        node = kind(1, kernel, stride=stride, dilation=dilation, norm=False, bias=False, activation=None)
        layer, x = made(node, size, Numerics(conv_padding=rule)), noise(2, size, size)
        for weight in layer.parameters():
            weight.fill_(1)
        expected = seen(x, spans, lambda w: w.sum().expand(1))
        torch.testing.assert_close(layer(x[None])[0], expected, msg=f"{size=} {kernel=} {stride=} {dilation=}")


@torch.no_grad()
def test_kernels_that_are_not_square_pad_each_side_for_itself() -> None:
    x = noise(1, 2, 6, 6)
    for kernel, before in (((1, 7), (0, 3)), ((7, 1), (3, 0)), ((3, 1), (1, 0))):
        layer = made(Conv(1, kernel, norm=False, bias=False, activation=None), 6, Numerics())
        assert (layer.conv.kernel_size, layer.conv.padding) == (kernel, before)
        assert layer(x).shape == (1, 1, 6, 6)
    strided = made(Conv(1, (1, 4), stride=2, norm=False, bias=False, activation=None), 6, Numerics())
    strided.conv.weight.fill_(1)
    torch.testing.assert_close(strided(x)[0, 0, 1], torch.stack([x[0, :, 2, max(i - 1, 0) : i + 3].sum() for i in (0, 2, 4)]))


@pytest.mark.parametrize("counts_padding", [False, True])
@torch.no_grad()
def test_average_pools_count_padding_only_where_the_numerics_say_so(counts_padding: bool) -> None:
    pool = made(AvgPool(3), 5, Numerics(avg_pool_counts_padding=counts_padding))
    x = noise(2, 5, 5)
    expected = seen(x, windows(5, 3, 1, 1, "tensorflow"), lambda w: w.sum(1) / (9 if counts_padding else w.shape[1]))
    torch.testing.assert_close(pool(x[None])[0], expected)


def test_trace_counts_the_windows_that_there_are() -> None:
    for size, kernel, stride, dilation, rule in cases():
        assert window_count(size, kernel, stride, dilation, rule) == len(windows(size, kernel, stride, dilation, rule))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (224, 7, 2, (2, 3)),
        (112, 3, 2, (0, 1)),
        (75, 3, 2, (1, 1)),
        (14, 2, 2, (0, 0)),
        (35, 3, 1, (1, 1)),
        (74, 3, 2, (0, 1)),
        (3, 1, 2, (0, 0)),
    ],
)
def test_same_padding_is_that_of_the_reference(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding


@torch.no_grad()
def test_branches_are_concatenated_in_the_order_written_and_bodies_are_added() -> None:
    x, pool, double = noise(1, 2, 6, 6), MaxPool(3), (MaxPool(3), MaxPool(5))
    split = made(Parallel(wide=double, narrow=pool, same=()), 6, Numerics())
    wide, narrow = made(double, 6, Numerics())(x), made(pool, 6, Numerics())(x)
    torch.testing.assert_close(split(x), torch.cat([wide, narrow, x], dim=1))
    added = made(Residual(double, scale=-0.5, shortcut=pool, activation="relu"), 6, Numerics())
    torch.testing.assert_close(added(x), (narrow - 0.5 * wide).relu())
    torch.testing.assert_close(made(Residual(double), 6, Numerics())(x), x + wide)


@torch.no_grad()
def test_vectors_leave_normalisation_with_length_one() -> None:
    layer, x = made(L2Normalize(), 1, Numerics()), noise(4, 7)
    torch.testing.assert_close(layer(x), x / (x**2).sum(1, keepdim=True).sqrt())


def test_in_place_activations_leave_what_branches_share_alone() -> None:
    x = noise(1, 2, 6, 6).requires_grad_()
    block = made(Residual((Conv(2, 3), Conv(2, 1, activation=None)), activation="relu"), 6, Numerics())
    before = x.detach().clone()
    block(x).sum().backward()  # torch would raise where a value needed for the gradient had been written over
    assert x.detach().equal(before) and x.grad is not None and x.grad.any()


def test_window_larger_than_its_grid_is_refused() -> None:
    for node in (MaxPool(4, padding="valid"), Conv(1, (1, 4), padding="valid"), AvgPool(4, padding="valid")):
        with pytest.raises(NetworkError, match=rf"here: a {type(node).__name__} of \dx4 doesn't fit on a grid of 3x3; give a larger image"):
            trace_node(node, Shape(2, 3, 3), Numerics(), "here")


# ---- names


@pytest.mark.parametrize("name", ["modules", "forward", "training", "pop"])
def test_stage_with_a_name_of_torchs_own_modules_is_refused_by_its_name(name: str) -> None:
    small = get_network("inception_small")
    network = replace(small, stages=(replace(small.stages[0], name=name), *small.stages[1:]))
    with pytest.raises(NetworkError, match=f"^inception_small: stage '{name}': every Sequential of torch has something of that name; give"):
        create_model(network)


@pytest.mark.parametrize("name", ["", "2.a", "."])
def test_names_that_can_not_be_in_a_key_are_refused(name: str) -> None:
    small = get_network("inception_small")
    network = replace(small, stages=(replace(small.stages[0], name=name), *small.stages[1:]))
    with pytest.raises(NetworkError, match=f"^inception_small: stage '{re.escape(name)}': the name is a part of keys of the state dict"):
        create_model(network)


def test_branch_and_auxiliary_head_with_a_name_of_torchs_own_modules_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"^here, branch 'keys': every ModuleDict of torch has something of that name; give another one"):
        made(Parallel(keys=Conv(4, 1), pool=MaxPool(3)), 8, Numerics())
    googlenet = get_network("googlenet_bn")
    stages = tuple(replace(stage, name="items" if stage.name == googlenet.aux[0].after else stage.name) for stage in googlenet.stages)
    network = replace(googlenet, stages=stages, aux=(replace(googlenet.aux[0], after="items"),), features=())
    with torch.device("meta"), pytest.raises(NetworkError, match=r"^googlenet_bn: auxiliary head on 'items': every ModuleDict of torch"):
        create_model(network, aux=True)
