import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from inceptions.errors import UserError
from inceptions.training.processes import Processes
from inceptions.weights.card import read_card

ROOT = Path(__file__).parents[2]
SMALL = ("--batch-size", "8", "--image-size", "16", "--precision", "float32", "--workers", "0", "--device", "cpu")


def start(*command, processes, restarts=0):
    """Start a module by torchrun, or by Python alone with one process."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, "--max-restarts", restarts)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = map(str, (*(torchrun if processes > 1 else ()), "-m", *command))
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


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_the_double_batch(pictures, tmp_path):
    """Within 1e-5 of each tensor's largest: float32 sums of 32 x 16 x 16 terms, in halves."""
    for processes in (1, 2):
        finish(start("tests.training.two_processes", pictures, tmp_path / f"{processes}.safetensors", processes=processes))
    one, two = (safetensors.torch.load_file(tmp_path / f"{processes}.safetensors") for processes in (1, 2))
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert (gradient - two[name]).abs().max() <= 1e-5 * gradient.abs().max(), name


@pytest.mark.slow
def test_torchrun_trains_with_one_writer_and_counts_every_image(pictures, tmp_path):
    settings = (*SMALL, "--epochs", "2", "--log-with", "tensorboard")
    printed, _ = finish(start("inceptions", "train", pictures, "--output", tmp_path / "run", *settings, processes=2))
    assert printed.count("test accuracy") == 1
    assert "on 12 images" in printed
    assert epochs_of(tmp_path / "run") == ["1", "2"]
    assert 0 <= read_card(tmp_path / "run" / "best").metrics["test_accuracy"] <= 1
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.*"))) == 1


@pytest.mark.slow
def test_torchrun_goes_on_where_it_was_when_a_process_is_killed(pictures, tmp_path):
    psutil = pytest.importorskip("psutil")
    settings = (*SMALL, "--epochs", "10", "--checkpoint-minutes", "0")
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


def test_several_processes_are_told_to_name_one_folder(pictures):
    refused = start("inceptions", "train", pictures, *SMALL, processes=2)
    _, told = refused.communicate(timeout=600)
    assert refused.returncode == 1
    assert "give --output FOLDER" in told


def test_shared_batch_norm_is_refused_where_torch_has_none(monkeypatch, caplog):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    processes = Processes()
    processes.share_batch_norm(module, torch.device("cpu"))
    assert "sync_bn changes nothing" in caplog.text
    processes.world = 2
    with pytest.raises(UserError, match="sync_bn can't be had on cpu, only on cuda, xpu, hpu; train with --set sync_bn=false"):
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
