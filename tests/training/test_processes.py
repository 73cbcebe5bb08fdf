import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from inceptions.cli.train import show_plan
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.devices import pick_device
from inceptions.errors import UserError
from inceptions.evaluation.score import score
from inceptions.networks.registry import get_network
from inceptions.training.gradients import Gradients, Loss, split
from inceptions.training.learner import Learner
from inceptions.training.loop import fit, prepare
from inceptions.training.processes import Processes, backend_of
from inceptions.training.recipe import Recipe
from inceptions.weights.card import read_card
from inceptions.weights.folder import load_model
from tests.pictures import paint
from tests.training import two_processes

ROOT = Path(__file__).parents[2]
SMALL = ("--batch-size", "8", "--image-size", "16", "--precision", "float32", "--workers", "0", "--device", "cpu")


def start(*command, processes, restarts=0):
    """Start a module by torchrun."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, "--max-restarts", restarts)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = map(str, (*torchrun, "-m", *command))
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """Return what was printed on standard output and standard error."""
    with process:
        try:
            printed = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == 0, printed[1]
    return printed


def epochs_of(folder):
    return [row["epoch"] for row in csv.DictReader((folder / "metrics.csv").read_text().splitlines())]


MODES = ("plain", "parts", "weights", "unreadable")


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    """What this process and what two have found in every mode; the two are started once, which takes far longer than the steps."""
    base = tmp_path_factory.mktemp("gradients")
    paint(base / "pictures" / "train", each=22, seed=1)
    for name in ("one", "two"):
        (base / name).mkdir()
    two_processes.main(str(base / "pictures"), base / "one", *MODES)
    finish(start("tests.training.two_processes", base / "pictures", base / "two", *MODES, processes=2))
    return {mode: [safetensors.torch.load_file(base / name / f"{mode}.safetensors") for name in ("one", "two")] for mode in MODES}


@pytest.mark.exhaustive  # two processes take twelve seconds to start
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_have_the_gradients_of_one_with_the_double_batch(mode, gradients):
    """Within 1e-5 of each tensor's largest: float32 sums of 32 x 16 x 16 terms, in halves."""
    one, two = gradients[mode]
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert (gradient - two[name]).abs().max() <= 1e-5 * gradient.abs().max(), name


def test_parts_of_a_batch_have_the_gradient_of_the_whole_and_none_has_one_image():
    """Nine images in four parts, which `chunk` makes three of; and five, of which it makes three, one of a single image."""
    torch.manual_seed(0)
    model, loss = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), Loss(class_weights=(1.0, 2.0, 5.0))
    for count, sizes in ((9, [3, 2, 2, 2]), (5, [3, 2]), (3, [3])):
        images, labels = torch.randn(count, 3, 2, 2), torch.arange(count) % 3
        found = []
        for parts in (split(images, labels, labels, count=4), [(images, labels, labels)]):
            model.zero_grad()
            value = Gradients(loss).compute(model, parts, total=loss.weight(labels)).loss
            found.append((value, model[1].weight.grad.clone()))
        assert [len(part[0]) for part in split(images, labels, labels, count=4)] == sizes
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
        assert torch.allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)  # float32 sums in another order
        assert len(split(images, labels, labels, count=4, pad=True)) == 4


@pytest.mark.exhaustive
def test_torchrun_trains_with_one_writer_counts_every_image_and_reports_of_what_is_saved(pictures, tmp_path):
    """Statistics move fast here, so that those of the two shares differ; the saved model then scores what metrics.csv says."""
    settings = (*SMALL, "--epochs", "2", "--log-with", "tensorboard", "--set", "bn_momentum=0.9", "--set", "train_on_val=false")
    printed, _ = finish(start("inceptions", "train", pictures, "--output", tmp_path / "run", *settings, processes=2))
    assert printed.count("test accuracy") == 1
    assert "on 12 images" in printed
    assert epochs_of(tmp_path / "run") == ["1", "2"]
    assert 0 <= read_card(tmp_path / "run" / "best").metrics["test_accuracy"] <= 1
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 1

    saved = load_model(tmp_path / "run" / "last")
    val = ImageDataset(load_splits(pictures).val, saved.card.preprocess)
    found = score(saved.module, image_loader(val, batch_size=8, shuffle=False, workers=0), device=torch.device("cpu"))
    *_, row = csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines())
    assert float(row["val_loss"]) == pytest.approx(found.loss, rel=1e-5)  # six digits are written
    assert float(row["val_accuracy"]) == pytest.approx(found.accuracy, rel=1e-5)


@pytest.mark.exhaustive
def test_unreadable_images_of_one_process_are_left_out_and_named_once(pictures, tmp_path):
    """Two images in each batch, one for each process: a share of none or one learns nothing, and no loss is nan."""
    broken = sorted((pictures / "train" / "blue").iterdir())[:15]
    for path in broken:
        path.write_bytes(b"no picture")
    settings = (*SMALL[2:], "--batch-size", "4", "--epochs", "1", "--on-error", "skip")
    printed, told = finish(start("inceptions", "train", pictures, "--output", tmp_path / "run", *settings, processes=2))
    assert "15 unreadable files left out" in printed
    assert all(told.count(path.name) == 1 for path in broken), told


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", ["image", "asynchronous", "folder"])
def test_what_fails_is_said_once_and_the_next_try_finds_no_folder(fault, pictures, tmp_path):
    settings, said, folder = SMALL, "can't be read", tmp_path / "run"
    match fault:
        case "image":  # which one process alone meets
            sorted((pictures / "train" / "blue").iterdir())[3].write_bytes(b"no picture")
            said = "blue"
        case "asynchronous":
            settings, said = (*SMALL, "--set", "asynchronous=2"), "without torchrun"
        case "folder":
            folder.mkdir()
            (folder / "mine").touch()
            said = "exists already"
    failed = start("inceptions", "train", pictures, "--output", folder, *settings, processes=2)
    _, told = failed.communicate(timeout=600)
    assert failed.returncode == 1
    ours = [line for line in told.splitlines() if line.startswith("inceptions: ")]
    assert len(ours) == 1, told
    assert said in ours[0]
    assert not re.search(r'File "[^"]*/inceptions/(\w+/)*\w+\.py"', told), told  # torchrun's own traceback, and none of ours
    assert folder.exists() == (fault == "folder")


@pytest.mark.exhaustive
def test_torchrun_goes_on_where_it_was_when_a_process_is_killed(pictures, tmp_path):
    psutil = pytest.importorskip("psutil")
    settings = (*SMALL, "--epochs", "10", "--checkpoint-minutes", "0.0001")
    torchrun = start("inceptions", "train", pictures, "--output", tmp_path / "run", *settings, processes=2, restarts=1)
    while torchrun.poll() is None and len(list((tmp_path / "run").glob("checkpoints/step-*.pt"))) < 2:
        time.sleep(0.01)
    for process in psutil.Process(torchrun.pid).children():
        if process.environ().get("RANK") == "1":
            process.kill()
    printed, told = finish(torchrun)
    assert "going on at epoch" in told
    assert printed.count("test accuracy") == 1
    assert epochs_of(tmp_path / "run") == [str(epoch) for epoch in range(1, 11)]


@pytest.mark.exhaustive
def test_several_processes_are_told_to_name_one_folder(pictures):
    refused = start("inceptions", "train", pictures, *SMALL, processes=2)
    _, told = refused.communicate(timeout=600)
    assert refused.returncode == 1
    assert "give --output FOLDER" in told


def test_more_processes_than_a_batch_has_pairs_of_images_are_refused(pictures, tmp_path, monkeypatch):
    """Every share counted as none, and the end of the epoch said that no image could be read."""
    recipe = Recipe(batch_size=6)
    setup = prepare(get_network("inception_small"), load_splits(pictures), recipe, source="pictures", device="cpu")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"batches of 6 images leave 4 processes fewer than 2 each.*start 3 at most, or raise batch_size"):
        fit(setup, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_first_process_alone_prints_the_plan_of_all(pictures, monkeypatch, capsys):
    taken = []
    monkeypatch.setattr(Learner, "learn", lambda _, batch: taken.append(len(batch.labels)))
    monkeypatch.setattr(Processes, "wrap", lambda _, module: module)
    monkeypatch.setattr(Processes, "_meet", lambda *_: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    setup = prepare(get_network("inception_small"), load_splits(pictures), Recipe(batch_size=6), source="pictures", device="cpu")
    for rank, lines in (("0", 3), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        show_plan(setup)
        assert sum(line.startswith(("cost: ", "memory: ", "time: ")) for line in capsys.readouterr().out.splitlines()) == lines
    assert taken == [3] * 4  # of two steps each, half of the batch


def test_shared_batch_norm_is_refused_where_torch_has_none(monkeypatch, caplog):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    processes = Processes()
    processes.share_batch_norm(module, torch.device("cpu"))
    assert "sync_bn changes nothing" in caplog.text
    processes.world = 2
    with pytest.raises(UserError, match="sync_bn can't be had on cpu, only on cuda, xpu, hpu; train with sync_bn=false"):
        processes.share_batch_norm(module, torch.device("cpu"))


def test_shared_batch_norm_has_the_same_tensors_by_the_same_names():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before, parameters = module.state_dict(), set(module.parameters())
    processes = Processes()
    processes.world = 2
    processes.share_batch_norm(module, torch.device("cuda"))
    assert isinstance(module[1], nn.SyncBatchNorm)
    assert set(module.parameters()) == parameters
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)


@pytest.mark.parametrize(
    ("device", "there", "backend"), [("cpu", "nccl", "gloo"), ("cuda", "nccl", "nccl"), ("xpu", "xccl", "xccl"), ("xpu", "", "gloo")]
)
def test_processes_are_connected_by_what_fits_their_device(device, there, backend, monkeypatch):
    monkeypatch.setattr("torch.distributed.is_backend_available", lambda name: name in ("gloo", there))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)  # which has no say in it
    assert backend_of(torch.device(device)) == backend


def test_each_process_takes_an_accelerator_of_its_own_before_another_is_touched(monkeypatch):
    """There is no GPU here: what torch is asked to do is written down."""
    asked = []
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr("torch.accelerator.set_device_index", lambda index: asked.append(("set", index)))
    monkeypatch.setattr("torch.empty", lambda *_, device: asked.append(("empty", str(device))))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    for name in (None, "cuda"):
        assert pick_device(name) == torch.device("cuda")
    assert asked == [("set", 1), ("set", 1), ("empty", "cuda")]
    with pytest.raises(UserError, match="2 processes can't share cuda:0; say cuda"):
        pick_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UserError, match="3 processes on this machine can't share 2 cuda; start 2 at most, or train on cpu"):
        pick_device("cuda")
    assert pick_device("cpu") == torch.device("cpu")


def test_after_an_error_nobody_waits_for_the_others(monkeypatch):
    """NCCL's `destroy_process_group` waits for processes that may be waiting for this one."""
    processes, left = Processes(), []
    processes.world = 2
    monkeypatch.setattr(processes, "leave", lambda: left.append(True))
    with pytest.raises(UserError, match="mine"), processes:
        raise UserError("mine")
    with pytest.raises(UserError, match="another process of this run has ended"), processes:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.1.1]:1234")
    with pytest.raises(RuntimeError, match="shapes"), processes:
        raise RuntimeError("shapes don't match")
    assert not left
    with processes:
        pass
    assert left


def test_processes_part_when_all_are_done_and_one_that_is_lost_by_then_takes_nothing_with_it(monkeypatch):
    """One that ended at once, while Gloo's threads had tensors of its, was killed for it, and torchrun ended the first as it wrote."""
    processes, done = Processes(), []
    processes.world = 2
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_backend", lambda: "gloo")
    monkeypatch.setattr("torch.distributed.barrier", lambda: done.append("all"))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: done.append("left"))
    with processes:
        pass
    assert not done  # the group is another's
    processes._owns_group = True
    with processes:
        pass
    assert done == ["all", "left"]

    losses = iter(
        [
            RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.1.1]:1234"),
            RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv operation to complete"),
            RuntimeError("of our own"),
        ]
    )

    def lose():
        raise next(losses)

    monkeypatch.setattr("torch.distributed.barrier", lose)
    for _ in range(2):
        with processes:
            pass
    assert done == ["all", "left", "left", "left"]
    with pytest.raises(RuntimeError, match="of our own"), processes:
        pass
    monkeypatch.setattr("torch.distributed.get_backend", lambda: "nccl")
    with processes:
        pass
    assert done == ["all", "left", "left", "left", "left"]
