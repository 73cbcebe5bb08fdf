"""Which engine runs a model: enters a model folder and what was asked for, leaves an engine, prepared where it wasn't yet.

INCEPTIONS_ENGINE    the engine where none is asked for; without it, auto

Imports torch only where the device, or the engine, or preparing it needs it.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from inceptions.errors import UserError
from inceptions.extras import missing_modules, require
from inceptions.files import cannot_write
from inceptions.inference.engines.base import ENGINE_NAMES, Engine, EngineName, Precision
from inceptions.inference.engines.prepared import (
    Made,
    Prepared,
    clear_prepared,
    describe_made,
    engines_folder,
    find_prepared,
    iterate_prepared,
    read_limit,
)
from inceptions.weights.card import ModelCard, read_card

VARIABLE = "INCEPTIONS_ENGINE"
Tell = Callable[[str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine that could run a model here: its name, precision and device."""

    engine: EngineName
    precision: Precision
    device: str


def maker_of(engine: EngineName) -> Any:
    """Return the module that prepares and loads the engine; raises UserError, with the extra to install, where its library is missing."""
    module = import_module(f"inceptions.inference.engines.{engine}")
    require(module.EXTRA, *module.MODULES, needed_for=f"the engine {engine!r}")
    return module


def open_engine(
    folder: Path,
    card: ModelCard | None = None,
    *,
    engine: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    tell: Tell = log.info,
) -> Engine:
    """Return the engine of a model folder, ready to run.

    engine: "auto", or one by name; None takes INCEPTIONS_ENGINE, else "auto": the fastest that is installed, right for the device, and
    agrees with torch. device: such as "cuda"; None is an accelerator, if there is one. precision: None is the fastest that agrees.
    tell: is told what takes time, and which engine isn't used and why.

    Raises UserError: no such engine, one that isn't installed, or that doesn't agree with torch.
    """
    card = card or read_card(folder)
    return _open_alike(folder, card, choices(folder, card, engine=engine, device=device, precision=precision), (None,), tell)[0]


def open_parts(
    folder: Path, card: ModelCard, *, engine: str | None = None, device: str | None = None, tell: Tell = log.info
) -> list[Engine]:
    """Return the engines of the parts of a network that is cut at its auxiliary heads, all of one kind; as `open_engine` otherwise.

    Of a quantised network it is the form in floating point.
    """
    card = in_floating_point(card)
    parts = range(len(card.network.aux) + 1)
    return _open_alike(folder, card, choices(folder, card, engine=engine, device=device), parts, tell)


def in_floating_point(card: ModelCard) -> ModelCard:
    """Return the card as if the network were not quantised."""
    return replace(card, provenance={name: value for name, value in card.provenance.items() if name != "int8"})


def _open_alike(folder: Path, card: ModelCard, tried: Iterable[Choice], parts: Iterable[int | None], tell: Tell) -> list[Engine]:
    """Return an engine of each part by the first choice that all of them agree with torch by."""
    reasons: list[str] = []
    for choice in tried:
        found: list[Engine] = []
        for part in parts:
            opened, reason = _open(folder, card, choice, part, tell)
            if opened is None:
                tell(reason)
                reasons.append(reason)
                break
            found.append(opened)
        else:
            return found
    raise UserError("; ".join(reasons) or f"no engine for {card.network.name}")


def choices(
    folder: Path, card: ModelCard, *, engine: str | None = None, device: str | None = None, precision: str | None = None
) -> Iterator[Choice]:
    """Yield what could run the model here, what is to be tried first; raises UserError for names that aren't, or can't be had here."""
    wanted = engine or os.environ.get(VARIABLE) or "auto"
    if wanted != "auto" and wanted not in ENGINE_NAMES:
        raise UserError(f"engine {wanted!r}: there are auto, {', '.join(ENGINE_NAMES)}")
    place = find_device(device)
    names: list[EngineName] = automatic_engines(place) if wanted == "auto" else [cast("EngineName", wanted)]
    count = 0
    for name in names:
        for one in _precisions(name, place, card):
            if precision in (None, one):
                count += 1
                yield Choice(name, one, place)
    if not count:
        how = f" in {precision}" if precision else ""
        raise UserError(f"the engine {wanted!r} can't run {card.network.name} on {place}{how}; take another engine, device or precision")


def find_device(name: str | None) -> str:
    """Return the device called `name`, or the accelerator, or "cpu"; torch is imported only where there may be another than the CPU."""
    if name == "cpu" or (name is None and not may_have_accelerator()):
        return "cpu"
    from inceptions.devices import pick_device

    return str(pick_device(name))


def may_have_accelerator() -> bool:
    """Return whether this machine may have one that torch knows: by what its drivers leave in the system, without asking torch."""
    if sys.platform == "linux":
        return any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/dev/dri/renderD128", "/dev/davinci0"))
    return sys.platform != "darwin" or platform.machine() == "arm64"


def automatic_engines(device: str) -> list[EngineName]:
    """Return the engines for a device, the fastest first; torch is always there."""
    on_x86 = device == "cpu" and platform.machine().lower() in ("x86_64", "amd64", "x86")
    return ["openvino", "torch"] if on_x86 and not missing_modules("openvino") else ["torch"]


def _precisions(engine: EngineName, device: str, card: ModelCard) -> tuple[Precision, ...]:
    """Return what the engine is to be tried in; of a quantised network OpenVINO runs the int8 form, and nothing else."""
    quantised = card.provenance.get("int8") is not None
    if quantised and engine == "openvino":
        return ("int8",) if device == "cpu" else ()
    return maker_of(engine).precisions(device)


def _open(folder: Path, card: ModelCard, choice: Choice, part: int | None, tell: Tell) -> tuple[Engine | None, str]:
    """Return the engine, or None and why it isn't used."""
    maker = maker_of(choice.engine)
    if choice.engine == "torch" and choice.precision == "float32":  # what the others are compared with
        return maker.load(folder, precision=choice.precision, device=choice.device, source=folder, part=part), ""
    made = describe_made(folder, card, engine=choice.engine, precision=choice.precision, device=choice.device, part=part)
    try:
        found = find_prepared(made) or prepare(folder, card, made, tell)
    except UserError as error:
        return None, f"{choice.engine} in {choice.precision} could not be prepared ({error})"
    if not found.comparison.agrees:
        return None, f"{choice.engine} in {choice.precision} is not used, for it disagrees with torch: {found.comparison}"
    return maker.load(found.folder, precision=choice.precision, device=choice.device, source=folder, part=part), ""


def prepare(folder: Path, card: ModelCard, made: Made, tell: Tell) -> Prepared:
    """Return the engine prepared, once however many processes ask for it; what is too much by then goes.

    Raises UserError where it can't be made, or the cache can't be written to.
    """
    target = engines_folder() / made.key
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            there = find_prepared(made)
            if there is not None:
                return there
            for killed in target.parent.glob(f".{target.name}-*"):  # what a process left that came to no end
                shutil.rmtree(killed, ignore_errors=True)
            what = card.network.name if made.part is None else f"part {made.part + 1} of {card.network.name}"
            tell(f"preparing {made.engine} in {made.precision} for {what}, once on this machine")
            from inceptions.inference.engines.prepare import prepare_engine

            found = prepare_engine(folder, card, made, maker_of(made.engine), target)
    except OSError as error:
        raise cannot_write(target, error) from error
    together = [item.size for item in iterate_prepared() if replace(item.made, part=None) == replace(made, part=None)]  # parts of a network
    clear_prepared(max(read_limit(), sum(together)))
    return found
