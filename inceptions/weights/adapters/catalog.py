"""Every public form of these networks that is known here: framework, network, names, numerics, preprocessing.

Numerics and preprocessing are those that the weights were published with; where a source leaves a choice, the reason says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from inceptions.data.preprocess import CAFFE as CAFFE_PIXELS
from inceptions.data.preprocess import INCEPTION, Preprocess
from inceptions.networks.registry import NETWORKS
from inceptions.networks.reshape import with_numerics, without_aux
from inceptions.networks.spec import Network
from inceptions.networks.tables.bn_inception import INCEPTION_V2_PLAIN
from inceptions.weights.adapters import tensorflow_names as tf
from inceptions.weights.adapters import torch_names as pt
from inceptions.weights.adapters.styles import CAFFE, DEEPLAB, KERAS, SLIM, TORCH, Style
from inceptions.weights.units import Unit, units


@dataclass(frozen=True, slots=True)
class Adapter:
    """One network in one framework. `numbered` names count the unnamed layers; `scale` tells whether its batch norms have a gamma."""

    framework: str
    network: Network
    style: Style
    names: Callable[[Unit], tuple[str, str]] | None = None
    numbered: Callable[[Unit, int], tuple[str, str]] | None = None
    preprocess: Preprocess = INCEPTION
    why: str = ""
    ignored: str = r"(^|[./])(num_batches_tracked|global_step)$"
    scale: bool = True

    def units(self, network: Network, *, aux: bool) -> Iterator[tuple[Unit, dict]]:
        """Yield the units of `network` with the framework's name for each of their tensors."""
        number = 0
        for unit in units(network, aux=aux):
            if self.numbered is not None:
                layer, norm = self.numbered(unit, number)
                number += layer.startswith("conv2d")
            else:
                assert self.names is not None
                layer, norm = self.names(unit)
            yield unit, self.style.names(unit, layer, norm)


def _pixels(image_size: int, resize_size: int, interpolation: str = "bicubic") -> Preprocess:
    return replace(INCEPTION, image_size=image_size, resize_size=resize_size, interpolation=interpolation)


_COUNTS = "its 3x3 average pools count the padding"
_EXCLUDES = "TensorFlow's SAME: average pools leave the padding out, the odd pixel goes after"
_SLIM_OPTIMIZER = r"(^|/)(global_step|ExponentialMovingAverage|RMSProp(_1)?|Momentum|Adam(_1)?)$"
_KERAS_IGNORED = r"^(top_level_model_weights|optimizer|normalization|rescaling)"
_ALIGNED = {"xception41": 8, "xception65": 16, "xception71": 16, "xception41p": 8, "xception65p": 16}


def _entry(name: str) -> tuple[str, ...]:
    return tuple(f"entry{n}" for n in range(1, 6 if name == "xception71" else 4))


def _torchvision() -> Iterator[Adapter]:
    n = NETWORKS
    yield Adapter(
        "torchvision",
        n["googlenet_bn"],
        TORCH,
        pt.torchvision_googlenet,
        preprocess=_pixels(224, 256, "bilinear"),
        why="pools 1 to 3 round up, convolutions pad alike on both sides; transform_input makes its pixels -1 to 1",
    )
    counts = with_numerics(n["inception_v3"], avg_pool_counts_padding=True)
    yield Adapter(
        "torchvision",
        counts,
        TORCH,
        pt.torchvision_inception_v3,
        preprocess=_pixels(299, 342, "bilinear"),
        why=f"{_COUNTS}; transform_input makes its pixels -1 to 1",
    )
    fid = Preprocess(299, resize="squash", resize_size=299, mean=(128.0,) * 3, std=(128.0,) * 3)
    yield Adapter(
        "pytorch_fid", n["inception_v3_fid"], TORCH, pt.torchvision_inception_v3, preprocess=fid, why=f"the graph of 2015: {_EXCLUDES}"
    )
    yield Adapter("timm", counts, TORCH, pt.torchvision_inception_v3, preprocess=_pixels(299, 341), why=_COUNTS)


def _timm_and_cadene() -> Iterator[Adapter]:
    n = NETWORKS
    v4, resnet_v2 = without_aux(n["inception_v4"]), without_aux(n["inception_resnet_v2"])  # they have no auxiliary heads
    yield Adapter("timm", v4, TORCH, pt.timm_inception_v4, preprocess=_pixels(299, 341), why=_EXCLUDES)
    yield Adapter("timm", resnet_v2, TORCH, pt.timm_inception_resnet_v2, preprocess=_pixels(299, 333), why=_EXCLUDES)
    xception = with_numerics(n["xception"], bn_epsilon=1e-5, pool_padding="symmetric")
    port = "its port has torch's epsilon, 1e-5, and pads max pools alike on both sides"
    yield Adapter("timm", xception, TORCH, pt.timm_legacy_xception, preprocess=_pixels(299, 333), why=port)
    for name, middle in _ALIGNED.items():
        form = pt.timm_xception_preactivated if name.endswith("p") else pt.timm_xception_aligned
        names = pt.with_exit(form, entry=_entry(name), middle=middle)
        why = f"strided convolutions pad alike on both sides; epsilon {n[name].numerics.bn_epsilon:g}"
        yield Adapter("timm", n[name], TORCH, names, preprocess=_pixels(299, 331), why=why)
    linear = partial(_renamed, classifier="last_linear")
    yield Adapter("cadene", v4, TORCH, pt.timm_inception_v4, preprocess=_pixels(299, 341), why=_EXCLUDES)
    names = partial(linear, names=pt.timm_inception_resnet_v2)
    yield Adapter("cadene", resnet_v2, TORCH, names, preprocess=_pixels(299, 333), why=_EXCLUDES)
    names = partial(linear, names=pt.timm_legacy_xception)
    yield Adapter("cadene", xception, TORCH, names, preprocess=_pixels(299, 333), why=port)
    as_file = Adapter("cadene", xception, TORCH, pt.timm_legacy_xception, preprocess=_pixels(299, 333), why=port)
    yield as_file  # the file that is downloaded; the model that is made of it has the classifier as last_linear
    pixels = replace(CAFFE_PIXELS, resize="shorter", resize_size=256, mean=(104.0, 117.0, 128.0))
    why = "Caffe's arithmetic: epsilon 1e-5, pools round up, average pools count the padding; blue first, mean 128 for red as published"
    yield Adapter("cadene", n["bn_inception_caffe"], TORCH, pt.cadene_bninception, preprocess=pixels, why=why)
    faces = Preprocess(160, resize="squash", resize_size=160, mean=(127.5,) * 3, std=(128.0,) * 3)
    ignored = r"num_batches_tracked$|^logits\."
    yield Adapter(
        "facenet_pytorch",
        n["inception_resnet_v1_facenet"],
        TORCH,
        pt.facenet_pytorch,
        preprocess=faces,
        why="epsilon 1e-3",
        ignored=ignored,
    )


def _renamed(unit: Unit, *, names: Callable[[Unit], tuple[str, str]], classifier: str) -> tuple[str, str]:
    return (classifier, "") if unit.part == "classifier" else names(unit)


def _tensorflow() -> Iterator[Adapter]:
    n = NETWORKS
    central = Preprocess(299, resize="central", crop_fraction=0.875)
    small = replace(central, image_size=224)
    v1 = with_numerics(without_aux(n["googlenet_bn"]), conv_padding="tensorflow", pool_padding="tensorflow")
    side = ("Conv2d_1b_1x1", "Conv2d_2a_5x5")
    forms = (
        (v1, "InceptionV1", "Logits/Conv2d_0c_1x1", None, small),
        (n["inception_v2_slim"], "InceptionV2", "Logits/Conv2d_1c_1x1", None, small),
        (INCEPTION_V2_PLAIN, "InceptionV2", "Logits/Conv2d_1c_1x1", None, small),
        (n["inception_v3"], "InceptionV3", "Logits/Conv2d_1c_1x1", (*side, "Conv2d_2b_1x1"), central),
        (n["inception_v4"], "InceptionV4", "Logits/Logits", ("Conv2d_1b_1x1", "Conv2d_2a", "Aux_logits"), central),
        (n["inception_resnet_v2"], "InceptionResnetV2", "Logits/Logits", (*side, "Logits"), central),
    )
    for network, scope, logits, aux, pixels in forms:
        names = tf.slim(scope, logits=logits, aux=aux)
        yield Adapter("tf_slim", network, SLIM, names, preprocess=pixels, why=_EXCLUDES, ignored=_SLIM_OPTIMIZER, scale=False)
    for name in ("xception41", "xception65", "xception71"):
        names = tf.deeplab(name.replace("xception", "xception_"))
        why = "strided convolutions pad alike on both sides"
        yield Adapter("tf_deeplab", n[name], DEEPLAB, names, preprocess=central, why=why, ignored=_SLIM_OPTIMIZER)
    faces = Preprocess(160, resize="squash", resize_size=160, mean=(127.5,) * 3, std=(128.0,) * 3)
    names = tf.slim("InceptionResnetV1", logits="Logits")
    ignored = rf"{_SLIM_OPTIMIZER}|^Logits/|^centers$"
    network = n["inception_resnet_v1_facenet"]
    yield Adapter("tf_facenet", network, SLIM, names, preprocess=faces, why=_EXCLUDES, ignored=ignored, scale=False)


def _keras() -> Iterator[Adapter]:
    n = NETWORKS
    central = Preprocess(299, resize="central", crop_fraction=0.875)
    forms = (("inception_v3", tf.keras_numbered), ("inception_resnet_v2", tf.keras_inception_resnet_v2), ("xception", tf.keras_xception))
    for name, names in forms:
        yield Adapter(
            "keras",
            without_aux(n[name]),
            KERAS,
            numbered=names,
            preprocess=central,
            why=_EXCLUDES,
            ignored=_KERAS_IGNORED,
            scale=name == "xception",
        )


def _caffe() -> Iterator[Adapter]:
    n = NETWORKS
    for framework, counts, pools in (("caffe", True, "ceil"), ("onnx", False, "floor")):
        v1 = with_numerics(n["googlenet"], pool_padding=pools)
        why = "Caffe's pools round up" if framework == "caffe" else "the model zoo's pools round down, as its graph has it"
        yield Adapter(framework, v1, CAFFE, _caffe_names("double_3x3"), preprocess=CAFFE_PIXELS, why=why)
        numerics = replace(n["bn_inception_caffe"].numerics, avg_pool_counts_padding=counts)
        v2 = replace(INCEPTION_V2_PLAIN, numerics=numerics)
        why = (
            f"epsilon 1e-5, pools round up, average pools {'count the padding' if counts else 'leave the padding out, as its graph has it'}"
        )
        yield Adapter(framework, v2, CAFFE, _caffe_names("double3x3"), preprocess=CAFFE_PIXELS, why=why)


def _caffe_names(double: str) -> Callable[[Unit], tuple[str, str]]:
    def names(unit: Unit) -> tuple[str, str]:
        match unit.part, unit.trail:
            case "classifier", _:
                return "loss3/classifier", ""
            case (("aux 4a" | "aux 4d"), (place,)):
                head = "loss1" if unit.part == "aux 4a" else "loss2"
                return f"{head}/{'classifier' if place == 'classifier' else 'conv' if place == 1 else 'fc'}", ""
        layer = pt.caffe_layer(unit, double=double)
        return layer, layer

    return names


ADAPTERS: tuple[Adapter, ...] = (*_torchvision(), *_timm_and_cadene(), *_tensorflow(), *_keras(), *_caffe())


def find_adapter(framework: str, network: str) -> Adapter:
    """Return the adapter of a framework's form of a network, by its name."""
    return next(adapter for adapter in ADAPTERS if (adapter.framework, adapter.network.name) == (framework, network))


FRAMEWORKS: tuple[str, ...] = tuple(dict.fromkeys(adapter.framework for adapter in ADAPTERS))
