"""The published checkpoints of the family: enters a tag such as `inception_v3.tf_in1k`, leaves where it is and what it needs. No torch.

A fact that could not be established is None, and the notes say so; nothing is guessed. Where the facts come from:

- timm's: `default_cfgs` of timm 1.0.31 for file, licence and pixels, its `results-imagenet.csv` for accuracy; SHA-256 from the hub's
  pages of the files.
- torchvision's: the weights enumerations of torchvision 0.29; eight digits of the SHA-256 are in the file's name.
- Keras': `keras/src/applications` of Keras 3.15 for URL and MD5, its documentation for licence, accuracy as keras.io prints it.
- TF-slim's: the table of `research/slim/README.md` in tensorflow/models. It gives http://download.tensorflow.org, which is the storage
  bucket of that name and is asked for by https here. SHA-256 where OpenVINO's open_model_zoo (2021) pins it.
- DeepLab's: `research/deeplab/g3doc/model_zoo.md`; FaceNet's: the README of davidsandberg/facenet, its Google Drive files as keras-facenet
  re-publishes and pins them; facenet-pytorch's and pytorch-fid's: their sources; Cadene's: `pretrained_settings` and README;
  BVLC's: the model's readme; ONNX': `ONNX_HUB_MANIFEST.json` of onnx/models for SHA-256, the files where that zoo has moved to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal

from inceptions.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from inceptions.errors import UnknownTagError, UserError
from inceptions.networks.registry import ALIASES, NETWORKS
from inceptions.weights.adapters.catalog import find_adapter
from inceptions.weights.shipped import shipped_models

ClassList = Literal["imagenet_1k", "imagenet_1k_background", "fid_1008", "vggface2", "casia_webface", "none"]

# How many classes each list has; imagenet_1k_background is TensorFlow's, with "background" before the thousand. FaceNet's: networks.md 5a.
CLASS_COUNTS = MappingProxyType(
    {"imagenet_1k": 1000, "imagenet_1k_background": 1001, "fid_1008": 1008, "vggface2": 8631, "casia_webface": 10575, "none": 0}
)


# Hosts that serve checkpoints by http only; nothing is fetched from them without a hash.
HTTP_HOSTS = frozenset({"data.lip6.fr", "dl.caffe.berkeleyvision.org", "download.tensorflow.org"})


@dataclass(frozen=True, slots=True)
class Tag:
    """One published checkpoint.

    name: `network.variant`; the variant says where it comes from and what it was trained on (in1k: ImageNet, 1000 classes).
    network, framework: of the adapter that reads it; the network's name may say more than the tag's first part (`inception_v3_fid`).
    url: https, http for an old host where a hash is known, or `hf:organisation/repository/file` on the Hugging Face Hub.
    class_list: what the classifier in the file tells apart; "none" without one.
    preprocess: the pixels that it was published with.
    sha256, sha256_prefix, md5: in hexadecimal; None where nobody published them.
    licence: an SPDX identifier or the publisher's word; None when not known.
    top1, top5: ImageNet accuracy in per cent, one crop, as published.
    member: a pattern for the names of the files wanted from an archive; None where the file is the checkpoint itself.
    """

    name: str
    _: KW_ONLY
    network: str
    framework: str
    url: str
    class_list: ClassList
    preprocess: Preprocess
    sha256: str | None = None
    sha256_prefix: str | None = None
    md5: str | None = None
    licence: str | None = None
    top1: float | None = None
    top5: float | None = None
    accuracy_source: str = ""
    member: str | None = None
    notes: str = ""

    @property
    def classes(self) -> int:
        """Number of outputs of the classifier in the file, the background class included; 0 without one."""
        return CLASS_COUNTS[self.class_list]

    @property
    def verified(self) -> str:
        """What says that the file is the published one; "" where nobody on the way is kept from forging it."""
        digits = self.sha256 or self.sha256_prefix or ""
        if len(digits) == 64:
            return "SHA-256"
        if self.url.startswith("http:"):
            return ""  # 32 bits of a hash are found by trying
        known = [f"the first {4 * len(digits)} bits of its SHA-256"] * bool(digits) + ["its MD5"] * bool(self.md5)
        return " and ".join(["https", *known])


def list_tags() -> tuple[Tag, ...]:
    """Return every checkpoint that is known, those of a network together, in the order of the papers."""
    return tuple(_TAGS.values())


def get_tag(name: str) -> Tag:
    """Return the checkpoint called `name`.

    Raises UserError: the name of a network alone, with its tags; otherwise the nearest names.
    """
    if name in _TAGS:
        return _TAGS[name]
    network = ALIASES.get(name, name)
    shipped = list(shipped_models())
    tags = [tag.name for tag in _TAGS.values() if network in (_prefix(tag), tag.network)]
    tags += [model for model in shipped if model.startswith(f"{network}.")]
    if tags:
        raise UserError(f"{name!r} is a network; give a tag of its weights: {', '.join(tags)}")
    if network in NETWORKS:
        raise UserError(f"no published weights of {name!r} are known; networks that have some are {', '.join(_prefixes())}")
    near = get_close_matches(name.lower(), [*shipped, *_TAGS], n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"networks that have some are {', '.join(_prefixes())}"
    raise UnknownTagError(f"there are no weights called {name!r}; {hint}")


def best_tag(network: str) -> str | None:
    """Return the tag of the weights of `network` to train further: the most accurate on ImageNet, else one that comes with the package."""
    published = [tag for tag in _TAGS.values() if tag.network == network and tag.class_list.startswith("imagenet")]
    if published:
        return max(published, key=lambda tag: tag.top1 or 0).name
    return next((name for name in shipped_models() if name.startswith(f"{network}.")), None)


def class_names(tag: Tag) -> tuple[str, ...]:
    """Return the names of the classes in the order of the outputs; none where the list is not known here (faces, the 1008 of FID).

    ImageNet's thousand are torchvision's, in the order of their WordNet numbers, which the checkpoints here share; "background" goes first
    where there are 1001.
    """
    if tag.class_list not in ("imagenet_1k", "imagenet_1k_background"):
        return ()
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    background = ("background",) if tag.class_list == "imagenet_1k_background" else ()
    return (*background, *_IMAGENET_CATEGORIES)


def _prefix(tag: Tag) -> str:
    return tag.name.partition(".")[0]


def _prefixes() -> list[str]:
    return list(dict.fromkeys(map(_prefix, _TAGS.values())))


def _pixels(framework: str, network: str, **changes: Any) -> Preprocess:
    """Return the pixels of a framework's form of a network, but for what this file was published with otherwise."""
    return replace(find_adapter(framework, network).preprocess, **changes)


_CHECKPOINT = "*.ckpt*"  # a TensorFlow checkpoint: one file in 2016, later an index and its data
_BUCKET = "https://storage.googleapis.com/download.tensorflow.org/models"
_NO_HASH = "no hash of the file is published"


def _torchvision() -> Iterator[Tag]:
    rows = (
        # network        file                                top-1   top-5
        ("googlenet_bn", "googlenet-1378be20.pth", 69.778, 89.530),
        ("inception_v3", "inception_v3_google-0cc3c7bd.pth", 77.294, 93.450),
    )
    for network, file, top1, top5 in rows:
        yield Tag(
            f"{network}.torchvision_in1k",
            network=network,
            framework="torchvision",
            url=f"https://download.pytorch.org/models/{file}",
            class_list="imagenet_1k",
            preprocess=_pixels("torchvision", network),
            sha256_prefix=_hash_in(file),
            top1=top1,
            top5=top5,
            accuracy_source="torchvision 0.29",
            notes="ported from TensorFlow; the licence of the weights is not stated. Pixels as after torchvision's transform_input."
            + (" Its auxiliary heads are untrained." if network == "googlenet_bn" else ""),
        )


def _timm() -> Iterator[Tag]:
    # Crops .875, .8975, .903 and .94 of 299 make timm resize to 341, 333, 331 and 318.
    adversarial = "trained on adversarial examples too, arXiv:1705.07204"
    rows = (
        # tag, resized to, top-1, top-5, SHA-256, notes
        ("inception_v3.tv_in1k", 341, 77.472, 93.468, "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb", "torchvision's"),
        ("inception_v3.tf_in1k", 341, 77.866, 93.644, None, "TF-slim's of 2016"),
        ("inception_v3.tf_adv_in1k", 341, 77.598, 93.726, None, f"TF-slim's of 2017, {adversarial}"),
        ("inception_v3.gluon_in1k", 341, 78.806, 94.372, None, "GluonCV's; timm says that pixels in -1 to 1 do well too"),
        ("inception_v4.tf_in1k", 341, 80.144, 94.982, "a756a086851c8d5a8de135ec15c76b90ea56cb5aef450e3299107e659e725bb1", ""),
        ("inception_resnet_v2.tf_in1k", 333, 80.434, 95.312, "dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72", ""),
        ("inception_resnet_v2.tf_ens_adv_in1k", 333, 79.998, 94.940, None, f"TF-slim's of 2017, {adversarial}"),
        ("xception41.tf_in1k", 331, 78.550, 94.282, None, "DeepLab's"),
        ("xception65.tf_in1k", 331, 79.558, 94.656, None, "DeepLab's"),
        ("xception71.tf_in1k", 331, 79.920, 94.908, None, "DeepLab's"),
        ("xception65.ra3_in1k", 318, 83.186, 96.596, None, "trained in timm"),
        (
            "xception41p.ra3_in1k",
            318,
            81.978,
            95.784,
            "84cc7268d4d0973769ac78db2c1d07e5bbfbcab2447d6f1df3f7b755ba7b2dea",
            "trained in timm",
        ),
        ("xception65p.ra3_in1k", 318, 83.160, 96.506, None, "trained in timm"),
    )
    for name, resize, top1, top5, sha256, notes in rows:
        network = name.partition(".")[0]
        imagenet = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD} if "gluon" in name else {}
        yield Tag(
            name,
            network=network,
            framework="timm",
            url=f"hf:timm/{name}/model.safetensors",
            class_list="imagenet_1k",
            preprocess=_pixels("timm", network, resize_size=resize, **imagenet),
            sha256=sha256,
            licence="Apache-2.0",
            top1=top1,
            top5=top5,
            accuracy_source="timm's results-imagenet.csv",
            notes="; ".join(filter(None, (notes, "" if sha256 else "the file's hash could not be looked up"))),
        )
    file = "xception-43020ad28.pth"
    yield Tag(
        "xception.tf_in1k",
        network="xception",
        framework="timm",
        url=f"https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/{file}",
        class_list="imagenet_1k",
        preprocess=_pixels("timm", "xception"),
        sha256_prefix=_hash_in(file),
        licence="Apache-2.0",
        top1=79.058,
        top5=94.396,
        accuracy_source="timm's results-imagenet.csv",
        notes="timm's legacy_xception.tf_in1k: Keras' weights as Cadene's pretrainedmodels published them",
    )


def _cadene() -> Iterator[Tag]:
    rows: tuple[tuple[str, str, str, ClassList, float, float], ...] = (
        # tag, network, file, classes, top-1, top-5
        ("bn_inception", "bn_inception_caffe", "bn_inception-52deb4733.pth", "imagenet_1k", 73.524, 91.562),
        ("inception_v4", "inception_v4", "inceptionv4-8e4777a0.pth", "imagenet_1k_background", 80.062, 94.926),
        ("inception_resnet_v2", "inception_resnet_v2", "inceptionresnetv2-520b38e4.pth", "imagenet_1k_background", 80.170, 95.234),
    )
    for prefix, network, file, classes, top1, top5 in rows:
        yield Tag(
            f"{prefix}.cadene_in1k",
            network=network,
            framework="cadene",
            url=f"http://data.lip6.fr/cadene/pretrainedmodels/{file}",
            class_list=classes,
            preprocess=_pixels("cadene", network),
            sha256_prefix=_hash_in(file),
            licence="BSD-3-Clause",
            top1=top1,
            top5=top5,
            accuracy_source="README of Cadene/pretrained-models.pytorch",
            notes="the licence is the repository's; it does not speak of the weights. "
            + ("Blue first; its mean of 128 for red is as published." if prefix == "bn_inception" else "TF-slim's of 2016."),
        )


def _keras() -> Iterator[Tag]:
    folder = "https://storage.googleapis.com/tensorflow/keras-applications"
    rows = (
        # network, MD5 of the file with top, MD5 without, top-1, top-5, licence
        ("inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63", 77.9, 93.7, "Apache-2.0"),
        ("inception_resnet_v2", "e693bd0210a403b3192acc6073ad2e96", "d19885ff4a710c122648d3b5c3b684e4", 80.3, 95.3, "Apache-2.0"),
        ("xception", "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97", 79.0, 94.5, "MIT"),
    )
    for network, md5, md5_notop, top1, top5, licence in rows:
        stem = f"{folder}/{network}/{network}_weights_tf_dim_ordering_tf_kernels"
        whole = Tag(
            f"{network}.keras_in1k",
            network=network,
            framework="keras",
            url=f"{stem}.h5",
            class_list="imagenet_1k",
            preprocess=_pixels("keras", network),
            md5=md5,
            licence=licence,
            top1=top1,
            top5=top5,
            accuracy_source="keras.io/api/applications",
            notes="Keras prescribes no resizing; the central crop is that of TF-slim",
        )
        yield whole
        yield replace(
            whole,
            name=f"{network}.keras_in1k_notop",
            url=f"{stem}_notop.h5",
            md5=md5_notop,
            class_list="none",
            top1=None,
            top5=None,
            accuracy_source="",
            notes="features, no classifier",
        )


def _tf_slim() -> Iterator[Tag]:
    rows = (
        # tag, network, archive, top-1, top-5, SHA-256
        (
            "googlenet_bn.slim_in1k",
            "inception_v1_2016_08_28",
            69.8,
            89.6,
            "7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6",
        ),
        (
            "inception_v2_slim.slim_in1k",
            "inception_v2_2016_08_28",
            73.9,
            91.8,
            "3b9d269984402003d8330affc4e1463c0b4cfd536339ad12446a48d72477480a",
        ),
        ("inception_v3.slim_in1k", "inception_v3_2016_08_28", 78.0, 93.9, None),
        (
            "inception_v4.slim_in1k",
            "inception_v4_2016_09_09",
            80.2,
            95.2,
            "272a2b24f68b2e51f3081479df075dd62b019ccda630e998fb7f6cf314c0f304",
        ),
        ("inception_resnet_v2.slim_in1k", "inception_resnet_v2_2016_08_30", 80.4, 95.3, None),
        ("inception_v3.slim_adv_in1k", "adv_inception_v3_2017_08_18", None, None, None),
        ("inception_resnet_v2.slim_ens_adv_in1k", "ens_adv_inception_resnet_v2_2017_08_18", None, None, None),
    )
    for name, archive, top1, top5, sha256 in rows:
        network = name.partition(".")[0]
        notes = [] if sha256 else [_NO_HASH]
        if top1 is None:
            notes.append("trained on adversarial examples too, arXiv:1705.07204; URL as timm gives it; no accuracy published there")
        yield Tag(
            name,
            network=network,
            framework="tf_slim",
            url=f"{_BUCKET}/{archive}.tar.gz",
            class_list="imagenet_1k_background",
            preprocess=_pixels("tf_slim", network),
            sha256=sha256,
            licence="Apache-2.0",
            top1=top1,
            top5=top5,
            accuracy_source="research/slim/README.md" if top1 else "",
            member=_CHECKPOINT,
            notes="; ".join(notes),
        )


def _deeplab() -> Iterator[Tag]:
    rows = (
        ("xception41", "xception_41_2018_05_09"),
        ("xception65", "deeplabv3_xception_2018_01_04"),
        ("xception71", "xception_71_2018_05_09"),
    )
    for network, archive in rows:
        yield Tag(
            f"{network}.deeplab_in1k",
            network=network,
            framework="tf_deeplab",
            url=f"{_BUCKET}/{archive}.tar.gz",
            class_list="imagenet_1k_background",
            preprocess=_pixels("tf_deeplab", network),
            licence="Apache-2.0",
            member=_CHECKPOINT,
            notes=f"{_NO_HASH}; the model zoo gives no ImageNet accuracy of this file",
        )


def _facenet() -> Iterator[Tag]:
    left_out = "an embedding of 512 numbers: the file's classifier of its training identities is left out. The licence is the code's; "
    terms = "the faces were collected for research. "
    rows: tuple[tuple[ClassList, str, float, str, str | None], ...] = (
        # class list, date, LFW, SHA-256 of the TensorFlow archive, SHA-256 of the PyTorch file
        (
            "vggface2",
            "20180402-114759",
            0.9965,
            "669f37d3954b72b53121ff0638ca5bb8b14309bfe4767fe6bd851eee75f1f0de",
            "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        ),
        ("casia_webface", "20180408-102900", 0.9905, "2a32a4d6b797b0e35e065c674dfa2d60e9eb2372aa10728bd0b221abe12490ac", None),
    )
    for classes, date, lfw, tensorflow, pytorch in rows:
        notes = f"{left_out}{terms}LFW accuracy {lfw}. "
        ported = Tag(
            f"inception_resnet_v1.{classes}",
            network="inception_resnet_v1_facenet",
            framework="facenet_pytorch",
            url=f"https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{date}-{classes.replace('_', '-')}.pt",
            class_list=classes,
            preprocess=_pixels("facenet_pytorch", "inception_resnet_v1_facenet"),
            sha256=pytorch,
            licence="MIT",
            notes=notes + ("SHA-256 as many public projects pin it, not the author." if pytorch else f"{_NO_HASH}."),
        )
        yield ported
        yield replace(
            ported,
            name=f"inception_resnet_v1.tf_{classes}",
            framework="tf_facenet",
            url=f"https://github.com/faustomorales/keras-facenet/releases/download/v0.3.1/{date}.zip",
            sha256=tensorflow,
            member=_CHECKPOINT,
            notes=f"{notes}The author's file is on Google Drive, which gives no direct link; this is keras-facenet's copy.",
        )


def _others() -> Iterator[Tag]:
    file = "pt_inception-2015-12-05-6726825d.pth"
    yield Tag(
        "inception_v3.fid_2015",
        network="inception_v3_fid",
        framework="pytorch_fid",
        url=f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{file}",
        class_list="fid_1008",
        preprocess=_pixels("pytorch_fid", "inception_v3_fid"),
        sha256_prefix=_hash_in(file),
        licence="Apache-2.0",
        notes="the network of FID and Inception Score; its classes are in an order of their own. pytorch-fid maps pixels to 2x - 1, "
        "the graph of 2015 to (x - 128) / 128, as here",
    )
    yield Tag(
        "googlenet.bvlc_in1k",
        network="googlenet",
        framework="caffe",
        url="http://dl.caffe.berkeleyvision.org/bvlc_googlenet.caffemodel",
        class_list="imagenet_1k",
        preprocess=_pixels("caffe", "googlenet"),
        sha256="6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
        licence="unrestricted",
        top1=68.7,
        top5=88.9,
        accuracy_source="models/bvlc_googlenet/readme.md",
        notes="SHA-256 as OpenVINO's open_model_zoo pins it; the readme gives SHA-1 405fc5acd08a3bb12de8ee5e23a96bec22f08204",
    )
    zoo = "hf:onnxmodelzoo/legacy_models/validated/vision/classification/inception_and_googlenet"
    unseen = "exported from Caffe2; whether its pools round as the adapter's do was not checked on this file"
    rows = (
        # tag, network, path, SHA-256, licence, top-1, top-5
        (
            "googlenet.onnx_in1k",
            "googlenet",
            "inception_v1/model/inception-v1-12.onnx",
            "814b31a6316873bd03d2d808415ce1f40a7bf48ad88eab5ecc3cdc8dc6cf38ec",
            "MIT",
            67.23,
            None,
        ),
        (
            "googlenet.onnx_bvlc_in1k",
            "googlenet",
            "googlenet/model/googlenet-12.onnx",
            "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e",
            "BSD-3-Clause",
            67.78,
            88.34,
        ),
        (
            "bn_inception.onnx_in1k",
            "inception_v2_plain",
            "inception_v2/model/inception-v2-9.onnx",
            "37ed4aa93f817fd0d1cc19bda045ebd70f18d0887a5f51e66ecd0ed8fd5a65c2",
            "MIT",
            None,
            None,
        ),
    )
    for name, network, path, sha256, licence, top1, top5 in rows:
        yield Tag(
            name,
            network=network,
            framework="onnx",
            url=f"{zoo}/{path}",
            class_list="imagenet_1k",
            preprocess=_pixels("onnx", network),
            sha256=sha256,
            licence=licence,
            top1=top1,
            top5=top5,
            accuracy_source="the model's README in onnx/models" if top1 else "",
            notes=f"{unseen}; pixels as for Caffe, the README leaves them open",
        )


def _hash_in(file: str) -> str:
    """Return the digits that PyTorch's convention puts between the last hyphen and the ending: the beginning of the SHA-256."""
    return file.rpartition("-")[2].partition(".")[0]


def _collect() -> dict[str, Tag]:
    tags = [*_torchvision(), *_timm(), *_cadene(), *_keras(), *_tf_slim(), *_deeplab(), *_facenet(), *_others()]
    order = list(NETWORKS)
    return {tag.name: tag for tag in sorted(tags, key=lambda tag: order.index(_prefix(tag)))}


_TAGS = _collect()
