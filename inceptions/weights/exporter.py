"""Our models as another framework's tensors: enters a module, leaves named arrays in that framework's layout.

torchvision, timm and Keras can be written. What a framework can't hold is refused, not dropped: other numerics, other networks.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from inceptions.errors import WeightsError
from inceptions.networks.modules.models import Classifier, ClassifierWithAux
from inceptions.networks.spec import Dropout, Network
from inceptions.weights.adapters.catalog import ADAPTERS, Adapter
from inceptions.weights.adapters.styles import to_theirs
from inceptions.weights.keras_order import rank_tensors
from inceptions.weights.units import Role

EXPORTABLE = ("torchvision", "timm", "keras")


def export_tensors(module: Classifier, *, framework: str) -> dict[str, np.ndarray]:
    """Return the weights of `module` under the names and in the layout of `framework`, float32 (counters int64).

    Auxiliary heads go along where the framework has them. Where it has no gamma, a gamma other than one is multiplied into the
    convolution. Raises WeightsError: an unknown framework, a network that it has not, or numerics that it computes otherwise.
    """
    if framework not in EXPORTABLE:
        raise WeightsError(f"framework is {framework!r}; weights can be written for {', '.join(EXPORTABLE)}")
    adapter = _find(module.network, framework)
    _check_numerics(module.network, adapter)
    aux = isinstance(module, ClassifierWithAux) and bool(adapter.network.aux)
    state = module.state_dict()
    tensors: dict[str, np.ndarray] = {}
    for unit, names in adapter.units(module.network, aux=aux):
        values: dict[Role, Tensor] = {role: state[key].detach().cpu().float() for role, key in unit.tensors.items()}
        if not adapter.scale and "gamma" in values:
            values = _without_gamma(values)
        for role, value in values.items():
            theirs = to_theirs(value, unit, role, adapter.style.layout)
            tensors[names[role]] = np.ascontiguousarray(theirs.numpy())
        if adapter.style.layout == "torch" and "mean" in names:
            ours, theirs = (mean.removesuffix("running_mean") for mean in (unit.tensors["mean"], names["mean"]))
            tensors[f"{theirs}num_batches_tracked"] = state[f"{ours}num_batches_tracked"].cpu().numpy().reshape(())
    if framework != "keras":
        return tensors
    ranks = rank_tensors(module.network, adapter)  # Keras loads a file in the order in which it lists its layers
    return dict(sorted(tensors.items(), key=lambda item: -ranks[item[0]]))


def _find(network: Network, framework: str) -> Adapter:
    adapters = [adapter for adapter in ADAPTERS if adapter.framework == framework]
    for adapter in adapters:
        if _layers(adapter.network) == _layers(network):
            return adapter
    has = ", ".join(adapter.network.name for adapter in adapters)
    raise WeightsError(f"{framework} has no such network as this {network.name}; it has {has}, and no variations of them")


def _layers(network: Network) -> tuple[object, ...]:
    """Return what decides the tensors and what is done with them, but for numerics and the number of classes."""
    stages = tuple((stage.name, stage.node) for stage in network.stages)
    return stages, tuple(node for node in network.head if not isinstance(node, Dropout)), network.embedding


def _check_numerics(network: Network, adapter: Adapter) -> None:
    for field in fields(network.numerics):
        ours, theirs = getattr(network.numerics, field.name), getattr(adapter.network.numerics, field.name)
        if ours != theirs and field.name != "bn_momentum":
            raise WeightsError(
                f"{adapter.framework}'s {network.name} computes with {field.name} {theirs!r}, these weights with {ours!r}; "
                "written there they would give other outputs"
            )


def _without_gamma(values: dict[Role, Tensor]) -> dict[Role, Tensor]:
    """Multiply gamma into the kernel and the mean: g(kx - m)/s + b is ((gk)x - gm)/s + b."""
    gamma = values.pop("gamma")
    if torch.equal(gamma, torch.ones_like(gamma)):
        return values
    kernel = values["kernel"]
    return {**values, "kernel": kernel * gamma.reshape(-1, *[1] * (kernel.ndim - 1)), "mean": values["mean"] * gamma}
