"""OpenVINO, the fastest on x86 CPUs: enters the graph of a network, leaves its representation on disk, and an engine that runs it.

Running needs no torch. The graph is compiled for the processor when it is first loaded; OpenVINO keeps the result beside it.
"""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inceptions.errors import ModelFolderError
from inceptions.inference.engines.base import Answers, Engine, EngineName, Precision
from inceptions.weights.card import read_card

if TYPE_CHECKING:
    from torch import Tensor

    from inceptions.inference.engines.graph import Reader

NAME: EngineName = "openvino"
EXTRA = "fast"
MODULES = ("openvino",)
GRAPH = "model.xml"
INT8 = "int8.xml"  # in the folder of a quantised model
_AT_A_TIME = 4  # images: what the layers of so many leave stays in the caches, and all cores have some of a batch
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}


def precisions(device: str) -> tuple[Precision, ...]:
    """Return those that are of use on the device, the fastest first: bfloat16 where the processor has it."""
    if device != "cpu":
        return ()
    return ("bfloat16", "float32") if _has_bfloat16() else ("float32",)


def prepare(classifier: Reader, example: Tensor, folder: Path, *, precision: Precision, device: str, source: Path) -> None:
    """Write the representation of a network that reads pixels like `example` (N, S, S, C); of int8, what is in the folder `source`."""
    import openvino

    if precision == "int8":
        model = read_integers(source)
    else:
        from inceptions.inference.engines.graph import export_graph

        model = convert(export_graph(classifier, example), example.shape[1:])
    openvino.save_model(model, folder / GRAPH, compress_to_fp16=False)


def read_integers(source: Path) -> Any:
    """Return OpenVINO's model of a quantised model folder. Raises ModelFolderError where it isn't the one that was judged."""
    files = [(source / INT8).with_suffix(ending) for ending in (".xml", ".bin")]
    if not all(file.is_file() for file in files) or digest(files) != read_card(source).provenance["int8"]["sha256"]:
        raise ModelFolderError(f"{INT8} and its .bin in {source} are not what was quantised; copy the whole model folder")
    model = core().read_model(files[0])
    _pad_within_pools(model)  # of a folder that was written when `convert` didn't yet
    return model


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of what is in the files, one behind the other."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def convert(program: Any, shape: Iterable[int], names: Iterable[str] = ("pixels", "logits", "vectors")) -> Any:
    """Return OpenVINO's model of an exported program whose input is (N, *shape), for any N; `names` are its inputs' and outputs'."""
    import openvino

    model = openvino.convert_model(program)
    model.reshape([-1, *shape])
    _pad_within_pools(model)
    for port, name in zip((*model.inputs, *model.outputs), names, strict=True):
        port.get_tensor().set_names({name})
    return model


def _pad_within_pools(model: Any) -> None:
    """Have max pools pad what they read themselves, where layers before them do it with -inf.

    Of -inf in integers OpenVINO makes anything, and so of what a quantised network answers (2026.4, with more than one stream).
    """
    from openvino import opset13

    for pool in model.get_ordered_ops():
        if pool.get_type_name() != "MaxPool" or pool.input_value(0).get_node().get_type_name() != "Pad":
            continue
        unpadded, *values = pool.input_value(0).get_node().input_values()
        begins, ends, fill = (value.get_node().get_data() for value in values)
        own = pool.get_attributes()
        if fill != -np.inf or any((*begins[:2], *ends[:2])) or own["rounding_type"] != "floor":
            continue
        before, after = ((pads[2:] + own[name]).tolist() for pads, name in ((begins, "pads_begin"), (ends, "pads_end")))
        padding = opset13.max_pool(unpadded, own["strides"], own["dilations"], before, after, own["kernel"])
        padding.set_friendly_name(pool.get_friendly_name())
        for target in pool.output(0).get_target_inputs():
            target.replace_source_output(padding.output(0))
    model.validate_nodes_and_infer_types()


@functools.cache
def core() -> Any:
    """Return OpenVINO's core, one for the whole process.

    Each sets a stack for signals and puts back the one before when it goes; with several that may be one that is gone, and then the next
    signal, such as Ctrl-C, ends the process (OpenVINO 2026.4 on processors with AMX).
    """
    import openvino

    return openvino.Core()


def load(folder: Path, *, precision: Precision, device: str, source: Path, part: int | None = None) -> Engine:
    """Return the engine of what `prepare` wrote, or of any representation with these inputs and outputs."""
    return OpenVinoEngine(folder, precision)


class OpenVinoEngine(Engine):
    """A few images at a time run side by side, on as many requests as OpenVINO finds best for the processor."""

    name: EngineName = NAME

    def __init__(self, folder: Path, precision: Precision) -> None:
        self.precision = precision
        hint = _HINTS[precision] if _has_bfloat16() else "f32"
        settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT", "CACHE_DIR": str(folder)}
        self._compiled = core().compile_model(folder / GRAPH, "CPU", settings)
        self._requests = [
            self._compiled.create_infer_request() for _ in range(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        ]

    def run(self, pixels: np.ndarray) -> Answers:
        """Return the answers for N images."""
        return next(self.stream([pixels]))

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[Answers]:
        """Yield the answers of each batch, in order."""
        free, busy = deque(self._requests), deque[_Asked]()
        try:
            for pixels in batches:
                answered: list[Answers] = []
                size = min(_AT_A_TIME, max(2, -(-len(pixels) // len(self._requests))))
                for start in range(0, len(pixels), size):
                    if not free:
                        yield from _answer(busy.popleft(), free)
                    asked = _Asked(free.popleft(), pixels, answered)
                    asked.request.start_async({0: pixels[start : start + size]}, share_inputs=True)
                    busy.append(asked)
            while busy:
                yield from _answer(busy.popleft(), free)
        finally:  # also where no more is read, or a batch could not be: a request that is busy takes no other pixels
            for request in self._requests:
                with suppress(RuntimeError):  # what failed was told where it was waited for; the others are waited for all the same
                    request.wait()


class _Asked(NamedTuple):
    """A request that is on the way, the batch that its images are of, which is read where it lies, and what is answered of that."""

    request: Any
    batch: np.ndarray
    answered: list[Answers]


def _answer(asked: _Asked, free: deque[Any]) -> Iterator[Answers]:
    """Wait for the request, which then is free, and yield the answers of its batch where they are the last of it."""
    asked.request.wait()
    asked.answered.append(Answers(*(asked.request.get_output_tensor(place).data.copy() for place in (0, 1))))
    free.append(asked.request)
    if sum(len(answers.logits) for answers in asked.answered) == len(asked.batch):
        yield Answers(*map(np.concatenate, zip(*asked.answered, strict=True)))


def _has_bfloat16() -> bool:
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
