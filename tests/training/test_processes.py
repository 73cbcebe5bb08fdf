import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from inceptions.weights.card import read_card

ROOT = Path(__file__).parents[2]


def run(*command, processes):
    """Run a module by torchrun, or by Python alone with one process."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)) if processes > 1 else ()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one_with_the_double_batch(pictures, tmp_path):
    """Within 1e-5 of each tensor's largest: float32 sums of 32 x 16 x 16 terms, in halves."""
    for processes in (1, 2):
        run("tests.training.two_processes", pictures, tmp_path / f"{processes}.safetensors", processes=processes)
    one, two = (safetensors.torch.load_file(tmp_path / f"{processes}.safetensors") for processes in (1, 2))
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        assert (gradient - two[name]).abs().max() <= 1e-5 * gradient.abs().max(), name


@pytest.mark.slow
def test_torchrun_trains_with_one_writer_and_counts_every_image(pictures, tmp_path):
    settings = ("--epochs", "2", "--batch-size", "8", "--image-size", "16", "--precision", "float32", "--workers", "0", "--device", "cpu")
    done = run("inceptions", "train", pictures, "--output", tmp_path / "run", *settings, processes=2)
    assert done.stdout.count("test accuracy") == 1
    assert "on 12 images" in done.stdout
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines())] == ["1", "2"]
    assert 0 <= read_card(tmp_path / "run" / "best").metrics["test_accuracy"] <= 1
    assert not (tmp_path / "run" / "checkpoints").exists()
