"""Gradients of convolutions' weights on small images, on CPUs with AMX: enters what torch would be asked, leaves the same gradients sooner.

AMX multiplies tiles of sixteen rows, and what oneDNN puts into one for the gradients of weights is a row of an image: of one that is
seven or three wide, most of the tile is empty. Sixteen images side by side, with zeros between them as wide as the padding, are one image
whose rows fill it, and whose gradient is the sum of theirs: in a third to a sixth of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from inceptions.networks.spec import pair

TOGETHER = 16  # images, as many as a tile has rows
WIDEST = 8  # of what a convolution gives; wider ones gain nothing


class SideBySide(TorchFunctionMode):
    """Within it, convolutions in bfloat16 that gain by it work out their weights' gradients on images that lie side by side.

    Those gain that have no bias and one group, kernels wider than one pixel, and maps of eight pixels' width at most. What a
    convolution gives, and the gradient of what it reads, are torch's own.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Compute `func` as torch does, or the convolution that gains by it in its own way."""
        if func is torch.conv2d and not kwargs and len(args) == 7 and _gains(*args):
            images, weight, _, stride, padding, *_ = args
            return _SideBySide.apply(images.bfloat16(), weight.bfloat16(), pair(stride), pair(padding))
        return func(*args, **(kwargs or {}))


def can_gain(device: torch.device, autocast: torch.dtype | None) -> bool:
    """Return whether convolutions run on AMX: on a CPU that has it, in bfloat16."""
    return device.type == "cpu" and autocast is torch.bfloat16 and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _gains(images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    if bias is not None or groups != 1 or pair(dilation) != (1, 1) or isinstance(padding, str) or not weight.requires_grad:
        return False
    kernel, width = weight.shape[2:], images.shape[-1]
    given = (width + 2 * pair(padding)[1] - kernel[1]) // pair(stride)[1] + 1
    return kernel.numel() > 1 and 0 < given <= WIDEST and len(images) >= TOGETHER // 2 and torch.is_grad_enabled()


class _SideBySide(torch.autograd.Function):
    """A convolution, whose gradients are those of torch.conv2d to the rounding of bfloat16."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(images, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,), (images, weight) = grad_outputs, ctx.saved_tensors
        needs_images, needs_weight, *_ = ctx.needs_input_grad
        of_images = _backward(gradient, images, weight, ctx.stride, ctx.padding, of=0) if needs_images else None
        of_weight = _of_weight(gradient, images, weight, ctx.stride, ctx.padding) if needs_weight else None
        return of_images, of_weight, None, None


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the gradient of the weights (O, C, kh, kw), of what was given (N, O, h, w) and read (N, C, H, W)."""
    step = stride[1]
    room = -(-(images.shape[-1] + padding[1]) // step)  # of an image in what is given; `step` times that in what is read
    read, given = _beside(images, room * step), _beside(gradient, room)
    whole = (read.shape[-1] + 2 * padding[1] - weight.shape[-1]) // step + 1  # what the convolution gives of all that lies there
    given = functional.pad(given, (0, whole - given.shape[-1])) if whole > given.shape[-1] else given[..., :whole]
    return _backward(given, read, weight, stride, padding, of=1)


def _beside(images: Tensor, room: int) -> Tensor:
    """Return images (N, C, H, W) as (N / 16, C, H, 16 * room), each with zeros at its right, and images of zeros where N is no multiple."""
    count, channels, height, width = images.shape
    rows = -(-count // TOGETHER)
    lying = images.new_zeros(rows, height, TOGETHER, room, channels)
    whole = count // TOGETHER
    last = images[whole * TOGETHER :].permute(2, 0, 3, 1)
    lying[:whole, :, :, :width] = images[: whole * TOGETHER].permute(0, 2, 3, 1).unflatten(0, (whole, TOGETHER)).transpose(1, 2)
    if whole < rows:
        lying[whole, :, : last.shape[1], :width] = last
    return lying.flatten(2, 3).permute(0, 3, 1, 2)


def _backward(gradient: Tensor, images: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], *, of: int) -> Tensor:
    asked = [place == of for place in range(3)]
    return torch.ops.aten.convolution_backward(gradient, images, weight, None, stride, padding, (1, 1), False, (0, 0), 1, asked)[of]
