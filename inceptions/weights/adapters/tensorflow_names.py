"""Where TensorFlow's networks keep each layer: TF-slim, DeepLab, FaceNet; and Keras.

The functions take a `Unit` and return the prefixes of its layer and of its batch normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from inceptions.networks.spec import Conv, SeparableConv
from inceptions.weights.adapters.torch_names import Prefixes
from inceptions.weights.units import Branch, Step, Unit

# ---- TF-slim

# Names that do not follow the rule, as released.
_IRREGULAR = {
    "InceptionV1/Mixed_5b/Branch_2/Conv2d_0b_3x3": "InceptionV1/Mixed_5b/Branch_2/Conv2d_0a_3x3",
    "InceptionV3/Mixed_5c/Branch_1/Conv2d_0a_1x1": "InceptionV3/Mixed_5c/Branch_1/Conv2d_0b_1x1",
    "InceptionV3/Mixed_5c/Branch_1/Conv2d_0b_5x5": "InceptionV3/Mixed_5c/Branch_1/Conv_1_0c_5x5",
    "InceptionV3/Mixed_6a/Branch_0/Conv2d_1a_3x3": "InceptionV3/Mixed_6a/Branch_0/Conv2d_1a_1x1",
    "InceptionV3/Mixed_6a/Branch_1/Conv2d_1a_3x3": "InceptionV3/Mixed_6a/Branch_1/Conv2d_1a_1x1",
    "InceptionV3/Mixed_7b/Branch_1/Conv2d_0c_3x1": "InceptionV3/Mixed_7b/Branch_1/Conv2d_0b_3x1",
    "InceptionResnetV2/Mixed_5b/Branch_0/Conv2d_0a_1x1": "InceptionResnetV2/Mixed_5b/Branch_0/Conv2d_1x1",
    "InceptionV4/Mixed_3a/Branch_1/Conv2d_1a_3x3": "InceptionV4/Mixed_3a/Branch_1/Conv2d_0a_3x3",
}
_STEM = {"conv1": "Conv2d_1a_7x7", "conv2_reduce": "Conv2d_2b_1x1", "conv2": "Conv2d_2c_3x3", "3a": "Mixed_3b", "3b": "Mixed_3c"}
_V1_SCOPES = {
    **_STEM,
    **{f"4{stage}": f"Mixed_4{scope}" for stage, scope in zip("abcde", "bcdef", strict=True)},
    **{"5a": "Mixed_5b", "5b": "Mixed_5c"},
}
_V2_SCOPES = {
    **_STEM,
    **{"3c": "Mixed_4a", "4a": "Mixed_4b", "4b": "Mixed_4c", "4c": "Mixed_4d", "4d": "Mixed_4e"},
    **{"4e": "Mixed_5a", "5a": "Mixed_5b", "5b": "Mixed_5c"},
}
_REPEATS = {"block35": "Repeat", "block17": "Repeat_1", "block8": "Repeat_2"}


def slim(scope: str, *, logits: str, aux: tuple[str, str, str] | None = None) -> Callable[[Unit], Prefixes]:
    """Return the names of the network under `scope`; `logits` is its last layer, `aux` the layers of its auxiliary head."""
    scopes = {"InceptionV1": _V1_SCOPES, "InceptionV2": _V2_SCOPES}.get(scope, {})

    def names(unit: Unit) -> Prefixes:
        prefix = f"{scope}/{_slim_layer(unit, scopes, logits=logits, aux=aux)}"
        prefix = _IRREGULAR.get(prefix, prefix)
        return prefix, f"{prefix}/BatchNorm"

    return names


def _slim_layer(unit: Unit, scopes: dict[str, str], *, logits: str, aux: tuple[str, str, str] | None) -> str:
    match unit.part, unit.trail:
        case "classifier", _:
            return logits
        case "head", _:
            return "Bottleneck"  # FaceNet's
        case part, (place,) if part.startswith("aux ") and aux is not None:
            return f"AuxLogits/{aux[-1] if place == 'classifier' else aux[0 if place == 1 else 1]}"
        case stage, (int(block), "body", *inside) if stage in _REPEATS:
            return f"{_REPEATS[stage]}/{stage}_{block + 1}/{_slim_residual(inside, unit)}"
        case "block8_last", ("body", *inside):
            return f"Block8/{_slim_residual(inside, unit)}"
        case stage, ():
            return scopes.get(stage, f"Conv2d_{stage}_{_size(unit)}")
        case stage, (Branch(_, branch), *rest):
            return f"{scopes.get(stage, f'Mixed_{stage}')}/Branch_{branch}/{_slim_conv(rest, unit)}"
    raise AssertionError(unit)


def _slim_residual(inside: Iterable[Step], unit: Unit) -> str:
    match list(inside):
        case [1] | [0, Branch(_, 0)]:
            where = "" if list(inside) == [1] else "Branch_0/"
            return f"{where}Conv2d_1x1"
        case [0, Branch(_, branch), *rest]:
            return f"Branch_{branch}/{_slim_conv(rest, unit)}"
    raise AssertionError(unit)


def _slim_conv(rest: list[Step], unit: Unit) -> str:
    """Return the convolution's own name: `1a` where it shrinks the grid, else `0` and a letter for its place in the branch."""
    assert isinstance(unit.node, Conv | SeparableConv)
    if unit.node.stride > 1 or (unit.node.padding == "valid" and max(unit.kernel) > 1):
        return f"Conv2d_1a_{_size(unit)}"
    place = sum(step.place if isinstance(step, Branch) else int(step) for step in rest)
    return f"Conv2d_0{'abcdefg'[place]}_{_size(unit)}"


def _size(unit: Unit) -> str:
    return f"{unit.kernel[0]}x{unit.kernel[1]}"


def deeplab(scope: str) -> Callable[[Unit], Prefixes]:
    """Return the names of DeepLab's Xception: `xception_65/middle_flow/block1/unit_3/xception_module/separable_conv1_depthwise`."""

    def names(unit: Unit) -> Prefixes:
        prefix = f"{scope}/{_deeplab_layer(unit)}"
        return prefix, f"{prefix}/BatchNorm"

    return names


def _deeplab_layer(unit: Unit) -> str:
    match unit.part, unit.trail:
        case "classifier", _:
            return "logits"
        case (("conv1_1" | "conv1_2"), ()):
            return f"entry_flow/{unit.part}"
        case "middle", (int(block), *inside):
            return f"middle_flow/block1/unit_{block + 1}/xception_module/{_deeplab_conv(inside, unit)}"
        case stage, inside:
            flow, number = stage[:-1], stage[-1]
            return f"{flow}_flow/block{number}/unit_1/xception_module/{_deeplab_conv(inside, unit)}"
    raise AssertionError(unit)


def _deeplab_conv(inside: Iterable[Step], unit: Unit) -> str:
    match list(inside):
        case ["shortcut"]:
            return "shortcut"
        case ["body", int(place)]:
            return f"separable_conv{place // 2 + 1}_{unit.kind}"
        case [int(place)]:
            return f"separable_conv{place + 1}_{unit.kind}"
    raise AssertionError(unit)


# ---- Keras: unnamed layers are counted in the order of creation, which is that of our tables


def keras_numbered(unit: Unit, number: int) -> Prefixes:
    """Return the names of an unnamed convolution, the `number`th of its kind from 0, and of its batch normalisation."""
    if unit.part == "classifier":
        return "predictions", ""
    suffix = f"_{number}" if number else ""
    return f"conv2d{suffix}", f"batch_normalization{suffix}"


def keras_inception_resnet_v2(unit: Unit, number: int) -> Prefixes:
    """Return the names of Inception-ResNet-v2, whose linear 1x1 and last convolution have names of their own."""
    match unit.part, unit.trail:
        case "7b", ():
            return "conv_7b", "conv_7b_bn"
        case stage, (int(block), "body", 1):
            return f"{stage}_{block + 1}_conv", ""
        case "block8_last", ("body", 1):
            return "block8_10_conv", ""
    return keras_numbered(unit, number)


def keras_xception(unit: Unit, number: int) -> Prefixes:
    """Return the names of Xception, in which only the convolutions of the shortcuts are unnamed."""
    match unit.part, unit.trail:
        case stage, ("body", int(place)):
            layer = f"{stage}_sepconv{place // 2 + 1}"
        case stage, () if stage != "classifier":
            layer = stage
        case _:
            return keras_numbered(unit, number)
    return layer, f"{layer}_bn"
