"""Which layer is which in Keras files without names: enters how many layers of each class there are, leaves their names.

Keras names layers as it makes them, but lists a model's layers by depth. Files of Keras 2.12 to 3.5 count, class by class, in the order of
the list. The tables below are that order within each module; the golden vectors of Keras list the layers in it too.
"""

from __future__ import annotations

from collections.abc import Mapping

# The places, from 0 in order of creation, of a module's convolutions in order of depth.
_V3_A = (3, 1, 4, 0, 2, 5, 6)
_REDUCTION_A = (1, 2, 0, 3)
_V3_B = (4, 5, 1, 6, 2, 7, 0, 3, 8, 9)
_V3_REDUCTION_B = (2, 3, 0, 4, 1, 5)
_V3_C = (4, 1, 5, 2, 3, 6, 7, 0, 8)
_RESNET_REDUCTION_B = (4, 0, 2, 5, 1, 3, 6)
_STEM = (0, 1, 2, 3, 4)


def name_layers(counts: Mapping[str, int]) -> dict[str, list[str]] | None:
    """Return, by class, the names of the layers in order of depth; None when the counts are not those of a network that Keras has."""
    for names in (_inception_v3(), _inception_resnet_v2(), _xception()):
        body = {kind: len(layers) for kind, layers in names.items()}
        if body == {kind: count for kind, count in counts.items() if kind != "dense"} and counts.get("dense", 0) <= 1:
            return {**names, "dense": ["predictions"]}
    return None


def _numbered(kind: str, numbers: list[int]) -> list[str]:
    return [f"{kind}_{number}" if number else kind for number in numbers]


def _places(*modules: tuple[int, ...]) -> list[int]:
    numbers: list[int] = []
    for module in modules:
        first = len(numbers)
        numbers += [first + place for place in module]
    return numbers


def _inception_v3() -> dict[str, list[str]]:
    modules = (_STEM, *[_V3_A] * 3, _REDUCTION_A, *[_V3_B] * 4, _V3_REDUCTION_B, *[_V3_C] * 2)
    numbers = _places(*modules)
    return {"conv2d": _numbered("conv2d", numbers), "batch_normalization": _numbered("batch_normalization", numbers)}


def _inception_resnet_v2() -> dict[str, list[str]]:
    runs = (
        ("", 1, (_STEM, _V3_A)),
        ("block35", 10, (_V3_A[:6],)),
        ("", 1, (_REDUCTION_A,)),
        ("block17", 20, (_REDUCTION_A,)),
        ("", 1, (_RESNET_REDUCTION_B,)),
        ("block8", 10, (_REDUCTION_A,)),
    )
    numbers: list[int] = []
    convolutions: list[str] = []
    for block, repeats, modules in runs:
        for repeat in range(repeats):
            fresh = [len(numbers) + place for place in _places(*modules)]
            numbers += fresh
            convolutions += [*_numbered("conv2d", fresh), *([f"{block}_{repeat + 1}_conv"] if block else [])]
    return {
        "conv2d": [*convolutions, "conv_7b"],
        "batch_normalization": [*_numbered("batch_normalization", numbers), "conv_7b_bn"],
    }


def _xception() -> dict[str, list[str]]:
    separable = {block: 3 if 5 <= block <= 12 else 2 for block in range(2, 15)}
    layers = {block: [f"block{block}_sepconv{place + 1}" for place in range(count)] for block, count in separable.items()}
    shortcuts = {block: _numbered("batch_normalization", [number])[0] for number, block in enumerate((2, 3, 4, 13))}
    norms = [f"block1_conv{place}_bn" for place in (1, 2)]
    for block, names in layers.items():
        norms += [f"{name}_bn" for name in names]
        if block in shortcuts:
            norms.append(shortcuts[block])
    return {
        "conv2d": ["block1_conv1", "block1_conv2", *_numbered("conv2d", [0, 1, 2, 3])],
        "separable_conv2d": [name for names in layers.values() for name in names],
        "batch_normalization": norms,
    }
