import pytest

from tests.pictures import paint
from tests.studies.tiny import go


@pytest.fixture(scope="module")
def module_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    paint(folder / "train", each=22, seed=1)
    paint(folder / "test", each=4, seed=2)
    return folder


@pytest.fixture(scope="module")
def whole(module_pictures, tmp_path_factory):
    """A study that is through: its result, its folder, and which runs it told of."""
    folder, ended = tmp_path_factory.mktemp("study"), []
    result = go(folder, module_pictures, callback=ended.append)
    return result, folder, ended
