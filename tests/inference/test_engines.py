"""Engines: they agree with torch, are prepared once, and one that is damaged, of another machine or wrong is not used."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import MaxPool2d

from inceptions.data.preprocess import Preprocess
from inceptions.errors import ModelFolderError, UserError
from inceptions.inference.engines import choose, openvino, prepared
from inceptions.inference.engines.base import Answers, Engine
from inceptions.inference.engines.choose import automatic_engines, open_engine
from inceptions.inference.engines.graph import Normalize, export_graph
from inceptions.inference.engines.openvino import precisions as openvino_precisions
from inceptions.inference.engines.prepare import compare, real_pixels
from inceptions.inference.engines.torch import TorchEngine, read_part
from inceptions.networks.modules.layers import SamePad
from inceptions.networks.spec import L2Normalize
from inceptions.weights.card import CARD_NAME, WEIGHTS_NAME, read_card
from inceptions.weights.folder import load_model
from tests.tiny import save_tiny

ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
OTHERS = [("openvino", "float32"), ("openvino", "bfloat16"), ("onnxruntime", "float32")]


@pytest.fixture(scope="module")
def pixels(tiny):
    return real_pixels(read_card(tiny).preprocess, 24)


@pytest.fixture(scope="module")
def plain(tiny, pixels):
    """What torch answers."""
    return TorchEngine(read_part(tiny, None)).run(pixels)


def opened(folder, name, precision):
    if name == "openvino" and precision not in openvino_precisions("cpu"):
        pytest.skip("the processor has no bfloat16")
    return open_engine(folder, engine=name, precision=precision, device="cpu")


@pytest.mark.parametrize(("channels", "order"), [(1, "rgb"), (3, "rgb"), (3, "bgr"), (4, "rgb")])
def test_pixels_are_scaled_in_the_graph_as_they_are_for_training_bit_for_bit(channels, order):
    rng = np.random.default_rng(channels)
    mean, std = (tuple(rng.uniform(1, 255, channels).tolist()) for _ in range(2))
    preprocess = Preprocess(8, mean=mean, std=std, channel_order=order)
    pixels = rng.integers(0, 256, (5, 8, 8, channels), dtype=np.uint8)
    pixels[0] = np.arange(256, dtype=np.uint8)[: 64 * channels].reshape(8, 8, channels) if channels == 4 else pixels[0]
    wanted = preprocess.normalize_pixels(pixels.transpose(0, 3, 1, 2))
    found = Normalize(preprocess)(torch.from_numpy(pixels)).numpy()
    assert (found.dtype, found.shape) == (np.float32, (5, channels, 8, 8))
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("name", "precision"), OTHERS)
def test_an_engine_answers_what_torch_answers(tiny, engine_cache, pixels, plain, name, precision):
    """Float32 differs by rounding, in another order of additions; bfloat16 has 8 bits, a 256th of a number, layer by layer."""
    engine = opened(tiny, name, precision)
    assert (engine.name, engine.precision) == (name, precision)
    found = engine.run(pixels)
    allowed = 1e-5 if precision == "float32" else 0.05
    for ours, torchs in zip(found, plain, strict=True):
        assert (ours.dtype, ours.shape) == (np.float32, torchs.shape)
        assert np.abs(ours - torchs).max() <= allowed * np.abs(torchs).max()


@pytest.mark.parametrize(("name", "precision"), [("torch", "float32"), *OTHERS])
def test_batches_come_in_order_and_neighbours_change_nothing(tiny, engine_cache, pixels, name, precision):
    """More batches, of several sizes, than are on the way at a time."""
    engine = opened(tiny, name, precision)
    batches = [pixels[number % 20 :][: 1 + number % 4] for number in range(50)]
    streamed = list(engine.stream(iter(batches)))
    for batch, answers in zip(batches, streamed, strict=True):
        alone = engine.run(batch)
        assert all(map(np.array_equal, answers, alone))
    together = engine.run(pixels)
    allowed = (1e-5 if precision == "float32" else 0.02) * np.abs(together.logits).max()
    for number in (0, 7, 23):
        assert np.abs(engine.run(pixels[number : number + 1]).logits[0] - together.logits[number]).max() <= allowed


def test_a_stream_that_is_left_or_breaks_leaves_an_engine_that_answers(tiny, engine_cache, pixels):
    engine = opened(tiny, "openvino", "float32")
    wanted = engine.run(pixels[:2])

    def breaks():
        for _ in range(3):
            yield np.tile(pixels, (20, 1, 1, 1))
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(engine.stream(breaks()))
    assert np.array_equal(engine.run(pixels[:2]).logits, wanted.logits)
    left = engine.stream(np.tile(pixels, (20, 1, 1, 1)) for _ in range(30))
    next(left)
    left.close()
    assert all(np.array_equal(found.logits, wanted.logits) for found in engine.stream([pixels[:2]] * 30))


@pytest.mark.parametrize(
    ("embedding", "name"),
    [
        ((), "openvino"),
        (L2Normalize(), "torch"),
        *(pytest.param(L2Normalize(), name, marks=pytest.mark.exhaustive) for name in ("openvino", "onnxruntime")),
    ],
)
def test_a_network_without_classes_answers_its_embedding(tmp_path, engine_cache, pixels, embedding, name):
    folder = save_tiny(tmp_path / "model", classes=(), embedding=embedding)
    model = load_model(folder)
    with torch.no_grad():
        wanted = model.module(torch.from_numpy(model.card.preprocess.normalize_pixels(pixels.transpose(0, 3, 1, 2)))).numpy()
    for ours in opened(folder, name, "float32").run(pixels):
        assert np.allclose(ours, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_auto_is_openvino_on_x86_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert automatic_engines("cpu") == ["openvino", "torch"]
    assert automatic_engines("cuda") == ["torch"]
    with monkeypatch.context() as patch:
        patch.setattr(platform, "machine", lambda: "aarch64")
        assert automatic_engines("cpu") == ["torch"]
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert automatic_engines("cpu") == ["torch"]


@pytest.mark.skipif(not ON_X86, reason="another processor")
def test_auto_takes_the_fastest_precision_and_torch_without_openvino(tiny, engine_cache, monkeypatch):
    engine = open_engine(tiny, engine="auto", device="cpu")
    assert (engine.name, engine.precision) == ("openvino", openvino_precisions("cpu")[0])
    monkeypatch.delenv("INCEPTIONS_ENGINE")
    assert open_engine(tiny, device="cpu").name == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert open_engine(tiny, device="cpu").name == "torch"
    with pytest.raises(UserError, match=r"the engine 'openvino' needs openvino, not installed here; pip install 'inceptions\[fast\]'"):
        open_engine(tiny, engine="openvino", device="cpu")


@pytest.mark.parametrize(("module", "extra"), [("onnxruntime", "export"), ("onnxscript", "export")])
def test_a_library_that_is_missing_is_named_with_its_extra(tiny, tmp_path, monkeypatch, module, extra):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"needs {module}, not installed here; pip install 'inceptions\[{extra}\]'"):
        open_engine(tiny, engine="onnxruntime", device="cpu")


def test_an_engine_or_precision_that_isnt_there_is_told(tiny, monkeypatch):
    with pytest.raises(UserError, match="engine 'fast': there are auto, torch, compiled, openvino, onnxruntime"):
        open_engine(tiny, engine="fast", device="cpu")
    with pytest.raises(UserError, match=r"'torch' can't run inception_small on cpu in int8"):
        open_engine(tiny, engine="torch", precision="int8", device="cpu")
    monkeypatch.setenv("INCEPTIONS_ENGINE", "fast")
    with pytest.raises(UserError, match="engine 'fast': there are"):
        open_engine(tiny, device="cpu")
    assert open_engine(tiny, engine="torch", device="cpu").name == "torch"  # what is asked for goes first


class Fake(Engine):
    """Torch's answers, with what stands in its file added to the last class."""

    name, precision = "openvino", "float32"

    def __init__(self, folder, source):
        self.added = float((folder / "model.txt").read_text())
        self.engine = TorchEngine(read_part(source, None))

    def run(self, pixels):
        logits, vectors = self.engine.run(pixels)
        logits[:, -1] += self.added
        return Answers(logits, vectors)


@pytest.fixture
def maker(monkeypatch, tmp_path):
    """In place of OpenVINO's, a maker whose engine is made in no time, and a cache of its own; it counts what it makes."""
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    real = choose.maker_of
    made = SimpleNamespace(count=0, added="0.0", precisions=lambda device: ("float32",))

    def prepare(classifier, example, folder, *, precision, device, source):
        made.count += 1
        (folder / "model.txt").write_text(made.added)

    made.prepare = prepare
    made.load = lambda folder, *, precision, device, source, part: Fake(folder, source)
    monkeypatch.setattr(choose, "maker_of", lambda name: made if name == "openvino" else real(name))
    monkeypatch.setattr(choose, "automatic_engines", lambda device: ["openvino", "torch"])
    return made


def only_entry():
    (found,) = prepared.iterate_prepared()
    return found


@pytest.mark.parametrize("added", ["0.9", "nan"])
def test_an_engine_that_disagrees_is_not_used_and_the_reason_is_told(tiny, maker, added):
    maker.added, told = added, []
    assert open_engine(tiny, engine="auto", device="cpu", tell=told.append).name == "torch"
    assert told[-1].startswith("openvino in float32 is not used, for it disagrees with torch: ")
    assert "(allowed 0.001)" in told[-1]
    with pytest.raises(UserError, match=r"disagrees with torch: \d+ of 32 pictures alike"):
        open_engine(tiny, engine="openvino", device="cpu")
    assert maker.count == 1  # that it disagrees is known
    assert not only_entry().comparison.agrees


def test_what_is_prepared_is_found_again_and_made_anew_when_damaged(tiny, maker):
    told = []
    assert open_engine(tiny, engine="openvino", device="cpu", tell=told.append).name == "openvino"
    assert told == ["preparing openvino in float32 for inception_small, once on this machine"]
    open_engine(tiny, engine="openvino", device="cpu", tell=told.append)
    assert (maker.count, len(told)) == (1, 1)
    file, record = (only_entry().folder / name for name in ("model.txt", prepared.RECORD))
    whole = record.read_bytes()
    damages = [
        lambda: file.write_text("0."),
        lambda: file.write_text("9.0"),  # of the same length
        lambda: file.unlink(),
        lambda: record.write_bytes(whole[:-40]),
        lambda: record.write_bytes(b"[]"),
        lambda: record.write_bytes(whole.replace(f'"form": {prepared.FORM}'.encode(), b'"form": 0')),
        lambda: record.unlink(),
    ]
    for number, damage in enumerate(damages, start=2):
        damage()
        assert open_engine(tiny, engine="openvino", device="cpu").added == 0
        assert maker.count == number
    assert only_entry().is_whole


def test_another_library_processor_or_model_has_an_engine_of_its_own(tiny, maker, tmp_path, monkeypatch):
    def count(folder=tiny):
        open_engine(folder, engine="openvino", device="cpu")
        return maker.count

    assert count() == 1
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "version", lambda library: "9.9")
        assert count() == 2
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "processor", lambda device: "another")
        assert count() == 3
    assert count(save_tiny(tmp_path / "other", seed=1)) == 4
    card = read_card(tiny)
    scaled = tmp_path / "scaled"
    scaled.mkdir()
    (scaled / WEIGHTS_NAME).write_bytes((tiny / WEIGHTS_NAME).read_bytes())
    (scaled / CARD_NAME).write_text(replace(card, preprocess=replace(card.preprocess, mean=(1.0, 2.0, 3.0))).to_json())
    assert count(scaled) == 5
    assert count() == 5
    assert count(tiny.parent / ".." / tiny.parent.name / tiny.name) == 5  # wherever it lies


def test_many_that_ask_at_a_time_prepare_once(tiny, maker):
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: open_engine(tiny, engine="openvino", device="cpu"), range(4)))
    assert [engine.added for engine in engines] == [0.0] * 4
    assert maker.count == 1


def test_what_a_killed_process_left_goes(tiny, maker):
    open_engine(tiny, engine="openvino", device="cpu")
    entry = only_entry()
    left = entry.folder.parent / f".{entry.folder.name}-abcd"
    left.mkdir()
    (left / "model.txt").write_text("0.0")
    (entry.folder / prepared.RECORD).unlink()  # killed before the record is there
    open_engine(tiny, engine="openvino", device="cpu")
    assert [path.name for path in entry.folder.parent.iterdir() if path.is_dir()] == [entry.folder.name]


def test_nothing_is_written_into_the_model_folder(tmp_path, maker):
    folder = save_tiny(tmp_path / "model")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    folder.chmod(0o555)
    assert open_engine(folder, engine="openvino", device="cpu").name == "openvino"
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    folder.chmod(0o755)


def test_a_cache_that_cant_be_written_to_is_one_line_and_torch_runs(tiny, maker, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"can't write .*; set INCEPTIONS_CACHE to a folder that can be written to") as raised:
        open_engine(tiny, engine="openvino", device="cpu")
    assert len(str(raised.value).splitlines()) == 1
    told = []
    assert open_engine(tiny, engine="auto", device="cpu", tell=told.append).name == "torch"
    assert told[-1].startswith("openvino in float32 could not be prepared (can't write")


def test_what_was_not_used_for_longest_goes_first(tmp_path, maker, monkeypatch):
    folders = [save_tiny(tmp_path / str(seed), seed=seed) for seed in range(3)]
    for folder in folders:
        open_engine(folder, engine="openvino", device="cpu")
    entries = {entry.source: entry for entry in prepared.iterate_prepared()}
    for age, folder in zip((100, 300, 200), folders, strict=True):
        record = entries[str(folder)].folder / prepared.RECORD
        os.utime(record, (record.stat().st_mtime - age,) * 2)
    open_engine(folders[1], engine="openvino", device="cpu")  # now the last that was used
    sizes = {source: entry.size for source, entry in entries.items()}
    gone = prepared.clear_prepared(sum(sizes.values()) - 1)
    assert gone == sizes[str(folders[2])]
    assert {entry.source for entry in prepared.iterate_prepared()} == {str(folders[0]), str(folders[1])}
    monkeypatch.setenv("INCEPTIONS_ENGINES_LIMIT", "0")  # but for what has just been asked for
    open_engine(folders[2], engine="openvino", device="cpu")
    assert only_entry().source == str(folders[2])
    size = only_entry().size
    assert prepared.clear_prepared() == size
    assert not list(prepared.iterate_prepared())


@pytest.mark.parametrize("limit", ["much", "-1", "nan"])
def test_a_limit_that_is_no_number_is_refused(limit, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_ENGINES_LIMIT", limit)
    with pytest.raises(UserError, match=f"INCEPTIONS_ENGINES_LIMIT is '{limit}'; it must be a number of gigabytes"):
        prepared.read_limit()


def test_a_model_whose_integers_are_missing_or_others_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("INCEPTIONS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / WEIGHTS_NAME).write_bytes((tiny / WEIGHTS_NAME).read_bytes())
    (folder / CARD_NAME).write_text(replace(read_card(tiny), provenance={"int8": {"sha256": "0" * 64}}).to_json())
    for _ in range(2):
        with pytest.raises((UserError, ModelFolderError), match=r"int8.xml and its .bin in .* copy the whole model folder"):
            open_engine(folder, engine="openvino", device="cpu")
        (folder / "int8.xml").write_text("<net/>")
        (folder / "int8.bin").write_bytes(b"")
    assert open_engine(folder, engine="torch", device="cpu").name == "torch"


LOGITS = np.array([[90.0, 95.0, 0.0], [99.0, 30.0, 10.0], [5.0, 9.0, 80.0]])


@pytest.mark.parametrize(
    ("change", "agrees", "same"),
    [
        (lambda logits: logits + np.array([[8.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), True, 2),  # another class by a near tie
        (lambda logits: logits + 1000, True, 3),  # which no probability depends on
        (lambda logits: logits + np.array([[60.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), False, 2),
        (lambda logits: np.repeat(logits.mean(0, keepdims=True), 3, axis=0), False, 1),  # the same of every picture
        (lambda logits: np.roll(logits, 1, axis=1), False, 0),
        (lambda logits: logits * np.nan, False, 1),
    ],
)
@pytest.mark.parametrize("common", [0.0, 1000.0])
def test_integers_are_compared_by_logits(change, agrees, same, common):
    """Of logits of 90 and more a difference of a tenth may be another class's certainty."""
    wanted, answered = (Answers(logits, np.zeros((3, 1))) for logits in (LOGITS + common, change(LOGITS) + common))
    engine = SimpleNamespace(batch_size=16, precision="int8", stream=lambda batches: [answered for _ in batches])
    found = compare(engine, np.zeros((3, 1)), wanted, has_classes=True, allowed=0.5)
    assert (found.agrees, found.same) == (agrees, same)


def test_max_pools_of_openvino_pad_what_they_read():
    """A layer before them that pads with -inf is undone: of -inf in integers OpenVINO makes anything."""
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    for kernel, stride, value, left in ((3, 2, -float("inf"), 0), (3, 1, -float("inf"), 0), (3, 2, 0.0, 1)):
        pool = torch.nn.Sequential(SamePad((kernel, kernel), stride=stride, dilation=1, value=value), MaxPool2d(kernel, stride))
        images = torch.randn(3, 4, 8, 10) - 3  # below the zeros of the last
        model = openvino.convert(export_graph(pool, images[:2]), images.shape[1:], ("images", "pooled"))
        assert sum(node.get_type_name() == "Pad" for node in model.get_ordered_ops()) == left
        assert np.array_equal(openvino.core().compile_model(model, "CPU")(images.numpy())[0], pool(images).numpy())


def test_integers_of_an_older_folder_pad_within_pools_too(tiny, tmp_path, monkeypatch):
    ov = pytest.importorskip("openvino")
    pool = torch.nn.Sequential(SamePad((3, 3), stride=2, dilation=1, value=-float("inf")), MaxPool2d(3, 2))
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "_pad_within_pools", lambda _: None)
        older = openvino.convert(export_graph(pool, torch.zeros(2, 4, 8, 8)), (4, 8, 8), ("images", "pooled"))
    ov.save_model(older, tmp_path / "int8.xml")
    sha256 = openvino.digest(tmp_path / name for name in ("int8.xml", "int8.bin"))
    (tmp_path / CARD_NAME).write_text(replace(read_card(tiny), provenance={"int8": {"sha256": sha256}}).to_json())
    kinds = [[node.get_type_name() for node in found.get_ordered_ops()] for found in (older, openvino.read_integers(tmp_path))]
    assert ["Pad" in found for found in kinds] == [True, False]


@pytest.mark.exhaustive
def test_the_compiled_engine_answers_what_torch_answers(tiny, engine_cache, pixels, plain):
    found = opened(tiny, "compiled", "float32").run(pixels)
    assert np.abs(found.logits - plain.logits).max() <= 1e-5 * np.abs(plain.logits).max()


SIGNAL = """
import signal
from pathlib import Path
from inceptions.inference.engines.choose import open_engine
from inceptions.weights.card import read_card
import numpy as np, sys
folder = Path(sys.argv[1])
card = read_card(folder)
first, second = (open_engine(folder, card, engine="openvino", device="cpu", precision=precision) for precision in (None, "float32"))
first.run(np.zeros((1, card.preprocess.image_size, card.preprocess.image_size, 3), np.uint8))
del first
del second
signal.signal(signal.SIGINT, lambda *_: print("handled"))
signal.raise_signal(signal.SIGINT)
"""


def test_a_signal_is_taken_after_engines_of_openvino_have_come_and_gone(tiny, engine_cache):
    done = subprocess.run([sys.executable, "-c", SIGNAL, tiny], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
