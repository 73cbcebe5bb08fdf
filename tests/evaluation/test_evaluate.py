"""One model or several, one crop or many, on small images, against softmaxes averaged by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inceptions.data.decode import read_image
from inceptions.data.splits import Sample
from inceptions.errors import UserError
from inceptions.evaluation import blocks
from inceptions.evaluation.crops import multi_crop, places_among, whole_views
from inceptions.evaluation.evaluate import evaluate, merge, predict_unlabelled
from inceptions.evaluation.protocols import with_protocol
from inceptions.evaluation.score import Score
from inceptions.weights.tags import class_names, get_tag
from tests.evaluation.models import make_model

NAMES = ("ant", "bee", "cat")
TORCHVISION, SLIM = (class_names(get_tag(tag)) for tag in ("inception_v3.torchvision_in1k", "inception_v3.slim_in1k"))
TENCH, CRANE_BIRD, TABBY = "n01440764", "n02012849", "n02123045"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    found = []
    for number in range(7):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (40 + 9 * number, 70 - 5 * number, 3), dtype=np.uint8)).save(path)
        found.append(Sample(path, number % 3))
    return found


def by_hand(model, samples, crops):
    found = []
    for sample in samples:
        image, prep = read_image(sample.path), model.card.preprocess
        views = multi_crop(image, crops=crops, image_size=prep.image_size, interpolation=prep.interpolation)
        pixels = np.stack([prep.normalize(Image.fromarray(view.permute(1, 2, 0).numpy())) for view in views])
        with torch.inference_mode():
            found.append(model.module(torch.from_numpy(pixels)).softmax(1).mean(0))
    return torch.stack(found)


def test_softmaxes_are_averaged_over_crops_and_one_pass_gives_all(samples):
    model = make_model(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0), channel_order="bgr")
    found = evaluate({"m": model}, samples, NAMES, crops=(144, 1, 10, 12), batch_size=50)
    assert [row.crops for row in found.rows] == [1, 10, 12, 144]
    for row in found.rows:
        expected = by_hand(model, samples, row.crops)
        losses = -expected.log()[range(7), [sample.label for sample in samples]]
        assert row.score.losses == pytest.approx(losses.numpy(), abs=1e-4)
        assert row.score.predicted.tolist() == expected.argmax(1).tolist()


def test_views_of_the_whole_image_are_of_the_models_own_crop(samples):
    model = make_model(mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
    one, two, six = evaluate({"m": model}, samples, NAMES, crops=(1, 2, 6), protocol="timm", batch_size=5).rows
    prep = with_protocol(model.card, "timm")
    views = np.stack([whole_views(np.asarray(prep.crop(read_image(sample.path))), 6) for sample in samples])
    pixels = np.stack([prep.normalize(Image.fromarray(view)) for view in views.reshape(-1, *views.shape[2:])])
    with torch.inference_mode():
        found = model.module(torch.from_numpy(pixels)).softmax(1).reshape(len(samples), 6, -1)
    for row, count in ((one, 1), (two, 2), (six, 6)):
        losses = -found[:, :count].mean(1).log()[range(7), [sample.label for sample in samples]]
        assert row.score.losses == pytest.approx(losses.numpy(), abs=1e-4)
    with pytest.raises(UserError, match="evaluate them apart"):
        evaluate({"m": model}, samples, NAMES, crops=(6, 10))


def test_fewer_crops_are_among_more(samples):
    image = read_image(samples[0].path)
    all_of_them = multi_crop(image, crops=144, image_size=28)
    for crops in (1, 10, 12):
        assert torch.equal(all_of_them[places_among(crops, 144)], multi_crop(image, crops=crops, image_size=28))


def test_models_of_other_order_size_and_pixels_are_averaged_by_class_name(samples):
    first, second = make_model(), make_model(("cat", "ant", "bee"), seed=1, size=32, mean=(0.0,) * 3, std=(255.0,) * 3)
    found = evaluate({"a": first, "b": second}, samples, NAMES, crops=(10,))
    assert [row.models for row in found.rows] == [("a",), ("b",), ("a", "b")]
    expected = (by_hand(first, samples, 10) + by_hand(second, samples, 10)[:, [1, 2, 0]]) / 2
    losses = -expected.log()[range(7), [sample.label for sample in samples]]
    assert found.rows[2].score.losses == pytest.approx(losses.numpy(), abs=1e-4)
    assert found.rows[2].multiply_adds == found.rows[0].multiply_adds + found.rows[1].multiply_adds


def test_one_crop_is_the_models_own_unless_a_protocol_is_asked_for(samples):
    model = make_model()
    for protocol in ("model", "tensorflow", "torchvision", "timm", "caffe"):
        found = evaluate({"m": model}, samples, NAMES, protocol=protocol)
        prep = with_protocol(model.card, protocol)
        pixels = np.stack([prep(read_image(sample.path)) for sample in samples])
        with torch.inference_mode():
            expected = model.module(torch.from_numpy(pixels)).log_softmax(1)
        assert found.rows[0].score.losses == pytest.approx(-expected[range(7), [s.label for s in samples]].numpy(), abs=1e-4)
    with pytest.raises(UserError, match="for one crop"):
        evaluate({"m": model}, samples, NAMES, protocol="timm", crops=(10,))


def test_classes_that_one_side_does_not_have_are_said(samples):
    model = make_model(("ant", "bee", "dog"))
    found = evaluate({"m": model}, samples, NAMES)
    assert found.rows[0].score.count == 5
    assert any("2 images of cat" in note for note in found.notes)
    assert any("no images of 1 of the model's 3 classes: dog" in note for note in found.notes)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": model}, samples, ("x", "y", "z"))
    with pytest.raises(UserError, match="differ in their classes"):
        evaluate({"m": model, "n": make_model()}, samples, NAMES)


def test_background_may_be_missing_from_some(samples):
    tensorflow = make_model(("background", *NAMES))
    found = evaluate({"a": tensorflow, "b": make_model(seed=1)}, samples, NAMES)
    assert found.classes == NAMES


def test_an_unreadable_image_is_left_out_of_every_row(samples, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    found = evaluate({"a": make_model(), "b": make_model(seed=1)}, [*samples, Sample(tmp_path / "bad.png", 0)], NAMES, crops=(1, 10))
    for row in found.rows:
        assert row.score.count == 7
        assert [item.path for item in row.score.unreadable] == [tmp_path / "bad.png"]


@pytest.mark.parametrize("world", [2, 9])
def test_shares_add_up_to_the_whole(samples, tmp_path, world):
    """Nine processes are more than there are images; batches differ, so that losses are the same within float32's rounding."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    models, images = {"a": make_model(), "b": make_model(seed=1)}, [Sample(tmp_path / "bad.png", 0), *samples]
    whole = evaluate(models, images, NAMES, crops=(1, 10))
    found = merge([evaluate(models, images, NAMES, crops=(1, 10), part=(rank, world)) for rank in range(world)])
    assert (found.classes, found.paths, found.notes) == (whole.classes, whole.paths, whole.notes)
    for one, other in zip(found.rows, whole.rows, strict=True):
        assert (one.models, one.crops, one.multiply_adds) == (other.models, other.crops, other.multiply_adds)
        assert one.score.unreadable == other.score.unreadable
        for column in ("indices", "labels", "predicted", "ranks"):
            assert np.array_equal(getattr(one.score, column), getattr(other.score, column)), column
        assert one.score.losses == pytest.approx(other.score.losses, abs=1e-5)
        assert len(set(other.score.losses.tolist())) == 7


def test_blocks_of_images_add_up_to_the_whole(samples, tmp_path, monkeypatch):
    """All probabilities of seven models on ImageNet are gigabytes; batches differ, so that losses are within float32's rounding."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    models, images = {"a": make_model(), "b": make_model(seed=1)}, [*samples[:4], Sample(tmp_path / "bad.png", 0), *samples[4:]]
    whole = evaluate(models, images, NAMES, crops=(1, 10))
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 3 * 2 * 2 * 3)  # three images of three classes, for two models and two numbers of crops
    monkeypatch.setattr(blocks, "SCORED_IMAGES", 2)
    found = evaluate(models, images, NAMES, crops=(1, 10))
    for one, other in zip(found.rows, whole.rows, strict=True):
        assert one.score.indices.tolist() == other.score.indices.tolist() == [0, 1, 2, 3, 5, 6, 7]
        assert one.score.unreadable == other.score.unreadable
        assert one.score.losses == pytest.approx(other.score.losses, abs=1e-5)


def test_worker_processes_read_the_same(samples):
    models = {"m": make_model()}
    here, elsewhere = (evaluate(models, samples, NAMES, crops=(10,), workers=workers).rows[0].score for workers in (0, 1))
    assert np.array_equal(here.losses, elsewhere.losses)


def test_models_are_averaged_in_the_groups_that_are_asked_for(samples):
    models = {name: make_model(seed=seed) for seed, name in enumerate("abc")}
    found = evaluate(models, samples, NAMES, groups=[("a",), ("a", "c")])
    assert [row.models for row in found.rows] == [("a",), ("a", "c")]
    pair = evaluate({name: models[name] for name in "ac"}, samples, NAMES)
    assert np.array_equal(found.rows[1].score.losses, pair.rows[2].score.losses)


def test_without_labels_the_predictions_are_those_with_labels(samples):
    models = {"a": make_model(), "b": make_model(seed=1)}
    labelled = evaluate(models, samples, NAMES, crops=(1, 10))
    shares = [predict_unlabelled(models, samples, crops=(1, 10), part=(rank, 2)) for rank in range(2)]
    for one, other in zip(merge(shares).rows, labelled.rows, strict=True):
        assert (one.models, one.crops) == (other.models, other.crops)
        assert not isinstance(one.score, Score)
        assert np.array_equal(one.score.predicted, other.score.predicted)
        assert one.score.confidence == pytest.approx(other.score.confidence, abs=1e-5)
        assert one.score.mean_confidence == pytest.approx(one.score.confidence.mean())


@pytest.mark.parametrize("classes", [TORCHVISION, SLIM], ids=["torchvision", "slim"])
def test_folders_named_by_wordnet_ids_are_matched_with_imagenets_classes(samples, classes):
    found = evaluate({"m": make_model(classes)}, samples, (TENCH, CRANE_BIRD, TABBY))
    assert [found.classes[label] for label in found.rows[0].score.labels[:3]] == ["tench", "crane bird", "tabby"]
    assert found.rows[0].score.count == 7
    assert "classes are matched by WordNet id: n01440764 is tench" in found.notes
    assert any(note.startswith("no images of 997 of") for note in found.notes)


def test_ids_that_are_not_among_the_thousand_are_left_out_and_said_to_be(samples):
    found = evaluate({"m": make_model(TORCHVISION)}, samples, (TENCH, "n00000001", TABBY))
    assert found.rows[0].score.count == 5
    assert any("2 images of n00000001" in note for note in found.notes)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": make_model(TORCHVISION)}, samples, ("n00000001", "n00000002", "n00000003"))


def test_wordnet_ids_mean_nothing_to_models_of_other_classes(samples):
    ids = (TENCH, CRANE_BIRD, TABBY)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": make_model()}, samples, ids)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": make_model(TORCHVISION[::-1])}, samples, ids)
    with pytest.raises(UserError, match="no class of the images"):
        evaluate({"m": make_model(TORCHVISION)}, samples, (TENCH, CRANE_BIRD, "tabby cat"))


def test_a_model_whose_classes_are_wordnet_ids_is_matched_by_name(samples):
    found = evaluate({"m": make_model((TABBY, TENCH, CRANE_BIRD))}, samples, (TENCH, CRANE_BIRD, TABBY))
    assert found.rows[0].score.labels[:3].tolist() == [1, 2, 0]
    assert found.notes == ()


def test_full_memory_is_one_line_that_says_what_to_do(samples, monkeypatch):
    model = make_model()  # which other tests have too
    monkeypatch.setattr(model.module, "forward", lambda images: images.new_empty(2**60))  # more than any machine has
    with pytest.raises(UserError, match=r"3 images at a time are too many for the memory of cpu .*; lower the batch size"):
        evaluate({"m": model}, samples, NAMES, batch_size=3, workers=0)


def test_multiply_adds_of_shares_are_weighed_by_their_images(samples):
    first, second = (evaluate({"a": make_model()}, samples[:5], NAMES, part=(rank, 2)) for rank in range(2))
    counts = [share.rows[0].score.count for share in (first, second)]
    assert counts[0] != counts[1]
    left_early = [replace(share, rows=(replace(share.rows[0], multiply_adds=spent),)) for share, spent in ((first, 1000), (second, 4000))]
    assert merge(left_early).rows[0].multiply_adds == round((1000 * counts[0] + 4000 * counts[1]) / 5)
