"""ONNX Runtime for browsers, for the tests: as it lies in the folder of test data, or in the cache of whoever runs them; never fetched."""

import os
import pwd
import shutil
from pathlib import Path

import pytest

from inceptions.inference.web import REGISTRY, RUNTIME_VERSION
from inceptions.weights.download import find_place

NAME = f"onnxruntime-web-{RUNTIME_VERSION}.tgz"


def use_real_runtime(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Have `cache` be the cache, with the archive in it; skip the test where nobody has one."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # conftest has set another
    places = [home / ".cache" / "inceptions" / "downloads" / "registry.npmjs.org" / "onnxruntime-web" / "-" / NAME]
    if "INCEPTIONS_TEST_DATA" in os.environ:
        places.insert(0, Path(os.environ["INCEPTIONS_TEST_DATA"]) / NAME)
    archive = next((place for place in places if place.is_file()), None)
    if archive is None:
        pytest.skip(f"{NAME} is neither in INCEPTIONS_TEST_DATA nor in the cache; `inceptions export MODEL FOLDER --to web` fetches it")
    patch.setenv("INCEPTIONS_CACHE", str(cache))
    patch.setenv("INCEPTIONS_OFFLINE", "1")
    patch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    patch.delenv("INCEPTIONS_MIRROR", raising=False)
    place = find_place(f"{REGISTRY}/onnxruntime-web/-/{NAME}")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        shutil.copyfile(archive, place)
