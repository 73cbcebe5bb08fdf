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

import re
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from difflib import get_close_matches
from functools import partial
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


_HASHES = {  # SHA-256, or MD5 of Keras' files; the first digits of the SHA-256 are in names of files that end in .pth
    "inception_v3.tv_in1k": "9c452c63a67fd03a38a78c401ba12d4be0e926df63c93403de3a29f6df20fefb",
    "inception_v4.tf_in1k": "a756a086851c8d5a8de135ec15c76b90ea56cb5aef450e3299107e659e725bb1",
    "inception_resnet_v2.tf_in1k": "dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72",
    "xception41p.ra3_in1k": "84cc7268d4d0973769ac78db2c1d07e5bbfbcab2447d6f1df3f7b755ba7b2dea",
    "inception_v3.keras_in1k": "9a0d58056eeedaa3f26cb7ebd46da564",
    "inception_v3.keras_in1k_notop": "bcbd6486424b2319ff4ef7d526e38f63",
    "inception_resnet_v2.keras_in1k": "e693bd0210a403b3192acc6073ad2e96",
    "inception_resnet_v2.keras_in1k_notop": "d19885ff4a710c122648d3b5c3b684e4",
    "xception.keras_in1k": "0a58e3b7378bc2990ea3b43d5981f1f6",
    "xception.keras_in1k_notop": "b0042744bf5b25fce3cb969f33bebb97",
    "googlenet_bn.slim_in1k": "7a620c430fcaba8f8f716241f5148c4c47c035cce4e49ef02cfbe6cd1adf96a6",
    "inception_v2_slim.slim_in1k": "3b9d269984402003d8330affc4e1463c0b4cfd536339ad12446a48d72477480a",
    "inception_v4.slim_in1k": "272a2b24f68b2e51f3081479df075dd62b019ccda630e998fb7f6cf314c0f304",
    "inception_resnet_v1.vggface2": "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
    "inception_resnet_v1.tf_vggface2": "669f37d3954b72b53121ff0638ca5bb8b14309bfe4767fe6bd851eee75f1f0de",
    "inception_resnet_v1.tf_casia_webface": "2a32a4d6b797b0e35e065c674dfa2d60e9eb2372aa10728bd0b221abe12490ac",
    "googlenet.bvlc_in1k": "6f7101e3a2183738a7125a0c5021ba82a1feb4228c5ca0924d991b6daf6f6fad",
    "googlenet.onnx_in1k": "814b31a6316873bd03d2d808415ce1f40a7bf48ad88eab5ecc3cdc8dc6cf38ec",
    "googlenet.onnx_bvlc_in1k": "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e",
    "bn_inception.onnx_in1k": "37ed4aa93f817fd0d1cc19bda045ebd70f18d0887a5f51e66ecd0ed8fd5a65c2",
}
_Row = tuple[str, str, float | None, float | None, str]
"""Tag, file, top-1, top-5, notes."""


def _publish(
    framework: str,
    url: str,
    *rows: _Row,
    network: str | None = None,
    class_list: ClassList = "imagenet_1k",
    accuracy_source: str = "",
    pixels: Mapping[str, Any] | None = None,
    **alike: Any,
) -> Iterator[Tag]:
    """Yield the tags of a publisher: `url` with each row's tag or file in it, `pixels` where they differ from the adapter's."""
    for name, file, top1, top5, notes in rows:
        ours, address = network or name.partition(".")[0], url.format(tag=name, file=file)
        digits = _HASHES.get(name) or "".join(re.findall(r"-([0-9a-f]{8,9})\.pth$", address))
        hashes = {{32: "md5", 64: "sha256"}.get(len(digits), "sha256_prefix"): digits} if digits else {}
        yield Tag(
            name,
            network=ours,
            framework=framework,
            url=address,
            class_list=class_list,
            preprocess=replace(find_adapter(framework, ours).preprocess, **(pixels or {})),
            top1=top1,
            top5=top5,
            accuracy_source=accuracy_source if top1 else "",
            notes=notes,
            **hashes,
            **alike,
        )


_PORTED = "ported from TensorFlow; the licence of the weights is not stated. Pixels as after torchvision's transform_input."
_UNSAID = "the licence is the repository's; it does not speak of the weights."
_CENTRAL = "Keras prescribes no resizing; the central crop is that of TF-slim"
_BARE = "features, no classifier"
_ADVERSARIAL = "trained on adversarial examples too, arXiv:1705.07204"
_LEGACY = "timm's legacy_xception.tf_in1k: Keras' weights as Cadene's pretrainedmodels published them"
_UNSEEN = "the file's hash could not be looked up"
_UNHASHED = "no hash of the file is published"
_SLIM_ADVERSARIAL = f"{_UNHASHED}; {_ADVERSARIAL}; URL as timm gives it; no accuracy published there"
_ZOO_GIVES_NONE = f"{_UNHASHED}; the model zoo gives no ImageNet accuracy of this file"
_FACES = (
    "an embedding of 512 numbers: the file's classifier of its training identities is left out. The licence is the code's; "
    "the faces were collected for research."
)
_VGGFACE2, _CASIA = f"{_FACES} LFW accuracy 0.9965.", f"{_FACES} LFW accuracy 0.9905."
_PINNED = "SHA-256 as many public projects pin it, not the author."
_COPIED = "The author's file is on Google Drive, which gives no direct link; this is keras-facenet's copy."
_FID = (
    "the network of FID and Inception Score; its classes are in an order of their own. pytorch-fid maps pixels to 2x - 1, "
    "the graph of 2015 to (x - 128) / 128, as here"
)
_BVLC = "SHA-256 as OpenVINO's open_model_zoo pins it; the readme gives SHA-1 405fc5acd08a3bb12de8ee5e23a96bec22f08204"
_CAFFE2 = (
    "exported from Caffe2; whether its pools round as the adapter's do was not checked on this file; "
    "pixels as for Caffe, the README leaves them open"
)

_cadene = partial(
    _publish,
    "cadene",
    "http://data.lip6.fr/cadene/pretrainedmodels/{file}",
    licence="BSD-3-Clause",
    accuracy_source="README of Cadene/pretrained-models.pytorch",
)
_timm = partial(_publish, "timm", licence="Apache-2.0", accuracy_source="timm's results-imagenet.csv")
_timm_hub = partial(_timm, "hf:timm/{tag}/model.safetensors")
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/{file}_weights_tf_dim_ordering_tf_kernels"
_keras = partial(_publish, "keras", _KERAS + ".h5", accuracy_source="keras.io/api/applications")
_keras_bare = partial(_publish, "keras", _KERAS + "_notop.h5", class_list="none")
_CHECKPOINT = "*.ckpt*"  # a TensorFlow checkpoint: one file in 2016, later an index and its data
_archived = partial(
    _publish, member=_CHECKPOINT, licence="Apache-2.0", class_list="imagenet_1k_background", accuracy_source="research/slim/README.md"
)
_BUCKET = "https://storage.googleapis.com/download.tensorflow.org/models/{file}.tar.gz"
_faces = partial(_publish, network="inception_resnet_v1_facenet", licence="MIT")
_FACENET_PYTORCH = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{file}.pt"
_KERAS_FACENET = "https://github.com/faustomorales/keras-facenet/releases/download/v0.3.1/{file}.zip"
_onnx = partial(
    _publish,
    "onnx",
    "hf:onnxmodelzoo/legacy_models/validated/vision/classification/inception_and_googlenet/{file}.onnx",
    accuracy_source="the model's README in onnx/models",
)

_TABLE = (  # rows: tag, file, top-1, top-5, notes
    *_publish(
        "torchvision",
        "https://download.pytorch.org/models/{file}",
        ("googlenet_bn.torchvision_in1k", "googlenet-1378be20.pth", 69.778, 89.530, f"{_PORTED} Its auxiliary heads are untrained."),
        ("inception_v3.torchvision_in1k", "inception_v3_google-0cc3c7bd.pth", 77.294, 93.450, _PORTED),
        accuracy_source="torchvision 0.29",
    ),
    *_timm_hub(  # crops .875, .8975, .903 and .94 of 299 make timm resize to 341, 333, 331 and 318
        ("inception_v3.tv_in1k", "", 77.472, 93.468, "torchvision's"),
        ("inception_v3.tf_in1k", "", 77.866, 93.644, f"TF-slim's of 2016; {_UNSEEN}"),
        ("inception_v3.tf_adv_in1k", "", 77.598, 93.726, f"TF-slim's of 2017, {_ADVERSARIAL}; {_UNSEEN}"),
        ("inception_v4.tf_in1k", "", 80.144, 94.982, ""),
        pixels={"resize_size": 341},
    ),
    *_timm_hub(
        ("inception_v3.gluon_in1k", "", 78.806, 94.372, f"GluonCV's; timm says that pixels in -1 to 1 do well too; {_UNSEEN}"),
        pixels={"resize_size": 341, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    ),
    *_timm_hub(
        ("inception_resnet_v2.tf_in1k", "", 80.434, 95.312, ""),
        ("inception_resnet_v2.tf_ens_adv_in1k", "", 79.998, 94.940, f"TF-slim's of 2017, {_ADVERSARIAL}; {_UNSEEN}"),
        pixels={"resize_size": 333},
    ),
    *_timm_hub(
        ("xception41.tf_in1k", "", 78.550, 94.282, f"DeepLab's; {_UNSEEN}"),
        ("xception65.tf_in1k", "", 79.558, 94.656, f"DeepLab's; {_UNSEEN}"),
        ("xception71.tf_in1k", "", 79.920, 94.908, f"DeepLab's; {_UNSEEN}"),
        pixels={"resize_size": 331},
    ),
    *_timm_hub(
        ("xception65.ra3_in1k", "", 83.186, 96.596, f"trained in timm; {_UNSEEN}"),
        ("xception41p.ra3_in1k", "", 81.978, 95.784, "trained in timm"),
        ("xception65p.ra3_in1k", "", 83.160, 96.506, f"trained in timm; {_UNSEEN}"),
        pixels={"resize_size": 318},
    ),
    *_timm(
        "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/{file}",
        ("xception.tf_in1k", "xception-43020ad28.pth", 79.058, 94.396, _LEGACY),
    ),
    *_cadene(
        (
            "bn_inception.cadene_in1k",
            "bn_inception-52deb4733.pth",
            73.524,
            91.562,
            f"{_UNSAID} Blue first; its mean of 128 for red is as published.",
        ),
        network="bn_inception_caffe",
    ),
    *_cadene(
        ("inception_v4.cadene_in1k", "inceptionv4-8e4777a0.pth", 80.062, 94.926, f"{_UNSAID} TF-slim's of 2016."),
        ("inception_resnet_v2.cadene_in1k", "inceptionresnetv2-520b38e4.pth", 80.170, 95.234, f"{_UNSAID} TF-slim's of 2016."),
        class_list="imagenet_1k_background",
    ),
    *_keras(
        ("inception_v3.keras_in1k", "inception_v3/inception_v3", 77.9, 93.7, _CENTRAL),
        ("inception_resnet_v2.keras_in1k", "inception_resnet_v2/inception_resnet_v2", 80.3, 95.3, _CENTRAL),
        licence="Apache-2.0",
    ),
    *_keras(("xception.keras_in1k", "xception/xception", 79.0, 94.5, _CENTRAL), licence="MIT"),
    *_keras_bare(
        ("inception_v3.keras_in1k_notop", "inception_v3/inception_v3", None, None, _BARE),
        ("inception_resnet_v2.keras_in1k_notop", "inception_resnet_v2/inception_resnet_v2", None, None, _BARE),
        licence="Apache-2.0",
    ),
    *_keras_bare(("xception.keras_in1k_notop", "xception/xception", None, None, _BARE), licence="MIT"),
    *_archived(
        "tf_slim",
        _BUCKET,
        ("googlenet_bn.slim_in1k", "inception_v1_2016_08_28", 69.8, 89.6, ""),
        ("inception_v2_slim.slim_in1k", "inception_v2_2016_08_28", 73.9, 91.8, ""),
        ("inception_v3.slim_in1k", "inception_v3_2016_08_28", 78.0, 93.9, _UNHASHED),
        ("inception_v4.slim_in1k", "inception_v4_2016_09_09", 80.2, 95.2, ""),
        ("inception_resnet_v2.slim_in1k", "inception_resnet_v2_2016_08_30", 80.4, 95.3, _UNHASHED),
        ("inception_v3.slim_adv_in1k", "adv_inception_v3_2017_08_18", None, None, _SLIM_ADVERSARIAL),
        ("inception_resnet_v2.slim_ens_adv_in1k", "ens_adv_inception_resnet_v2_2017_08_18", None, None, _SLIM_ADVERSARIAL),
    ),
    *_archived(
        "tf_deeplab",
        _BUCKET,
        ("xception41.deeplab_in1k", "xception_41_2018_05_09", None, None, _ZOO_GIVES_NONE),
        ("xception65.deeplab_in1k", "deeplabv3_xception_2018_01_04", None, None, _ZOO_GIVES_NONE),
        ("xception71.deeplab_in1k", "xception_71_2018_05_09", None, None, _ZOO_GIVES_NONE),
    ),
    *_faces(
        "facenet_pytorch",
        _FACENET_PYTORCH,
        ("inception_resnet_v1.vggface2", "20180402-114759-vggface2", None, None, f"{_VGGFACE2} {_PINNED}"),
        class_list="vggface2",
    ),
    *_faces(
        "tf_facenet",
        _KERAS_FACENET,
        ("inception_resnet_v1.tf_vggface2", "20180402-114759", None, None, f"{_VGGFACE2} {_COPIED}"),
        class_list="vggface2",
        member=_CHECKPOINT,
    ),
    *_faces(
        "facenet_pytorch",
        _FACENET_PYTORCH,
        ("inception_resnet_v1.casia_webface", "20180408-102900-casia-webface", None, None, f"{_CASIA} {_UNHASHED}."),
        class_list="casia_webface",
    ),
    *_faces(
        "tf_facenet",
        _KERAS_FACENET,
        ("inception_resnet_v1.tf_casia_webface", "20180408-102900", None, None, f"{_CASIA} {_COPIED}"),
        class_list="casia_webface",
        member=_CHECKPOINT,
    ),
    *_publish(
        "pytorch_fid",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{file}",
        ("inception_v3.fid_2015", "pt_inception-2015-12-05-6726825d.pth", None, None, _FID),
        network="inception_v3_fid",
        class_list="fid_1008",
        licence="Apache-2.0",
    ),
    *_publish(
        "caffe",
        "http://dl.caffe.berkeleyvision.org/{file}",
        ("googlenet.bvlc_in1k", "bvlc_googlenet.caffemodel", 68.7, 88.9, _BVLC),
        licence="unrestricted",
        accuracy_source="models/bvlc_googlenet/readme.md",
    ),
    *_onnx(("googlenet.onnx_in1k", "inception_v1/model/inception-v1-12", 67.23, None, _CAFFE2), licence="MIT"),
    *_onnx(("googlenet.onnx_bvlc_in1k", "googlenet/model/googlenet-12", 67.78, 88.34, _CAFFE2), licence="BSD-3-Clause"),
    *_onnx(
        ("bn_inception.onnx_in1k", "inception_v2/model/inception-v2-9", None, None, _CAFFE2), network="inception_v2_plain", licence="MIT"
    ),
)
_TAGS = {tag.name: tag for tag in sorted(_TABLE, key=lambda tag: list(NETWORKS).index(_prefix(tag)))}
