"""Where torch libraries keep each layer: torchvision, timm, Cadene's pretrained-models, pytorch-fid, facenet-pytorch.

Each function takes a `Unit` and returns the prefixes of its layer and of its batch normalisation in that library's state dict.
"""

from __future__ import annotations

from inceptions.weights.units import Branch, Unit

Prefixes = tuple[str, str]


def _both(prefix: str) -> Prefixes:
    """Return the prefixes of a convolution and its batch normalisation that a class of the library puts together."""
    return f"{prefix}.conv", f"{prefix}.bn"


# ---- torchvision, and pytorch-fid and timm after it


def torchvision_googlenet(unit: Unit) -> Prefixes:
    """GoogLeNet: `inception3a.branch2.1.conv`; the first auxiliary head is on 4a, the second on 4d."""
    match unit.part, unit.trail:
        case "conv1", ():
            return _both("conv1")
        case "conv2_reduce", ():
            return _both("conv2")
        case "conv2", ():
            return _both("conv3")
        case "classifier", _:
            return "fc", ""
        case (("aux 4a" | "aux 4d"), (last,)):
            head = "aux1" if unit.part == "aux 4a" else "aux2"
            return _both(f"{head}.conv") if last == 1 else (f"{head}.{'fc1' if last == 2 else 'fc2'}", "")
        case stage, (Branch(_, branch), *places):
            return _both(".".join([f"inception{stage}.branch{branch + 1}", *map(str, places)]))
    raise AssertionError(unit)


_V3_BRANCHES = {"conv1x1": "branch1x1", "double3x3": "branch3x3dbl", "double7x7": "branch7x7dbl", "pool": "branch_pool"}


def torchvision_inception_v3(unit: Unit) -> Prefixes:
    """Inception-v3: `Mixed_7b.branch3x3dbl_3a`; numbers count within the branch, letters tell the halves of a split."""
    match unit.part, unit.trail:
        case "classifier", _:
            return "fc", ""
        case "aux 6e", (last,):
            return ("AuxLogits.fc", "") if last == "classifier" else _both(f"AuxLogits.conv{0 if last == 1 else 1}")
        case stage, ():
            return _both(f"Conv2d_{stage}_{unit.kernel[0]}x{unit.kernel[1]}")
        case stage, (Branch(name, _), *rest):
            base = _V3_BRANCHES.get(name, name.replace("conv", "branch"))
            return _both(f"Mixed_{stage}.{base}{'' if name == 'pool' else _numbered(rest)}")
    raise AssertionError(unit)


def _numbered(rest: list[int | str | Branch]) -> str:
    match rest:
        case []:
            return ""
        case [int(place)]:
            return f"_{place + 1}"
        case [int(place), Branch(_, half)]:
            return f"_{place + 1}{'ab'[half]}"
    raise AssertionError(rest)


# ---- timm and Cadene


def timm_inception_v4(unit: Unit) -> Prefixes:
    """Inception-v4: `features.6.branch1.0`, stages by number; in the last modules `features.19.branch1_1a`."""
    if unit.part == "classifier":
        return "last_linear", ""
    module = f"features.{_V4_STAGES.index(unit.part)}"
    match unit.trail:
        case ():
            return _both(module)
        case (Branch(), *_) if unit.part in ("3a", "5a"):
            return _both(f"{module}.conv")
        case (Branch("pool", branch), place):
            return _both(f"{module}.branch{branch}.{place}")
        case (Branch(_, branch), int(place)) if unit.part in ("7b", "7c", "7d"):
            return _both(f"{module}.branch{branch}_{place}")
        case (Branch(_, branch), int(place), Branch(_, half)):
            return _both(f"{module}.branch{branch}_{place}{'ab'[half]}")
        case (Branch(_, branch), *places):
            return _both(".".join([f"{module}.branch{branch}", *map(str, places)]))
    raise AssertionError(unit)


_V4_STAGES = ("1a", "2a", "2b", "3a", "4a", "5a", "5b", "5c", "5d", "5e", "6a", *(f"6{c}" for c in "bcdefgh"), "7a", "7b", "7c", "7d")


def inception_resnet(unit: Unit, *, repeats: dict[str, str]) -> Prefixes:
    """Inception-ResNet: `repeat_1.0.branch1.2`, and `.conv2d` for the linear 1x1, which has no batch normalisation."""
    match unit.part, unit.trail:
        case stage, (int(block), "body", *inside) if stage in repeats:
            return _residual(f"{repeats[stage]}.{block}", inside)
        case "block8_last", ("body", *inside):
            return _residual("block8", inside)
        case stage, ():
            return _both(f"conv2d_{stage}")
        case stage, (Branch(_, branch), *places):
            return _both(".".join([f"mixed_{stage}.branch{branch}", *map(str, places)]))
    raise AssertionError(unit)


def _residual(block: str, inside: list[int | str | Branch]) -> Prefixes:
    match inside:
        case [1]:
            return f"{block}.conv2d", ""
        case [0, Branch(_, branch), *places]:
            return _both(".".join([f"{block}.branch{branch}", *map(str, places)]))
    raise AssertionError(inside)


_SLIM_REPEATS = {"block35": "repeat", "block17": "repeat_1", "block8": "repeat_2"}


def timm_inception_resnet_v2(unit: Unit) -> Prefixes:
    """Inception-ResNet-v2, whose classifier is `classif`."""
    return ("classif", "") if unit.part == "classifier" else inception_resnet(unit, repeats=_SLIM_REPEATS)


def facenet_pytorch(unit: Unit) -> Prefixes:
    """Inception-ResNet-v1 for faces; `last_linear` and `last_bn` are the bottleneck, `logits` the classifier on it."""
    if unit.part in ("head", "classifier"):
        return ("last_linear", "last_bn") if unit.part == "head" else ("logits", "")
    return inception_resnet(unit, repeats={"block35": "repeat_1", "block17": "repeat_2", "block8": "repeat_3"})


def timm_legacy_xception(unit: Unit) -> Prefixes:
    """Xception: blocks count from Keras' block2; within `rep`, ReLU, separable convolution and batch normalisation have a number each."""
    match unit.part, unit.trail:
        case "classifier", _:
            return "fc", ""
        case (("block1_conv1" | "block1_conv2"), ()):
            number = unit.part[-1]
            return f"conv{number}", f"bn{number}"
        case (("block14_sepconv1" | "block14_sepconv2"), ()):
            number = int(unit.part[-1]) + 2
            return f"conv{number}.{_XCEPTION_HALVES[unit.kind]}", f"bn{number}"
        case stage, ("shortcut",):
            return f"{_xception_block(stage)}.skip", f"{_xception_block(stage)}.skipbn"
        case stage, ("body", int(place)):
            number = 3 * (place // 2) + place % 2
            return f"{_xception_block(stage)}.rep.{number}.{_XCEPTION_HALVES[unit.kind]}", f"{_xception_block(stage)}.rep.{number + 1}"
    raise AssertionError(unit)


_XCEPTION_HALVES = {"depthwise": "conv1", "pointwise": "pointwise"}


def _xception_block(stage: str) -> str:
    return f"block{int(stage.removeprefix('block')) - 1}"


def timm_xception_aligned(unit: Unit, *, entry: int, middle: int) -> Prefixes:
    """Xception-41/65/71: `blocks.3.stack.conv2.conv_dw`; blocks count on through `entry` of the entry flow, `middle` and exit."""
    match unit.part, unit.trail:
        case "classifier", _:
            return "head.fc", ""
        case (("conv1_1" | "conv1_2"), ()):
            return _both(f"stem.{int(unit.part[-1]) - 1}")
    number, inside = _aligned_block(unit, entry, middle)
    match inside:
        case ["shortcut"]:
            return _both(f"blocks.{number}.shortcut")
        case ["body", int(place)] | [int(place)]:
            position = place // 2 if inside[0] == "body" else place
            half = "dw" if unit.kind == "depthwise" else "pw"
            stack = f"blocks.{number}.stack.conv{position + 1}"
            return f"{stack}.conv_{half}", f"{stack}.bn_{half}"
    raise AssertionError(unit)


def timm_xception_preactivated(unit: Unit, *, entry: int, middle: int) -> Prefixes:
    """Xception-41p/65p: batch normalisation stands before a convolution, as `norm`; that of the first is the block's own."""
    match unit.part, unit.trail:
        case "classifier", _:
            return "head.fc", ""
        case "conv1_1", ():
            return _both("stem.0")
        case "conv1_2", ():
            return "stem.1", ""
    number, inside = _aligned_block(unit, entry, middle)
    match inside:
        case [0]:
            return "", f"blocks.{number}.norm"
        case [1, "shortcut"]:
            return f"blocks.{number}.shortcut", ""
        case [1, "body", int(place)]:
            return _preactivated(f"blocks.{number}.stack", place, unit)
        case [int(place)]:  # the last block has no shortcut: its chain counts on after its first batch normalisation
            return _preactivated(f"blocks.{number}.stack", place - 1, unit)
    raise AssertionError(unit)


def _preactivated(stack: str, place: int, unit: Unit) -> Prefixes:
    position = f"{stack}.conv{(place + 1) // 2 + 1}"
    return ("", f"{position}.norm") if unit.kind == "norm" else (f"{position}.conv_{'dw' if unit.kind == 'depthwise' else 'pw'}", "")


def _aligned_block(unit: Unit, entry: int, middle: int) -> tuple[int, list[int | str | Branch]]:
    """Return the number that timm counts a block by, and the trail within it."""
    match unit.part, unit.trail:
        case "middle", (int(place), *inside):
            return entry + place, inside
        case part, trail:
            first = 0 if part.startswith("entry") else entry + middle
            return first + int(part[-1]) - 1, list(trail)


def cadene_bninception(unit: Unit) -> Prefixes:
    """BN-Inception, after Caffe's layers: `inception_3a_double_3x3_1`, its batch normalisation `..._bn`."""
    if unit.part == "classifier":
        return "last_linear", ""
    layer = caffe_layer(unit, double="double_3x3").replace("/", "_")
    return layer, f"{layer}_bn"


def caffe_layer(unit: Unit, *, double: str) -> str:
    """Return the Caffe layer of GoogLeNet and BN-Inception: `inception_3a/3x3_reduce`; `double` begins the names of two 3x3."""
    match unit.part, unit.trail:
        case "conv1", ():
            return "conv1/7x7_s2"
        case "conv2_reduce", ():
            return "conv2/3x3_reduce"
        case "conv2", ():
            return "conv2/3x3"
        case stage, (Branch("conv1x1", _),):
            return f"inception_{stage}/1x1"
        case stage, (Branch("pool", _), _):
            return f"inception_{stage}/pool_proj"
        case stage, (Branch("double3x3", _), int(place)):
            return f"inception_{stage}/{double}{('_reduce', '_1', '_2')[place] if '_' in double else ('_reduce', 'a', 'b')[place]}"
        case stage, (Branch(name, _), int(place)):
            return f"inception_{stage}/{name.removeprefix('conv')}{'_reduce' if place == 0 else ''}"
    raise AssertionError(unit)
