"""Every public implementation that recorded its outputs agrees with ours, under weights made by a rule (tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from inceptions.networks import reshape
from inceptions.networks.modules.layers import Chain, Concat, Sum
from inceptions.networks.modules.models import Outputs
from inceptions.networks.registry import get_network
from inceptions.weights.adapters.catalog import ADAPTERS
from inceptions.weights.importer import import_tensors
from tests.golden import rule

GOLDEN = Path(rule.__file__).parent
FILES = sorted(path.stem for path in GOLDEN.glob("*.json"))
FRAMEWORKS = {"tf_models_slim": "tf_slim", "tf_models_deeplab": "tf_deeplab", "facenet": "tf_facenet"}
LARGE = {  # the same kinds of block and of numerics are in smaller ones, or in test_parity; timm's names are in all
    *(f"timm-{name}" for name in ("inception_resnet_v2", "inception_v4", "xception41", "xception65", "xception71")),
    *(f"timm-{name}" for name in ("xception41p", "xception65p")),
    *(f"tf_models_deeplab-{name}" for name in ("xception_65", "xception_71")),
    *(f"tf_models_slim-{name}" for name in ("inception_resnet_v2", "inception_v4")),
    *("tf_models_deeplab-xception_65_os16", "keras-InceptionResNetV2", "facenet-inception_resnet_v1_128"),
}
TOLERANCE = 1e-5  # of the largest value; two correct implementations differ by 1.6e-6 at most, a wrong detail costs 1e-2


def import_by_rule(name):
    spec = json.loads((GOLDEN / f"{name}.json").read_text())
    framework = name.split("-")[0]
    framework = "caffe" if name.endswith("caffe_pools") else FRAMEWORKS.get(framework, framework)
    network = None
    if name.endswith("os16"):
        network = reshape.dilate(get_network("xception65"), 16)
    return spec, *import_tensors(dict(rule.checkpoint(spec)), framework=framework, network=network)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.exhaustive if name in LARGE else ()) for name in FILES])
def imported(request):
    """The recording's name, what it says, the module with its weights, and the audit: once for all tests of it."""
    return request.param, *import_by_rule(request.param)


def read_input(spec):
    batch = rule.network_input(spec)
    return torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2) if spec["input"]["layout"] == "NHWC" else batch))


def compute(module, images):
    """Return the outputs by their recorded names, and the mean over space of every part's output."""
    means = []

    def note(_module, _inputs, output):
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            means.append(output.mean((2, 3)))

    parts = {*module.stages.children(), *(m for m in module.modules() if isinstance(m, Chain | Concat | Sum | nn.Sequential))}
    hooks = [part.register_forward_hook(note) for part in parts]
    with torch.inference_mode():
        out = module(images)
    for hook in hooks:
        hook.remove()
    with torch.inference_mode():
        features = module.forward_features(images)
        vectors = module.forward_head(features, pre_logits=True)
    logits, aux = out if isinstance(out, Outputs) else (out, ())
    named = {"logits": logits, "embedding": logits, "prelogits": vectors, "pool3": vectors, "features": features.mean((2, 3))}
    named |= {"aux": aux[0]} if aux else {}
    named |= {f"aux{place}": tensor for place, tensor in enumerate(aux, start=1)}
    if module.num_classes:
        named["logits_unbiased"] = logits - module.classifier.bias.detach()
    return named, means


def distance(ours, theirs):
    return float((ours - torch.from_numpy(theirs)).abs().max() / np.abs(theirs).max())


@pytest.mark.slow
def test_outputs_and_stage_means_are_those_recorded(imported):
    name, spec, module, audit = imported
    recorded = np.load(GOLDEN / f"{name}.npz")
    named, means = compute(module, read_input(spec))
    for output in spec["outputs"]:
        assert distance(named[output], recorded[output]) < TOLERANCE, output
    for endpoint, shape in spec["endpoints"]:
        theirs = recorded[endpoint]
        if len(shape) == 4 and theirs.ndim == 2:
            best = min(distance(mean, theirs) for mean in means if mean.shape == theirs.shape)
            assert best < TOLERANCE, endpoint
    assert module.num_classes == (spec["classes"] or 0)
    assert audit.numerics.bn_epsilon == (spec["bn_epsilon"] or audit.numerics.bn_epsilon)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("timm-")])
def test_names_are_those_recorded(name):
    """Of the large ones too: a name that is wrong both ways passes every test that goes there and back."""
    recorded = {tensor[0] for tensor in json.loads((GOLDEN / f"{name}.json").read_text())["tensors"] if tensor[2] != "counter"}
    network = name.removeprefix("timm-").removeprefix("legacy_")
    (adapter,) = (each for each in ADAPTERS if (each.framework, each.network.name) == ("timm", network))
    assert {theirs for _, names in adapter.units(adapter.network, aux=False) for theirs in names.values()} == recorded


def test_audit_accounts_for_every_tensor(imported):
    _, spec, module, audit = imported
    given = [tensor[0] for tensor in spec["tensors"]]
    folded = sum("/bn/sc_" in tensor for tensor in given)
    assert len(audit.matched) + len(audit.transformed) + len(audit.ignored) == len(given) - folded
    assert all(tensor[2] == "counter" for tensor in spec["tensors"] if tensor[0] in audit.ignored)
    floats = sum(tensor.is_floating_point() for tensor in module.state_dict().values())
    assert len(audit.matched) + len(audit.transformed) + len(audit.filled) == floats


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("tf_slim-inception_v3", {"avg_pool_counts_padding": True}, marks=pytest.mark.exhaustive),
        pytest.param("tf_slim-inception_v3", {"bn_epsilon": 1e-5}, marks=pytest.mark.exhaustive),
        ("tf_slim-inception_v1", {"conv_padding": "symmetric"}),
        pytest.param("keras-Xception", {"pool_padding": "symmetric"}, marks=pytest.mark.exhaustive),
        ("torchvision-googlenet", {"pool_padding": "floor"}),
    ],
)
def test_wrong_numerics_show(name, change):
    spec, module, _ = import_by_rule(name)
    wrong = type(module)(reshape.with_numerics(module.network, **change)).eval()
    wrong.load_state_dict(module.state_dict())
    named, _ = compute(wrong, read_input(spec))
    assert distance(named["logits"], np.load(GOLDEN / f"{name}.npz")["logits"]) > 1e-3
