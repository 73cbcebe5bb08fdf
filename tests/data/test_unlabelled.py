import pytest

from inceptions.data.unlabelled import NO_LABEL, find_unlabelled


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).touch()
    return tmp_path


def test_pictures_in_a_folder_have_no_label(folder):
    (folder / "empty").mkdir()
    assert find_unlabelled(str(folder)) == ((folder / "a.png", NO_LABEL), (folder / "b.jpg", NO_LABEL))


def test_a_relative_folder_will_do(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [str(sample.path) for sample in find_unlabelled(".")] == ["a.png", "b.jpg"]


def test_beside_a_folder_of_pictures_they_are_left_to_be_labelled(folder):
    (folder / "cats").mkdir()
    (folder / "cats" / "c.jpg").touch()
    assert find_unlabelled(str(folder)) == ()


def test_what_is_no_folder_or_holds_no_picture_has_none(tmp_path):
    assert find_unlabelled(str(tmp_path)) == find_unlabelled(str(tmp_path / "none")) == find_unlabelled("digits") == ()
