"""Runs that fail, are stopped, or are met by another process at an unlucky moment: what was computed stays, and the way on is named."""

import errno
import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest
import safetensors.torch

from inceptions.data.folders import load_splits
from inceptions.errors import DivergedError, StoppedError, UserError
from inceptions.training.loop import Pace, _require_alike, _require_there, fit, prepare, resume
from inceptions.training.processes import Processes
from inceptions.training.progress import Reporter
from inceptions.training.report import settings_of
from inceptions.training.run import Run
from inceptions.training.run_folder import Checkpoints, RunFolder, new_run_folder
from inceptions.weights.card import CARD_NAME, read_card
from tests.training.test_resume import RECIPE, TINY, begin

pytestmark = pytest.mark.usefixtures("plain_report")

SHORT = replace(RECIPE, epochs=1)


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_of_safetensors(*_):
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def setup_of(pictures, **changes):
    return prepare(TINY, load_splits(pictures), replace(SHORT, **changes), source=str(pictures), image_size=16, device="cpu")


def test_a_run_that_another_process_ends_while_this_one_waits_for_it_is_not_trained_again(pictures, tmp_path, monkeypatch):
    setup, held = setup_of(pictures), RunFolder.held
    new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())

    @contextmanager
    def held_late(folder):
        monkeypatch.setattr(RunFolder, "held", held)
        resume(folder.path, pace=Pace(workers=0))
        with held(folder):
            yield

    monkeypatch.setattr(RunFolder, "held", held_late)
    with pytest.raises(UserError, match=r"another process has ended the run in .*run meanwhile"):
        fit(setup, tmp_path / "run", pace=Pace(workers=0), goes_on=True)
    assert read_card(tmp_path / "run" / "best").metrics["epoch"] == 1
    assert "test_accuracy" in read_card(tmp_path / "run" / "best").metrics
    assert len(resume(tmp_path / "run", epochs=2, pace=Pace(workers=0)).rows) == 2


def test_what_is_read_before_the_folder_is_ours_is_read_again(pictures, tmp_path, monkeypatch):
    """Another process writes a checkpoint, and ends, while this one waits."""
    setup, held = setup_of(pictures, epochs=2), RunFolder.held
    new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())
    started = []

    class Stops(Reporter):
        def finished_epoch(self, row, *, best):
            signal.raise_signal(signal.SIGINT)

    class Starts(Reporter):
        def started(self, start):
            started.append(start.epoch)

    @contextmanager
    def held_late(folder):
        monkeypatch.setattr(RunFolder, "held", held)
        with pytest.raises(StoppedError):
            resume(folder.path, pace=Pace(workers=0), reporter=Stops())
        with held(folder):
            yield

    monkeypatch.setattr(RunFolder, "held", held_late)
    assert len(resume(tmp_path / "run", pace=Pace(workers=0), reporter=Starts()).rows) == 2
    assert started == [2]


def test_a_machine_that_does_not_see_the_run_folder_is_told(tmp_path):
    with pytest.raises(UserError, match=r"a process of this run doesn't see .*run; on several machines it has to be on a disk"):
        _require_there(tmp_path / "run", is_first=False)


class Two(Processes):
    """This process, and another with other things."""

    def __init__(self, **other):
        super().__init__()
        self.other = other

    def gather(self, value):
        return [value, {**value, **self.other}]


def test_processes_with_other_images_or_another_checkpoint_do_not_train_together(pictures):
    setup = setup_of(pictures)
    _require_alike(setup, {"step": 3}, Two(data="elsewhere", place="/elsewhere", device="cuda:1"))
    with pytest.raises(UserError, match="the processes of this run differ in images, checkpoint; start all of them with the same"):
        _require_alike(setup, {"step": 3}, Two(images={}, checkpoint=2))
    with pytest.raises(UserError, match="differ in checkpoint"):
        _require_alike(setup, None, Two(checkpoint=2))


def test_a_run_that_processes_differ_in_leaves_no_folder(pictures, tmp_path, monkeypatch):
    def differ(*_):
        raise UserError("the processes of this run differ in images")

    monkeypatch.setattr("inceptions.training.loop._require_alike", differ)
    with pytest.raises(UserError, match="differ in images"):
        begin(pictures, tmp_path / "run", recipe=SHORT)
    assert not (tmp_path / "run").exists()


def test_a_stop_after_the_last_step_stops_before_the_test(pictures, tmp_path, monkeypatch):
    class Late(Reporter):
        def finished_epoch(self, row, *, best):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StoppedError, match="stopped at the end of the last epoch, before the test") as stopped:
        begin(pictures, tmp_path / "run", recipe=SHORT, reporter=Late())
    assert stopped.value.resume == tmp_path / "run"
    monkeypatch.setattr(Run, "validate", None)  # nothing is left to train
    assert "test_accuracy" in read_card(resume(tmp_path / "run", pace=Pace(workers=0)).folder / "best").metrics


def test_ctrl_c_in_the_test_says_how_to_go_on(pictures, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(StoppedError, match="stopped at the end of epoch 1") as stopped:
        patch.setattr("inceptions.training.run.finish", interrupt)
        begin(pictures, tmp_path / "run", recipe=SHORT)
    assert stopped.value.resume == tmp_path / "run"
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == 1


def test_a_disk_that_is_full_within_the_first_epoch_leaves_the_checkpoint_that_it_names(pictures, tmp_path, monkeypatch):
    def write(path, state):
        if state["step"]:
            full()
        written(path, state)

    from inceptions.training import run_folder

    written = run_folder.write_state
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"last good checkpoint is .*step-000000000.pt") as failed:
        patch.setattr(run_folder, "write_state", write)
        begin(pictures, tmp_path / "run", recipe=SHORT, pace=Pace(workers=0, steps=1))
    assert failed.value.resume == tmp_path / "run"
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == 1


def test_a_disk_that_is_full_as_the_best_model_is_copied_is_one_clear_error(pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"can't write .*best \(.*No space left on device") as failed:
        patch.setattr("shutil.copyfile", full)  # of whose errors shutil.copytree makes one of its own
        begin(pictures, tmp_path / "run", recipe=SHORT)
    assert failed.value.resume == tmp_path / "run"
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == 1


def test_a_run_that_diverges_on_a_full_disk_says_that_it_diverged(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("inceptions.training.report.safetensors.torch.save_file", full_of_safetensors)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at epoch 1, step \d+ .*\(the batch is not kept: .*No space left"):
        begin(pictures, tmp_path / "run", recipe=replace(SHORT, lr=1e30))
    assert (tmp_path / "run").is_dir()


def test_a_picture_of_the_batch_that_cannot_be_written_is_one_clear_error(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(UserError, match=r"can't write .*train_batch.png \(No space left on device\)"):
        begin(pictures, tmp_path / "run", recipe=SHORT)
    assert not (tmp_path / "run").exists()


def test_a_last_model_that_is_damaged_keeps_no_run_from_its_end(pictures, tmp_path, monkeypatch):
    """A power cut may leave it so, for checkpoints alone are flushed to the disk."""
    written = Checkpoints.write

    def die(checkpoints, step, state):
        written(checkpoints, step, state)
        if len(state["counters"]["rows"]) == 1:
            raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(Checkpoints, "write", die)
        begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=2))
    (tmp_path / "run" / "last" / CARD_NAME).write_bytes(b"")
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == 2


def test_a_run_that_is_finished_is_said_to_be_where_it_would_be_begun_again(pictures, tmp_path):
    begin(pictures, tmp_path / "run", recipe=SHORT)
    with pytest.raises(UserError, match="run exists already, and the run in it is finished; give another output folder, or delete it"):
        begin(pictures, tmp_path / "run", recipe=SHORT)
