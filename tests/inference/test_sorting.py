"""Pictures in a folder for each class: nothing is written over, and the same again changes nothing."""

from pathlib import Path

import pytest

from inceptions.data.in_memory import InMemory
from inceptions.errors import UserError
from inceptions.inference.prediction import Prediction
from inceptions.inference.sorting import Sorter, folder_name


def of(path, name="cat") -> Prediction:
    return Prediction(path, (name,), (1.0,)) if name else Prediction(path, (), (), "no image")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def photos(tmp_path):
    for name, content in (("a/1.png", b"A"), ("b/1.png", b"B"), ("c/1.png", b"A"), ("broken.png", b"")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    return tmp_path / "photos"


@pytest.mark.parametrize("how", ["copy", "link"])
def test_pictures_of_one_name_stand_beside_each_other_and_the_same_again_changes_nothing(tmp_path, photos, how):
    sorter = Sorter(tmp_path / "sorted", how)
    items = [of(photos / "a/1.png"), of(photos / "b/1.png"), of(photos / "a/1.png", "dog"), of(photos / "broken.png", None)]
    placed = [sorter.place(item) for item in items]
    names = ("cat/1.png", "cat/1-2.png", "dog/1.png", "unreadable/broken.png")
    assert placed == [tmp_path / "sorted" / name for name in names]
    found = tree(tmp_path / "sorted")
    assert found == {"cat/1.png": b"A", "cat/1-2.png": b"B", "dog/1.png": b"A", "unreadable/broken.png": b""}
    assert [sorter.place(item) for item in items] == placed
    assert tree(tmp_path / "sorted") == found
    assert all(path.is_symlink() == (how == "link") for path in placed)
    assert how == "copy" or placed[0].readlink() == (photos / "a/1.png").absolute()


def test_a_file_of_the_users_is_never_written_over(tmp_path, photos):
    (tmp_path / "sorted" / "cat").mkdir(parents=True)
    (tmp_path / "sorted" / "cat" / "1.png").write_bytes(b"mine")
    (tmp_path / "sorted" / "cat" / "1-2.png").symlink_to(tmp_path / "gone.png")
    for how in ("copy", "link"):
        Sorter(tmp_path / "sorted", how).place(of(photos / "b/1.png"))
    assert (tmp_path / "sorted" / "cat" / "1.png").read_bytes() == b"mine"
    assert not (tmp_path / "gone.png").exists()
    assert (tmp_path / "sorted" / "cat" / "1-3.png").read_bytes() == b"B"
    (tmp_path / "full").write_text("a file")
    with pytest.raises(UserError, match="can't write"):
        Sorter(tmp_path / "full", "copy").place(of(photos / "b/1.png"))


@pytest.mark.parametrize("how", ["copy", "link"])
def test_what_is_not_there_or_no_file_stops_nothing(tmp_path, photos, how):
    for path in (photos / "gone.png", photos / "a"):
        Sorter(tmp_path / "sorted", how).place(of(path, None))
    assert tree(tmp_path / "sorted") == {}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cat", "a:b", "a/b"), "a:b and a/b would have one folder, a_b"),
        (("Cat", "cat"), "Cat and cat"),
        (("unreadable",), "can't be read"),
    ],
)
def test_two_classes_never_share_a_folder(tmp_path, names, said):
    Sorter(tmp_path, "copy").check_classes(["cat", "dog"])
    with pytest.raises(UserError, match=said):
        Sorter(tmp_path, "copy").check_classes(names)


def test_a_picture_that_is_no_file_is_written(tmp_path):
    sorter = Sorter(tmp_path / "sorted", "link")
    for _ in range(2):
        path = sorter.place(of(InMemory("shards/" + "猫" * 200 + "0.tar/1.png", b"PNG")))
    assert path.read_bytes() == b"PNG"
    assert path.name.endswith("0.tar_1.png")
    assert len(path.name.encode()) <= 200


def test_two_pictures_that_are_no_files_and_would_have_one_name_both_stay(tmp_path):
    items = [of(InMemory(name, data)) for name, data in (("s.tar/a/b.png", b"A"), ("s.tar/a_b.png", b"B"))]
    for _ in range(2):
        for item in items:
            Sorter(tmp_path / "sorted", "copy").place(item)
        assert tree(tmp_path / "sorted") == {"cat/s.tar_a_b.png": b"A", "cat/s.tar_a_b-2.png": b"B"}


@pytest.mark.parametrize(
    ("source", "folder", "is_refused"),
    [
        ("photos", "photos/sorted", True),
        ("photos/", "photos", True),
        ("photos/cat", "photos", True),  # whose folder of cats it is
        ("photos", ".", False),
        ("photos", "sorted", False),
        ("photos/**/*.png", "photos/sorted", True),
        ("photos/**/deep/*.png", "photos/sorted", False),
        ("photos/**", "photos", True),
        ("photos/cat/**", "photos", True),
        ("photos/*/*.png", "photos", True),
        ("ph*/cat/*.png", "photos", True),
        ("photos/bird/*.png", "photos", False),  # which is no class
        ("photos/*.png", "photos", False),  # which folders of classes lie deeper than
        ("photos/*.png", "photos/sorted", False),
        ("photos/*.png", ".", False),
        ("photos/*/*.png", "sorted", False),
        ("photos/1.png", "photos", False),
        ("photos/s-*.tar", "photos", False),
        ("*/img[1].png", ".", True),
        ("cat/img[1].png", ".", False),  # a file that is called so
        ("link/*/*.png", "photos", True),
    ],
)
def test_a_folder_that_the_next_run_would_read_is_refused(tmp_path, photos, monkeypatch, source, folder, is_refused):
    (photos / "cat").mkdir()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "img[1].png").write_bytes(b"A")
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    if is_refused:
        with pytest.raises(UserError, match="the next run would predict what is put there too"):
            Sorter(Path(folder), "copy").check_sources([source], ["dog", "cat"])
    else:
        Sorter(Path(folder), "copy").check_sources([source], ["dog", "cat"])


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cat", "cat"),
        ("../../etc", "_.._.._etc"),
        ("..", "_"),
        (".hidden", "_.hidden"),
        ("", "_"),
        ("a/b\\c:d", "a_b_c_d"),
        (" x. ", "x"),
        ("two\nlines", "two_nlines"),
        ("caf\udce9", "caf_xe9"),
        ("\u202egnp", "_u202egnp"),
        ("l" * 300, "l" * 200),
        ("猫" * 90, "猫" * 66),
        ("l" * 198 + ". x", "l" * 198),
    ],
)
def test_a_class_of_any_name_has_a_folder(tmp_path, photos, name, folder):
    assert folder_name(name) == folder
    path = Sorter(tmp_path / "sorted", "copy").place(of(photos / "a/1.png", name or "."))
    assert path.parent.parent == tmp_path / "sorted"
