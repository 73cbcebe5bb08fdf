"""What the tests run in: the same wherever they run, and nothing of the user's. Done before torch is imported; all processes inherit it."""

import os
import shutil
import signal
import site
import tempfile

import pytest

from tests.pictures import paint
from tests.tiny import save_tiny

KEPT = "INCEPTIONS_TEST_DATA"
OF_THE_USER = (  # what changes commands, torchrun, Ray, rich, and where libraries keep files
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT", "RAY_ADDRESS"),
    *("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONWARNINGS", "MPLBACKEND", "MPLCONFIGDIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "KERAS_HOME", "KERAS_BACKEND", "TORCH_HOME"),
)
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it, and so would all its processes

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ

if IS_WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"  # workers compute side by side
else:
    for name in [name for name in os.environ if (name.startswith("INCEPTIONS_") and name != KEPT) or name in OF_THE_USER]:
        del os.environ[name]
    os.environ.setdefault("PYTHONUSERBASE", site.getuserbase())  # what is installed there is still found
    os.environ["INCEPTIONS_ENGINE"] = "torch"  # others are prepared where tests ask for them
    os.environ["HOME"] = tempfile.mkdtemp(prefix="inceptions-tests-")


def pytest_unconfigure():
    """Delete the home of the tests."""
    if not IS_WORKER:
        shutil.rmtree(os.environ["HOME"], ignore_errors=True)


@pytest.fixture
def pictures(tmp_path):
    """A folder of small pictures in three classes, with `train` (66, of which 6 become validation) and `test` (12) inside."""
    folder = tmp_path / "pictures"
    paint(folder / "train", each=22, seed=1)
    paint(folder / "test", each=4, seed=2)
    return folder


def _write_plainly(report, folder):
    (folder / "report.html").write_text(report.title)


@pytest.fixture(scope="module")
def plain_report():
    """Training's page without its plots, which take longer than a small network to train: for tests of everything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inceptions.evaluation.report.write_report", _write_plainly)
        yield


@pytest.fixture
def plain_report_here(monkeypatch):
    """The same for one test; what the fixtures of its module train has its report."""
    monkeypatch.setattr("inceptions.evaluation.report.write_report", _write_plainly)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A model folder of a network that engines are soon prepared of."""
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def engine_cache(tmp_path_factory, monkeypatch):
    """The folder of engines that all tests share, also those of other workers: each engine is prepared once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if IS_WORKER else base) / "engine-cache"
    monkeypatch.setenv("INCEPTIONS_CACHE", str(folder))
    return folder
