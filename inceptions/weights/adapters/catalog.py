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
_ALIGNED = {"xception41": (3, 8), "xception65": (3, 16), "xception71": (5, 16), "xception41p": (3, 8), "xception65p": (3, 16)}
"""Blocks of the entry and of the middle flow."""


_FACES = Preprocess(160, resize="squash", resize_size=160, mean=(127.5,) * 3, std=(128.0,) * 3)
_CENTRAL = Preprocess(299, resize="central", crop_fraction=0.875)


def _torchvision() -> Iterator[Adapter]:
    n, form = NETWORKS, partial(Adapter, style=TORCH)
    v1 = "pools 1 to 3 round up, convolutions pad alike on both sides; transform_input makes its pixels -1 to 1"
    counts, v3 = with_numerics(n["inception_v3"], avg_pool_counts_padding=True), pt.torchvision_inception_v3
    fid = Preprocess(299, resize="squash", resize_size=299, mean=(128.0,) * 3, std=(128.0,) * 3)
    bilinear = partial(_pixels, interpolation="bilinear")
    yield form("torchvision", n["googlenet_bn"], names=pt.torchvision_googlenet, preprocess=bilinear(224, 256), why=v1)
    pixels = f"{_COUNTS}; transform_input makes its pixels -1 to 1"
    yield form("torchvision", counts, names=v3, preprocess=bilinear(299, 342), why=pixels)
    yield form("pytorch_fid", n["inception_v3_fid"], names=v3, preprocess=fid, why=f"the graph of 2015: {_EXCLUDES}")
    yield form("timm", counts, names=v3, preprocess=_pixels(299, 341), why=_COUNTS)


def _timm_and_cadene() -> Iterator[Adapter]:
    n, form = NETWORKS, partial(Adapter, style=TORCH)
    v4, resnet_v2 = without_aux(n["inception_v4"]), without_aux(n["inception_resnet_v2"])  # they have no auxiliary heads
    xception = with_numerics(n["xception"], bn_epsilon=1e-5, pool_padding="symmetric")
    port = "its port has torch's epsilon, 1e-5, and pads max pools alike on both sides"
    legacy = partial(form, network=xception, preprocess=_pixels(299, 333), why=port)
    large = partial(form, preprocess=_pixels(299, 341), why=_EXCLUDES)
    larger = partial(form, preprocess=_pixels(299, 333), why=_EXCLUDES)
    yield large("timm", v4, names=pt.timm_inception_v4)
    yield larger("timm", resnet_v2, names=pt.timm_inception_resnet_v2)
    yield legacy("timm", names=pt.timm_legacy_xception)
    for name, (entry, middle) in _ALIGNED.items():
        names = pt.timm_xception_preactivated if name.endswith("p") else pt.timm_xception_aligned
        why = f"strided convolutions pad alike on both sides; epsilon {n[name].numerics.bn_epsilon:g}"
        yield form("timm", n[name], names=partial(names, entry=entry, middle=middle), preprocess=_pixels(299, 331), why=why)
    yield large("cadene", v4, names=pt.timm_inception_v4)
    yield larger("cadene", resnet_v2, names=partial(_last_linear, names=pt.timm_inception_resnet_v2))
    yield legacy("cadene", names=partial(_last_linear, names=pt.timm_legacy_xception))
    yield legacy("cadene", names=pt.timm_legacy_xception)  # the file; the model that is made of it has the classifier as last_linear
    pixels = replace(CAFFE_PIXELS, resize="shorter", resize_size=256, mean=(104.0, 117.0, 128.0))
    why = "Caffe's arithmetic: epsilon 1e-5, pools round up, average pools count the padding; blue first, mean 128 for red as published"
    yield form("cadene", n["bn_inception_caffe"], names=pt.cadene_bninception, preprocess=pixels, why=why)
    faces = partial(form, preprocess=_FACES, why="epsilon 1e-3", ignored=r"num_batches_tracked$|^logits\.")
    yield faces("facenet_pytorch", n["inception_resnet_v1_facenet"], names=pt.facenet_pytorch)


def _last_linear(unit: Unit, *, names: Callable[[Unit], tuple[str, str]]) -> tuple[str, str]:
    return ("last_linear", "") if unit.part == "classifier" else names(unit)


def _tensorflow() -> Iterator[Adapter]:
    n, slim = NETWORKS, partial(Adapter, style=SLIM, why=_EXCLUDES, scale=False)
    small = replace(_CENTRAL, image_size=224)
    v1 = with_numerics(without_aux(n["googlenet_bn"]), conv_padding="tensorflow", pool_padding="tensorflow")
    side = ("Conv2d_1b_1x1", "Conv2d_2a_5x5")
    forms = (
        (v1, "InceptionV1", "Logits/Conv2d_0c_1x1", None, small),
        (n["inception_v2_slim"], "InceptionV2", "Logits/Conv2d_1c_1x1", None, small),
        (INCEPTION_V2_PLAIN, "InceptionV2", "Logits/Conv2d_1c_1x1", None, small),
        (n["inception_v3"], "InceptionV3", "Logits/Conv2d_1c_1x1", (*side, "Conv2d_2b_1x1"), _CENTRAL),
        (n["inception_v4"], "InceptionV4", "Logits/Logits", ("Conv2d_1b_1x1", "Conv2d_2a", "Aux_logits"), _CENTRAL),
        (n["inception_resnet_v2"], "InceptionResnetV2", "Logits/Logits", (*side, "Logits"), _CENTRAL),
    )
    for network, scope, logits, aux, pixels in forms:
        yield slim("tf_slim", network, names=tf.slim(scope, logits=logits, aux=aux), preprocess=pixels, ignored=_SLIM_OPTIMIZER)
    aligned = partial(
        Adapter, style=DEEPLAB, preprocess=_CENTRAL, why="strided convolutions pad alike on both sides", ignored=_SLIM_OPTIMIZER
    )
    for name in ("xception41", "xception65", "xception71"):
        yield aligned("tf_deeplab", n[name], names=tf.deeplab(name.replace("xception", "xception_")))
    names, ignored = tf.slim("InceptionResnetV1", logits="Logits"), rf"{_SLIM_OPTIMIZER}|^Logits/|^centers$"
    yield slim("tf_facenet", n["inception_resnet_v1_facenet"], names=names, preprocess=_FACES, ignored=ignored)


def _keras() -> Iterator[Adapter]:
    keras = partial(Adapter, style=KERAS, preprocess=_CENTRAL, why=_EXCLUDES, ignored=_KERAS_IGNORED)
    forms = (("inception_v3", tf.keras_numbered), ("inception_resnet_v2", tf.keras_inception_resnet_v2), ("xception", tf.keras_xception))
    for name, names in forms:
        yield keras("keras", without_aux(NETWORKS[name]), numbered=names, scale=name == "xception")


def _caffe() -> Iterator[Adapter]:
    caffe = partial(Adapter, style=CAFFE, preprocess=CAFFE_PIXELS)
    v1, v2 = partial(_caffe_names, double="double_3x3"), partial(_caffe_names, double="double3x3")
    numerics = NETWORKS["bn_inception_caffe"].numerics
    same = "epsilon 1e-5, pools round up, average pools"
    yield caffe("caffe", with_numerics(NETWORKS["googlenet"], pool_padding="ceil"), names=v1, why="Caffe's pools round up")
    yield caffe("caffe", replace(INCEPTION_V2_PLAIN, numerics=numerics), names=v2, why=f"{same} count the padding")
    as_exported = "the model zoo's pools round down, as its graph has it"
    yield caffe("onnx", with_numerics(NETWORKS["googlenet"], pool_padding="floor"), names=v1, why=as_exported)
    numerics = replace(numerics, avg_pool_counts_padding=False)
    yield caffe("onnx", replace(INCEPTION_V2_PLAIN, numerics=numerics), names=v2, why=f"{same} leave the padding out, as its graph has it")


def _caffe_names(unit: Unit, *, double: str) -> tuple[str, str]:
    match unit.part, unit.trail:
        case "classifier", _:
            return "loss3/classifier", ""
        case (("aux 4a" | "aux 4d"), (place,)):
            head = "loss1" if unit.part == "aux 4a" else "loss2"
            return f"{head}/{'classifier' if place == 'classifier' else 'conv' if place == 1 else 'fc'}", ""
    layer = pt.caffe_layer(unit, double=double)
    return layer, layer


ADAPTERS: tuple[Adapter, ...] = (*_torchvision(), *_timm_and_cadene(), *_tensorflow(), *_keras(), *_caffe())


def find_adapter(framework: str, network: str) -> Adapter:
    """Return the adapter of a framework's form of a network, by its name."""
    return next(adapter for adapter in ADAPTERS if (adapter.framework, adapter.network.name) == (framework, network))


FRAMEWORKS: tuple[str, ...] = tuple(dict.fromkeys(adapter.framework for adapter in ADAPTERS))
