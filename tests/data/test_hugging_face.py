import io
import pickle

import pytest
from PIL import Image

from inceptions.data import for_training, load_splits, read_image
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own


def encode(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (10, 8), (level, 0, 0)).save(out, "PNG")
    return out.getvalue()


def make(count: int = 40, *, names=("dog", "cat"), start: int = 0, labels=None):
    """Rows whose red level is their number; the class names are in an order of their own."""
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=list(names)) if labels is None else datasets.Value("string")
    features = datasets.Features({"id": datasets.Value("int64"), "photo": datasets.Image(), "kind" if labels is None else "label": label})
    rows = {
        "id": list(range(count)),
        "photo": [{"bytes": encode(start + number), "path": None} for number in range(count)],
        "kind" if labels is None else "label": [number % 2 for number in range(count)] if labels is None else labels,
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    from inceptions.data import hugging_face

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hugging_face._load.cache_clear()
    hugging_face._open_column.cache_clear()


def levels(samples) -> list[int]:
    return [read_image(sample.path).getpixel((0, 0))[0] for sample in samples]


def test_a_saved_data_set_is_split_class_by_class(tmp_path, monkeypatch):
    make().save_to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    splits = load_splits("hf:./saved")
    assert splits.classes == ("dog", "cat")  # its own order, as in models that were trained on it
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [32, 4, 4]
    everything = (*splits.train, *splits.val, *splits.test)
    assert sorted(levels(everything)) == list(range(40))
    assert all(level % 2 == sample.label for level, sample in zip(levels(everything), everything, strict=True))
    assert str(splits.train[0].path).startswith("hf:./saved/train/")


def test_splits_are_taken_by_their_names_and_others_left_out(tmp_path):
    datasets = pytest.importorskip("datasets")
    found = datasets.DatasetDict(train=make(20), validation=make(6, start=100), test=make(4, start=200), unsupervised=make(4))
    found.save_to_disk(tmp_path / "saved")
    splits = load_splits(f"hf:{tmp_path}/saved")
    assert len(splits.train) == 20
    assert sorted(levels(splits.val)) == [100, 101, 102, 103, 104, 105]
    assert sorted(levels(splits.test)) == [200, 201, 202, 203]


def test_rows_load_in_worker_processes_and_travel_lightly(tmp_path):
    make(30).save_to_disk(tmp_path / "saved")
    splits = load_splits(f"hf:{tmp_path}/saved")
    assert len(pickle.dumps(splits.train[0].path)) < 500
    dataset = ImageDataset(splits.train, for_training(8))
    plain, apart = (list(image_loader(dataset, batch_size=8, shuffle=True, workers=workers)) for workers in (0, 1))
    assert [batch.indices.tolist() for batch in plain] == [batch.indices.tolist() for batch in apart]
    assert all((first.pixels == second.pixels).all() for first, second in zip(plain, apart, strict=True))


def test_labels_of_words_make_classes(tmp_path):
    make(20, labels=["wolf", "ape"] * 10).save_to_disk(tmp_path / "saved")
    assert load_splits(f"hf:{tmp_path}/saved").classes == ("ape", "wolf")


def test_a_name_and_its_configuration_are_asked_for(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, revision: asked.append((*names, revision)) or {"train": make()})
    load_splits("hf:somebody/pets:small")
    assert len(load_splits("hf:pets").train) == 32
    load_splits("hf:somebody/pets@v1.2:small")
    assert asked == [("somebody/pets", "small", None), ("pets", None, None), ("somebody/pets", "small", "v1.2")]


def test_what_cannot_be_used_is_told(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    make(4).remove_columns("photo").save_to_disk(tmp_path / "words")
    make(4).remove_columns("kind").save_to_disk(tmp_path / "unlabelled")
    datasets.DatasetDict(a=make(4), b=make(4)).save_to_disk(tmp_path / "named")
    (tmp_path / "empty").mkdir()
    for source, words in {
        "words": r"no column of type Image; its columns are id \(Value\), kind \(ClassLabel\)",
        "unlabelled": "no column of type ClassLabel; its columns are id",
        "named": "no train split; its splits are a, b",
        "empty": "can't be loaded: .*; check the name and the connection",
        "missing": "no such folder; check the name",
    }.items():
        with pytest.raises(DataError, match=words) as error:
            load_splits(f"hf:{tmp_path}/{source}")
        assert "\n" not in str(error.value)

    def fail(*_, revision):
        raise ConnectionError("Couldn't reach 'pets' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match="hf:pets: can't be loaded: Couldn't reach 'pets' on the Hub; check the name and the connection"):
        load_splits("hf:pets")


def test_without_the_library_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'inceptions\[data\]'"):
        load_splits("hf:pets")
