"""TensorFlow's RMSProp, with which Inception-v3 and its successors were trained: enters gradients, leaves moved weights.

It differs from torch's in three ways that matter where epsilon is 1: epsilon stands inside the square root, the running mean of the
squared gradients starts at one instead of zero, and the learning rate is applied before the momentum, not after
(`tf.raw_ops.ApplyRMSProp`; 1512.00567, section 8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class TensorFlowRMSProp(Optimizer):
    """s = decay s + (1 - decay) g^2;  m = momentum m + lr g / sqrt(s + epsilon);  w = w - m.

    params: parameters or groups. weight_decay is added to the gradients, as TensorFlow's L2 loss is.
    """

    def __init__(
        self, params: Any, lr: float, *, decay: float = 0.9, momentum: float = 0.9, epsilon: float = 1.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)
        return loss

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["square"] = torch.ones_like(parameter)
            state["moment"] = torch.zeros_like(parameter)
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        square, moment = state["square"], state["moment"]
        square.lerp_(gradient * gradient, 1 - group["decay"])
        moment.mul_(group["momentum"]).addcdiv_(gradient, (square + group["epsilon"]).sqrt_(), value=group["lr"])
        parameter.sub_(moment)
