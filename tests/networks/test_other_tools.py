"""Tools of others take our modules as they take torchvision's: tracers, converters, surgery, copies, quantisation, counters."""

from __future__ import annotations

import copy
import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.ao.quantization import fuse_modules
from torch.func import functional_call, grad, vmap
from torch.fx.experimental.optimization import fuse
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint_sequential
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

from inceptions.networks import reshape
from inceptions.networks.modules.layers import Chain
from inceptions.networks.modules.models import Classifier, ClassifierWithAux, FeatureExtractor, create_model
from inceptions.networks.registry import get_network, list_models
from inceptions.networks.trace import trace
from tests.networks.conftest import family_first
from tests.networks.twins import noise, relative_error, small, twin

pytestmark = [  # torch calls old what these tools are built on; that they still use it is why it is tested
    pytest.mark.filterwarnings(r"ignore:.*torch\.jit\.\w+` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings(r"ignore:.*torch\.jit\.\w+` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:.*torch\.ao\.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings(r"ignore:torch\.quantize_per_tensor.* are deprecated:UserWarning"),
    # torch's own local response normalisation looks at a size while it is traced; nothing of ours may
    pytest.mark.filterwarnings(r"ignore:Converting a tensor to a Python boolean:torch.jit.TracerWarning:torch\.nn\.functional"),
]

# Converters fold batch normalisation into kernels and sum in another order: float32 keeps some 6 digits of a sum of a few thousand
# products, and the networks are up to 250 layers deep.
TOLERANCE = 1e-5

GOOGLENET = reshape.scale_width(get_network("googlenet_bn"), 0.25)
"""Has auxiliary heads, for images of any size."""


def batches(network: Any) -> list[Tensor]:
    """The images that a program is written down with, and others: of another number, and of a size on which SAME pads otherwise."""
    side = small(network)
    other = side + (32 if network.name == "bn_inception_caffe" else 13)  # whose branches round differently on odd grids
    return [noise(2, 3, side, side), noise(3, 3, side, side, seed=1), noise(1, 3, other, other + 32, seed=2)]


def agree(program: Callable[[Tensor], Tensor], model: Classifier) -> None:
    for x in batches(model.network):
        assert relative_error(program(x), model(x)) < TOLERANCE


SOON = ("inception_small", "googlenet")
"""Of `FEW` those that tools are through with soon; all are theirs in `make test-all`."""
few = pytest.mark.parametrize("one_of_a_family", family_first(list_models(), SOON), indirect=True)

# ---- programs written down


@few
@torch.no_grad()
def test_traced_program_gives_the_eager_result_at_any_batch_and_size_also_when_saved(one_of_a_family: Classifier) -> None:
    traced, file = torch.jit.trace(one_of_a_family, batches(one_of_a_family.network)[0], check_trace=False), io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    with torch.jit.optimized_execution(False):  # it would compile kernels anew for every size
        agree(torch.jit.load(file), one_of_a_family)


@few
@torch.no_grad()
def test_scripted_program_gives_the_eager_result_at_any_batch_and_size(one_of_a_family: Classifier) -> None:
    with torch.jit.optimized_execution(False):
        agree(torch.jit.script(one_of_a_family), one_of_a_family)


@few
@torch.no_grad()
def test_graph_of_fx_gives_the_eager_result_at_any_batch_and_size_also_fused(one_of_a_family: Classifier) -> None:
    graph = fx.symbolic_trace(one_of_a_family)
    agree(graph, one_of_a_family)
    agree(fuse(graph), one_of_a_family)


@few
@torch.no_grad()
def test_torchvision_takes_features_out_of_any_stage(one_of_a_family: Classifier) -> None:
    last, x = f"stages.{one_of_a_family.network.stages[-1].name}", batches(one_of_a_family.network)[0]
    taken = create_feature_extractor(one_of_a_family, [last, "classifier"])(x)
    assert relative_error(taken[last], one_of_a_family.forward_features(x)) < TOLERANCE
    assert relative_error(taken["classifier"], one_of_a_family(x)) < TOLERANCE


@torch.no_grad()
def test_symbolic_sizes_are_taken_as_they_come() -> None:
    model = create_model("inception_small", features_only=True, out_indices=(0,)).eval()  # every operation costs a second of algebra
    weights, x = model.state_dict(), noise(3, 3, 41, 60, seed=1)
    graph = make_fx(lambda weights, x: functional_call(model, weights, (x,)), tracing_mode="symbolic")(weights, noise(2, 3, 28, 28))
    assert relative_error(graph(weights, x)[0], model(x)[0]) < TOLERANCE


@pytest.mark.exhaustive
@torch.no_grad()
def test_forms_with_auxiliary_heads_and_with_features_are_traced_too() -> None:
    side = create_model(GOOGLENET, aux=True).eval()
    levels = twin(lambda: create_model(GOOGLENET, features_only=True), side)
    x, y = noise(2, 3, 96, 96), noise(3, 3, 109, 128, seed=1)
    logits, aux = torch.jit.trace(side, x, check_trace=False)(y)
    for ours, eager in zip((logits, *aux), (side(y).logits, *side(y).aux), strict=True):
        assert relative_error(ours, eager) < TOLERANCE
    for program in (torch.jit.trace(levels, x, strict=False, check_trace=False), torch.jit.script(levels), fx.symbolic_trace(levels)):
        for ours, eager in zip(program(y), levels(y), strict=True):
            assert relative_error(ours, eager) < TOLERANCE


# ---- converters


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)  # it would tell its makers that a test ran
    import openvino

    return openvino


def converted(openvino: Any, model: Any, **settings: Any) -> Callable[[Tensor], Tensor]:
    """The program as OpenVINO runs it on the CPU, in float32 where the processor would rather have bfloat16."""
    program = openvino.compile_model(openvino.convert_model(model, **settings), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: torch.from_numpy(program(x.numpy())[0])


@pytest.mark.exhaustive
@torch.no_grad()
def test_openvino_takes_every_network_by_an_example(one_of_a_family: Classifier, openvino: Any) -> None:
    agree(converted(openvino, one_of_a_family, example_input=batches(one_of_a_family.network)[0]), one_of_a_family)


def onnx_file(model: Classifier, path: Path) -> Path:
    """Write what PyTorch's older exporter makes of the model, for any batch and size."""
    sizes = {"images": {0: "batch", 2: "height", 3: "width"}}
    torch.onnx.export(model, (batches(model.network)[0],), path, dynamo=False, input_names=["images"], dynamic_axes=sizes)
    return path


older_exporter = pytest.mark.filterwarnings(
    "ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning",
    "ignore:The feature will be removed:DeprecationWarning",
    "ignore:Constant folding - Only steps=1 can be constant folded:UserWarning",
)


@pytest.mark.exhaustive
@older_exporter
@torch.no_grad()
def test_older_exporter_writes_every_network_to_onnx(one_of_a_family: Classifier, openvino: Any, tmp_path: Path) -> None:
    agree(converted(openvino, onnx_file(one_of_a_family, tmp_path / "model.onnx")), one_of_a_family)


# ---- copies, surgery, other ways to call

SMALL = get_network("inception_small")
"""Enough where what is tested is how modules are put together, which `build` and `models` do alike for all."""


@pytest.fixture
def model() -> Classifier:
    return create_model(SMALL, num_classes=10).eval()


@pytest.fixture
def x() -> Tensor:
    return noise(2, 3, 28, 28)


@pytest.mark.parametrize("form", [{}, {"aux": True}, {"features_only": True}], ids=["classifier", "aux", "features"])
@torch.no_grad()
def test_copies_and_pickles_are_whole(form: dict[str, bool]) -> None:
    def tensors(model: Classifier | ClassifierWithAux | FeatureExtractor) -> list[Tensor]:
        out = model(noise(2, 3, 96, 96))
        return [out] if isinstance(out, Tensor) else list(out) if isinstance(out, list) else [out.logits, *out.aux]

    original = create_model(GOOGLENET, **form).eval()
    file = io.BytesIO()
    torch.save(original, file)
    file.seek(0)
    for other in (copy.deepcopy(original), pickle.loads(pickle.dumps(original)), torch.load(file, weights_only=False)):
        assert other is not original and other.network == original.network
        for ours, theirs in zip(tensors(other), tensors(original), strict=True):
            assert torch.equal(ours, theirs)


@torch.no_grad()
def test_children_in_a_row_are_the_network_and_without_the_last_its_features(model: Classifier, x: Tensor) -> None:
    *body, head = model.children()
    features = nn.Sequential(*body)(x)
    assert torch.equal(features.flatten(1), model.forward_head(model.forward_features(x), pre_logits=True))
    assert torch.equal(nn.Sequential(*body, nn.Flatten(), head)(x), model(x))


@torch.no_grad()
def test_classifier_can_be_replaced_by_hand(model: Classifier, x: Tensor) -> None:
    model.classifier = nn.Linear(model.get_classifier().in_features, 7)
    assert model(x).shape == (2, 7)
    model.classifier = nn.Identity()
    assert model(x).shape == (2, model.num_features)


def test_functional_calls_give_the_result_and_a_gradient_for_each_image(model: Classifier, x: Tensor) -> None:
    weights, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert torch.equal(functional_call(model, (weights, buffers), (x,)), model(x))

    def first_logit(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, (weights, buffers), (image[None],))[0, 0]

    each = vmap(grad(first_logit), in_dims=(None, 0))({name: weight.detach() for name, weight in weights.items()}, x)
    model(x)[:, 0].sum().backward()
    for name, weight in weights.items():
        assert weight.grad is not None
        torch.testing.assert_close(each[name].sum(0), weight.grad)  # as torch compares float32


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2**-7), (torch.bfloat16, 2**-4), (torch.float64, 1e-5)])
@torch.no_grad()
def test_precision_and_memory_format_can_be_changed(model: Classifier, x: Tensor, dtype: torch.dtype, tolerance: float) -> None:
    expected = model(x)  # a few units of the last place of the type, 2**-11 and 2**-8, from 11 layers
    moved = model.to(dtype=dtype, memory_format=torch.channels_last)(x.to(dtype=dtype, memory_format=torch.channels_last))
    assert moved.dtype is dtype and relative_error(moved.float(), expected) < tolerance


def test_every_module_runs_its_forward_hooks_and_the_last_map_keeps_its_gradient(model: Classifier, x: Tensor) -> None:
    ran: set[nn.Module] = set()
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: ran.add(module))
    maps: list[Tensor] = []
    model.stages[-1].register_forward_hook(lambda *args: maps.append(args[-1]))
    logits = model(x)
    (gradient,) = torch.autograd.grad(logits[:, 3].sum(), maps)  # as Grad-CAM does
    assert ran == set(model.modules())
    assert gradient.shape == maps[0].shape and gradient.abs().sum() > 0


def test_counter_of_torch_counts_the_multiply_adds_of_the_trace(model: Classifier) -> None:
    with FlopCounterMode(display=False) as counter:
        model(noise(1, 3, 28, 28))
    assert counter.get_total_flops() == 2 * trace(model.network).total.multiply_adds


@few
@torch.no_grad()
def test_convolution_and_normalisation_of_every_chain_can_be_fused(one_of_a_family: Classifier) -> None:
    fused = copy.deepcopy(one_of_a_family)
    for chain in [module for module in fused.modules() if isinstance(module, Chain) and hasattr(module, "bn")]:
        pairs = (["conv", "bn"], ["depthwise", "depthwise_bn"], ["pointwise", "bn"])
        if present := [pair for pair in pairs if all(hasattr(chain, name) for name in pair)]:
            fuse_modules(chain, present, inplace=True)
    agree(fused, one_of_a_family)


@torch.no_grad()
def test_dynamic_quantisation_reaches_the_classifier(model: Classifier, x: Tensor) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert relative_error(quantised(x), model(x)) < 0.05  # 8 bits for a weight, and for an input
    assert type(quantised.classifier) is not nn.Linear


def test_wrappers_and_averages_take_the_model(model: Classifier, x: Tensor) -> None:
    assert torch.equal(nn.DataParallel(model)(x), model(x))
    assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))(x), model(x))
    averaged = AveragedModel(model)
    averaged.update_parameters(model)
    assert torch.equal(averaged.eval()(x), model(x))
    update_bn([noise(8, 3, 28, 28)], averaged)
    assert not torch.equal(averaged.eval()(x), model(x))
    kept = checkpoint_sequential(model.stages, 2, x.requires_grad_(), use_reentrant=False)
    assert torch.equal(kept, model.forward_features(x))
