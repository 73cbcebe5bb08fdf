"""The paper's table in words: enters a `Network`, leaves rows of text and numbers, or JSON's own types. No torch."""

from __future__ import annotations

from typing import Any, assert_never

from inceptions.networks import reshape, spec
from inceptions.networks.spec import Convolution, Network, Node, Windowed, pair
from inceptions.networks.trace import Row, check_image, trace

_ACTIVATIONS = {"relu": "ReLU", "elu": "ELU", "sigmoid": "sigmoid"}


def label(node: Node) -> str:
    """Return a node as a line, as the reference tables write it: `64 | 48→64(5x5) | 64→96(3x3)→96(3x3) | avg(3x3)→32`.

    A number is a convolution's width; its kernel follows where it is not 1x1, then the stride, and V for VALID.
    """
    match node:
        case tuple():
            return "→".join(_repeated(node)) or "identity"
        case spec.Parallel():
            return " | ".join(_inner(branch) for _, branch in node.branches)
        case spec.Residual():
            return _residual(node)
        case spec.Conv():
            groups = f" in {node.groups} groups" if node.groups > 1 else ""
            return f"{node.channels}{_window(node)}{groups}{'' if node.activation else ' linear'}"
        case spec.SeparableConv():
            return f"sep {node.channels}{_window(node)}"
        case spec.Linear():
            return f"linear {node.channels}"
        case spec.MaxPool():
            return f"max{_window(node)}"
        case spec.AvgPool():
            return f"avg{_window(node)}"
        case spec.AdaptiveAvgPool():
            return "avg" if node.grid == 1 else f"avg to {node.grid}x{node.grid}"
        case spec.LocalResponseNorm():
            return f"LRN({node.size})"
        case spec.BatchNorm():
            return "BN" if node.activation is None else f"BN→{_ACTIVATIONS[node.activation]}"
        case spec.Activation():
            return _ACTIVATIONS[node.kind]
        case spec.Dropout():
            return f"dropout {node.rate:g}"
        case spec.L2Normalize():
            return "L2"
        case _:
            assert_never(node)


def _inner(node: Node) -> str:
    return f"{{{label(node)}}}" if isinstance(node, spec.Parallel) else label(node)


def _repeated(chain: tuple[Node, ...]) -> list[str]:
    out: list[str] = []
    index = 0
    while index < len(chain):
        times = 1
        while index + times < len(chain) and chain[index + times] == chain[index]:
            times += 1
        text = _inner(chain[index])
        if times > 1 and not isinstance(chain[index], Convolution | spec.MaxPool):
            out.append(f"{times} x [{text}]")
        else:
            out += [text] * times
        index += times
    return out


def _residual(node: spec.Residual) -> str:
    shortcut = "x" if node.shortcut == () else label(node.shortcut)
    scale = "" if node.scale == 1 else f"{node.scale:g}·"
    after = f"→{_ACTIVATIONS[node.activation]}" if node.activation else ""
    return f"{shortcut} + {scale}({label(node.body)}){after}"


def _window(node: Windowed) -> str:
    height, width = pair(node.kernel)
    stride = f"/{node.stride}" if node.stride > 1 else ""
    dilation = getattr(node, "dilation", 1)
    rate = f" rate {dilation}" if dilation > 1 else ""
    valid = " V" if node.padding == "valid" and max(height, width) > 1 else ""
    if isinstance(node, spec.Conv) and height == width == 1:
        return f"({height}x{width}{stride})" if stride else ""
    return f"({height}x{width}{stride}{rate}{valid})"


def describe(network: Network, *, image_size: int | None = None) -> dict[str, Any]:
    """Return the table of `network` at `image_size` pixels (its own when not given) as JSON's own types.

    Parameters train; multiply-adds are those of convolutions and linear layers for one image. The rows of `stages` add up to the totals.
    Auxiliary heads that don't fit the size are left out.
    Raises NetworkError that names the smallest size where that one is too small.
    """
    size = network.image_size if image_size is None else image_size
    check_image(network, size, size)
    table = trace(reshape.without_misfit_aux(network, image_size=size), size)
    return {
        "name": network.name,
        "title": network.title,
        "source": network.source,
        "image_size": size,
        "classes": network.classes,
        "parameters": table.total.parameters,
        "parameters_with_aux": table.total_with_aux.parameters,
        "multiply_adds": table.total.multiply_adds,
        "stages": [_row(row) for row in table.rows],
        "auxiliary_heads": [_row(row) for row in table.aux],
        "differs_from_paper": list(network.differs_from_paper),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "node": label(row.node),
        "output": list(row.cost.output),
        "parameters": row.cost.parameters,
        "multiply_adds": row.cost.multiply_adds,
    }


def summarize(network: Network) -> dict[str, Any]:
    """Return one line about `network`, as JSON's own types: name, title, source, image size, parameters, multiply-adds."""
    total = trace(network).total
    return {
        "name": network.name,
        "title": network.title,
        "source": network.source,
        "image_size": network.image_size,
        "parameters": total.parameters,
        "multiply_adds": total.multiply_adds,
    }
