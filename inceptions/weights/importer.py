"""Foreign checkpoints as our models: enters named arrays in a framework's own layout, leaves a model and an `Audit` of every tensor.

Nothing is guessed and nothing dropped in silence: a tensor that is missing, left over, of a wrong shape or not finite is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inceptions.data.preprocess import Preprocess
from inceptions.errors import WeightsError
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier, ClassifierWithAux, training_module
from inceptions.networks.registry import get_network
from inceptions.networks.spec import Linear, Network, Numerics
from inceptions.weights.adapters.catalog import ADAPTERS, FRAMEWORKS, Adapter
from inceptions.weights.adapters.prepare import prepare
from inceptions.weights.adapters.styles import class_axis, to_ours
from inceptions.weights.units import Role, Unit


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of a checkpoint: each of its tensors by name, and what was decided.

    matched: taken as they are. transformed: name to what was done. filled: our keys that it has not. ignored: names known to be no weights.
    """

    framework: str
    network: str
    classes: int
    numerics: Numerics
    numerics_because: str
    preprocess: Preprocess
    matched: tuple[str, ...]
    transformed: dict[str, str]
    filled: dict[str, str]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Plan:
    """Which foreign tensor is which of ours, under one adapter."""

    adapter: Adapter
    network: Network
    aux: bool
    pairs: list[tuple[Unit, Role, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    filled: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def problems(self) -> int:
        return len(self.missing) + len(self.left_over)


def import_tensors(
    tensors: Mapping[str, Any], *, framework: str, network: str | Network | None = None
) -> tuple[Classifier | ClassifierWithAux, Audit]:
    """Return the model that `tensors` are the weights of, in evaluation mode, and the audit.

    tensors: the framework's own names to arrays (NumPy or torch) in its own layout. network: our name where the names fit several, or a
    `Network` (dilated, say), whose numerics are then kept. The model has as many outputs as the checkpoint, and its auxiliary heads.

    Raises WeightsError that names the tensors.
    """
    if framework not in FRAMEWORKS:
        raise WeightsError(f"framework is {framework!r}; known are {', '.join(FRAMEWORKS)}")
    tensors, done = prepare(tensors, framework)
    plan = _choose(tensors, framework, network)
    if plan.problems:
        raise WeightsError(_explain(plan))
    with torch.device("meta"):
        module = training_module(plan.network if plan.aux else reshape.without_aux(plan.network))
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    state, transformed = _convert(plan, shapes, tensors, done)
    module.load_state_dict(state, assign=True)
    taken = dict.fromkeys(name for _, _, _, name in plan.pairs)
    audit = Audit(
        framework=framework,
        network=plan.network.name,
        classes=plan.network.classes,
        numerics=plan.network.numerics,
        numerics_because=plan.adapter.why if not isinstance(network, Network) else "as the given network says",
        preprocess=plan.adapter.preprocess,
        matched=tuple(name for name in taken if name not in transformed),
        transformed=transformed,
        filled=plan.filled,
        ignored=tuple(plan.ignored),
        notes=_notes(plan),
    )
    return module.eval(), audit


def name_outputs(count: int) -> tuple[str, ...]:
    """Return names for outputs whose classes are not known by name: their numbers, which must not mean other classes than elsewhere.

    Of 1001 the first is TensorFlow's background, and the others have the numbers of ImageNet's 1000. The 1008 of the graph of 2015 are in
    an order of their own.
    """
    if count == 1001:
        return ("background", *map(str, range(1000)))
    return tuple(f"output {number}" if count == 1008 else str(number) for number in range(count))


def find_forms(tensors: Mapping[str, Any], frameworks: tuple[str, ...], *, network: str | None = None) -> list[Adapter]:
    """Return the adapters under which every one of `tensors` has its place, the likeliest first."""
    wanted = get_network(network).name if network is not None else None
    forms = []
    for framework in frameworks:
        plain, _ = prepare(tensors, framework)
        for adapter in ADAPTERS:
            if adapter.framework == framework and wanted in (None, adapter.network.name):
                plan = _plan(adapter, plain)
                if not plan.problems and (framework != "pytorch_fid" or plan.network.classes == adapter.network.classes):
                    forms.append(adapter)
    return sorted(forms, key=lambda adapter: adapter.framework != "pytorch_fid")  # only it has 1008 classes


def _choose(tensors: Mapping[str, Any], framework: str, network: str | Network | None) -> _Plan:
    """Return the plan of the adapter that explains the tensors best; WeightsError when two do it equally well."""
    wanted = get_network(network).name if isinstance(network, str) else network and network.name
    adapters = [adapter for adapter in ADAPTERS if adapter.framework == framework]
    fitting = [adapter for adapter in adapters if wanted in (None, adapter.network.name)]
    if not fitting:
        has = ", ".join(adapter.network.name for adapter in adapters)
        raise WeightsError(f"{framework} has no {wanted}; it has {has}")
    plans = [_plan(adapter, tensors, network if isinstance(network, Network) else None) for adapter in fitting]
    return min(plans, key=lambda plan: plan.problems)


def _plan(adapter: Adapter, tensors: Mapping[str, Any], network: Network | None = None) -> _Plan:
    """Return where each of the tensors goes; network: other than the adapter's own, which takes the width of the file's embedding."""
    network = network or reshape.with_embedding(adapter.network, _count_outputs(adapter, tensors, adapter.network, "head"))
    classes = _count_classes(adapter, tensors, network)
    network = reshape.with_classes(network, classes)
    aux = bool(classes and adapter.network.aux) and any(
        name in tensors for unit, names in adapter.units(network, aux=True) if unit.part.startswith("aux ") for name in names.values()
    )
    plan = _Plan(adapter, network, aux)
    explained = set()
    for unit, names in adapter.units(network, aux=aux):
        for role, name in names.items():
            if name in tensors:
                plan.pairs.append((unit, role, unit.tensors[role], name))
                explained.add(name)
            elif role == "gamma" and not adapter.scale:
                plan.filled[unit.tensors[role]] = "ones: the framework keeps no gamma here"
            else:
                plan.missing.append(name)
    pattern = re.compile(adapter.ignored)
    for name in tensors:
        if name not in explained:
            (plan.ignored if pattern.search(name) else plan.left_over).append(name)
    return plan


def _count_classes(adapter: Adapter, tensors: Mapping[str, Any], network: Network) -> int:
    if not network.classes and network.embedding != ():
        return 0
    return _count_outputs(adapter, tensors, reshape.with_classes(network, max(network.classes, 1)), "classifier")


def _count_outputs(adapter: Adapter, tensors: Mapping[str, Any], network: Network, part: str) -> int:
    """Return how many outputs the fully connected layer of the classifier, or of the head, has in the checkpoint; 0 without one."""
    for unit, names in adapter.units(network, aux=False):
        if unit.part == part:
            kernel = tensors.get(names["kernel"])
            if kernel is None or len(kernel.shape) < 2:
                return unit.node.channels if part == "head" and isinstance(unit.node, Linear) else 0
            return int(kernel.shape[class_axis(adapter.style.layout, tuple(kernel.shape))])
    return 0


def _convert(
    plan: _Plan, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Any], done: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return our state dict, whose tensors have `shapes`, and what was done to which of theirs."""
    state, transformed = {}, dict(done)
    for unit, role, key, name in plan.pairs:
        given = _as_tensor(name, tensors[name])
        tensor, what = to_ours(given, unit, role, plan.adapter.style.layout)
        if tuple(tensor.shape) != shapes[key]:
            wants = f"{plan.network.name} wants {shapes[key]} in our layout"
            raise WeightsError(f"tensor {name!r} has shape {tuple(given.shape)}; {wants}; is it another network, or another width?")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"tensor {name!r} has values that are not finite; the checkpoint is damaged")
        if role == "variance" and (tensor < 0).any():
            raise WeightsError(f"tensor {name!r} is a variance and has negative values; the checkpoint is damaged")
        state[key] = tensor.contiguous()
        if what:
            transformed[name] = what
    state |= {key: torch.ones(shapes[key]) for key in plan.filled}
    state |= {key: torch.zeros((), dtype=torch.int64) for key in shapes if key.endswith("num_batches_tracked")}
    return state, transformed


def _as_tensor(name: str, value: Any) -> Tensor:
    tensor = value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    if not tensor.is_floating_point():
        raise WeightsError(f"tensor {name!r} holds {tensor.dtype}; weights are floating-point numbers")
    return tensor.float()


def _notes(plan: _Plan) -> tuple[str, ...]:
    notes = []
    if plan.network.classes == 1001:
        notes.append("1001 outputs: the first is TensorFlow's background class, the others are numbered as ImageNet's 1000, from 0")
    if plan.network.classes == 1008:
        notes.append(
            "1008 outputs, in the order of the graph of 2015, which is not that of ImageNet's 1000 classes: their names are not known"
        )
    if not plan.network.classes:
        notes.append("no classifier in the checkpoint: the model ends in its features")
    if plan.adapter.network.aux and not plan.aux:
        notes.append("no auxiliary heads in the checkpoint")
    return tuple(notes)


def _explain(plan: _Plan) -> str:
    parts = [f"these tensors are not {plan.adapter.framework}'s {plan.network.name}"]
    if plan.missing:
        parts.append(f"{len(plan.missing)} missing, such as {', '.join(map(repr, plan.missing[:3]))}")
    if plan.left_over:
        near = get_close_matches(plan.missing[0], plan.left_over, n=1, cutoff=0) if plan.missing else []
        some = list(dict.fromkeys([*near, *plan.left_over]))[:3]
        parts.append(f"{len(plan.left_over)} left over, such as {', '.join(map(repr, some))}")
    return "; ".join(parts) + "; check framework and network"
