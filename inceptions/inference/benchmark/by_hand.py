"""What people write today to run such a network, as the page shows it: enters a model, leaves a function.

A contender has the same weights in its library's form, reads uint8 pixels (N, S, S, 3), and gives logits, which are compared with ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inceptions.errors import UserError
from inceptions.extras import require
from inceptions.weights.folder import LoadedModel

Run = Callable[[np.ndarray], np.ndarray]


def torchvision_eager(build: Callable[[], Any], mean: np.ndarray, std: np.ndarray) -> Run:
    """Return torchvision's module as most people run it."""
    import torch

    model = build().eval()

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> np.ndarray:
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - torch.from_numpy(mean)) / torch.from_numpy(std)
        return model(images.contiguous()).numpy()

    return run


def timm_channels_last(build: Callable[[], Any], mean: np.ndarray, std: np.ndarray) -> Run:
    """Return timm's module in the layout that CPUs like."""
    import torch

    model = build().eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> np.ndarray:
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - torch.from_numpy(mean)) / torch.from_numpy(std)
        return model(images).numpy()

    return run


def openvino_int8(file: Path) -> Run:
    """Return what OpenVINO's documentation leads to for a file of a quantised network that reads uint8 pixels."""
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "THROUGHPUT"})
    return asynchronous(compiled)


def openvino_compiled(build: Callable[[], Any], mean: np.ndarray, std: np.ndarray, precision: str = "bf16") -> Run:
    """Return what OpenVINO's documentation leads to."""
    import openvino
    import torch

    model = build().eval()
    example = torch.zeros(2, 3, model.image_size, model.image_size)
    with torch.no_grad():
        program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    converted = openvino.convert_model(program)
    steps = openvino.preprocess.PrePostProcessor(converted)
    steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).mean(mean.ravel().tolist()).scale(std.ravel().tolist())
    compiled = openvino.Core().compile_model(
        steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
    )
    return asynchronous(compiled)


def asynchronous(compiled: Any) -> Run:
    """Return OpenVINO's queue of requests as a function."""
    import openvino

    queue = openvino.AsyncInferQueue(compiled)
    found: dict[int, np.ndarray] = {}
    queue.set_callback(lambda request, part: found.__setitem__(part, request.get_output_tensor(0).data.copy()))

    def run(pixels: np.ndarray) -> np.ndarray:
        parts = max(1, min(len(queue), len(pixels) // 4))
        for number, part in enumerate(np.array_split(pixels, parts)):
            queue.start_async({0: part}, userdata=number)
        queue.wait_all()
        return np.concatenate([found[number] for number in range(parts)])

    return run


class Contender(NamedTuple):
    """The function that makes it, what it is in words, and the functions whose code a page shows."""

    make: Callable[..., Run]
    said: str
    shown: tuple[Callable[..., Any], ...]


CONTENDERS: dict[str, Contender] = {
    "torchvision": Contender(torchvision_eager, "torchvision's module, eager, float32, as it comes", (torchvision_eager,)),
    "timm": Contender(timm_channels_last, "timm's module, eager, float32, channels last", (timm_channels_last,)),
    "openvino": Contender(
        openvino_compiled, "OpenVINO by hand: converted, compiled for throughput, asynchronous", (openvino_compiled, asynchronous)
    ),
}


def contender(name: str, model: LoadedModel, *, precision: str = "bf16", int8: Path | None = None) -> Run:
    """Return the function of the contender called `name` for the weights of `model`; raises UserError where it can't be had.

    precision: of OpenVINO's; int8: what it reads in place of the weights, where ours are integers too.
    """
    if name not in CONTENDERS:
        raise UserError(f"against {name!r}: there are {', '.join(CONTENDERS)}")
    preprocess = model.card.preprocess
    if preprocess.channel_order != "rgb" or preprocess.channels != 3:
        raise UserError("contenders read pictures of three channels, in the order of red, green, blue")
    require("export" if name == "openvino" else "test", name, needed_for=f"a benchmark against {name}")
    make = CONTENDERS[name].make
    if name == "openvino" and int8 is not None:
        return openvino_int8(int8)
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (preprocess.mean, preprocess.std))
    if name == "openvino":
        return make(lambda: _own(model), mean, std, precision=precision)
    return make(lambda: _theirs(name, model), mean, std)


def _own(model: LoadedModel) -> Any:
    module = model.module
    module.image_size = model.card.preprocess.image_size  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return module


def _theirs(library: str, model: LoadedModel) -> Any:
    """Return the library's own module with our weights."""
    import torch

    from inceptions.weights.exporter import export_tensors

    network, classes = model.card.network, model.card.network.classes
    tensors = {key: torch.from_numpy(value) for key, value in export_tensors(model.module, framework=library).items()}
    if library == "timm":
        import timm

        module = timm.create_model(network.name, num_classes=classes)
    else:
        from torchvision import models

        module = getattr(models, network.name)(num_classes=classes, aux_logits=False, init_weights=False)
        module.transform_input = False
    module.load_state_dict(tensors)
    return module


def source_of(name: str, *, in_integers: bool = False) -> str:
    """Return the code of a contender, as the page shows it."""
    shown = (openvino_int8, asynchronous) if in_integers and name == "openvino" else CONTENDERS[name].shown
    return "\n\n".join(map(inspect.getsource, shown))
