"""How frameworks write a layer down: the endings of tensor names, and the order of a tensor's axes.

Enters an array in a framework's layout, leaves a torch tensor in ours, or the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from inceptions.weights.units import NORM_ROLES, Role, Unit

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["torch", "tensorflow", "caffe"]


@dataclass(frozen=True, slots=True)
class Style:
    """Endings after the prefix of a layer (kernel by kind of layer, bias) or of its batch normalisation (norm)."""

    layout: Layout
    bias: str
    norm: dict[Role, str]
    kernel: dict[str, str] = field(default_factory=dict)
    usual_kernel: str = ""

    def names(self, unit: Unit, layer: str, norm: str) -> dict[Role, str]:
        """Return the framework's name of each tensor that `unit` holds."""
        named: dict[Role, str] = {}
        for role in unit.tensors:
            if role in NORM_ROLES:
                named[role] = norm + self.norm[role]
            else:
                named[role] = layer + (self.bias if role == "bias" else self.kernel.get(unit.kind, self.usual_kernel))
        return named


TORCH = Style(
    "torch",
    bias=".bias",
    norm={"gamma": ".weight", "beta": ".bias", "mean": ".running_mean", "variance": ".running_var"},
    usual_kernel=".weight",
)
_TF_NORM: dict[Role, str] = {"gamma": "/gamma", "beta": "/beta", "mean": "/moving_mean", "variance": "/moving_variance"}
SLIM = Style(
    "tensorflow",
    bias="/biases",
    norm=_TF_NORM,
    kernel={"depthwise": "/depthwise_weights", "pointwise": "/pointwise_weights"},
    usual_kernel="/weights",
)
DEEPLAB = Style("tensorflow", bias="/biases", norm=_TF_NORM, kernel={"depthwise": "/depthwise_weights"}, usual_kernel="/weights")
KERAS = Style(
    "tensorflow",
    bias="/bias",
    norm=_TF_NORM,
    kernel={"depthwise": "/depthwise_kernel", "pointwise": "/pointwise_kernel"},
    usual_kernel="/kernel",
)
CAFFE = Style(
    "caffe",
    bias="_b_0",
    norm={"gamma": "/bn_scale_0", "beta": "/bn_bias_0", "mean": "/bn_mean_0", "variance": "/bn_var_0"},
    usual_kernel="_w_0",
)


def class_axis(layout: Layout, shape: tuple[int, ...]) -> int:
    """Return which axis of a classifier's kernel counts the classes."""
    return len(shape) - 1 if layout == "tensorflow" else len(shape) - 2


def to_ours(tensor: Tensor, unit: Unit, role: Role, layout: Layout) -> tuple[Tensor, str]:
    """Return a tensor in our layout, and what was done, in a few words; empty where nothing was."""
    if role != "kernel" or layout == "torch":
        return tensor, ""
    if layout == "caffe":
        return (tensor.reshape(tensor.shape[-2:]), "flattened") if unit.kind == "linear" and tensor.ndim > 2 else (tensor, "")
    if unit.kind == "linear":  # TF-slim's classifiers are 1x1 convolutions
        return tensor.reshape(tensor.shape[-2:]).T, "in,out to out,in"
    if unit.kind == "depthwise" and tensor.ndim == 4:
        height, width, channels, multiplier = tensor.shape
        return tensor.permute(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width), "HW,in,mult to in*mult,1,HW"
    return (tensor.permute(3, 2, 0, 1), "HWIO to OIHW") if tensor.ndim == 4 else (tensor, "")


def to_theirs(tensor: Tensor, unit: Unit, role: Role, layout: Layout) -> Tensor:
    """Return one of our tensors in a framework's layout."""
    if role != "kernel" or layout != "tensorflow":
        return tensor
    if unit.kind == "linear":
        return tensor.T
    if unit.kind == "depthwise":
        groups = getattr(unit.node, "multiplier", 1)
        return tensor.reshape(-1, groups, *tensor.shape[2:]).permute(2, 3, 0, 1)
    return tensor.permute(2, 3, 1, 0)
