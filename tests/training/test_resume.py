import csv
import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from inceptions.data.augment import Augment
from inceptions.data.folders import load_splits
from inceptions.errors import StoppedError, UserError
from inceptions.files import cannot_write
from inceptions.networks import reshape
from inceptions.networks.registry import get_network
from inceptions.training import run_folder
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Finetune
from inceptions.training.recipes import QUICK
from inceptions.training.report import settings_of
from inceptions.training.run import Run
from inceptions.training.run_folder import Checkpoints, RunFolder, new_run_folder
from inceptions.training.setup import restore
from inceptions.weights.card import read_card
from tests.pictures import paint
from tests.training import killed_run

pytestmark = pytest.mark.usefixtures("plain_report")

TINY = reshape.scale_width(get_network("inception_small"), 0.25)
RECIPE = replace(QUICK, epochs=3, batch_size=8, precision="float32")
ROOT = Path(__file__).parents[2]


def begin(pictures, folder, *, reporter=None, pace=None, recipe=RECIPE, network=TINY, goes_on=False):
    setup = prepare(network, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
    return fit(setup, folder, reporter=reporter, pace=pace or Pace(workers=0), goes_on=goes_on)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run on the very `pictures` that nothing interrupts: what others are compared with."""
    base = tmp_path_factory.mktemp("whole")
    paint(base / "pictures" / "train", each=22, seed=1)
    paint(base / "pictures" / "test", each=4, seed=2)
    begin(base / "pictures", base / "run")
    return base / "run"


def start(pictures, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.training.killed_run", str(pictures), str(folder)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def one_thread():
    """As many as the processes have that are killed, for the weights are to be theirs to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.exhaustive
@pytest.mark.usefixtures("one_thread")
def test_a_run_killed_again_and_again_ends_with_the_same_weights(pictures, tmp_path):
    killed_run.main(pictures, tmp_path / "whole")
    chance, killed = random.Random(4), 0
    while killed < 20:
        process = start(pictures, tmp_path / "killed")
        assert process.stdout.readline() == "begun\n"
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        assert not (tmp_path / "killed" / "report.html").exists(), "the run was over before it had been killed so often"
    killed_run.main(pictures, tmp_path / "killed")
    for name in ("last", "best"):
        assert_same_weights(tmp_path / "whole" / name, tmp_path / "killed" / name)
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines())) for name in ("whole", "killed")]
    assert [row["epoch"] for row in rows[1]] == [str(epoch) for epoch in range(1, 9)]
    for column in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"):
        assert [row[column] for row in rows[0]] == [row[column] for row in rows[1]]
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


class Signals(Reporter):
    """Sends a signal to this process after a step."""

    def __init__(self, epoch, step, number):
        self.when, self.number = (epoch, step), number

    def stepped(self, epoch, step, loss, images_per_second, lr):
        if (epoch, step) == self.when:
            signal.raise_signal(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(whole, number, pictures, tmp_path):
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=r"stopped at epoch 2, step 3") as stopped:
        begin(pictures, tmp_path / "run", reporter=Signals(2, 3, number))
    assert stopped.value.resume == tmp_path / "run"
    assert signal.getsignal(number) == before
    result = resume(tmp_path / "run", pace=Pace(workers=0))
    assert [row.epoch for row in result.rows] == [1, 2, 3]
    assert_same_weights(whole / "last", tmp_path / "run" / "last")


def test_a_run_that_varies_and_draws_images_by_chance_goes_on_bit_for_bit(pictures, tmp_path):
    augment = Augment(policy="trivialaugment", erasing=0.5, alternate=True)
    recipe = replace(RECIPE, epochs=2, sampling="balanced", layer_decay=0.8, augment=augment)
    for number in range(12):
        (pictures / "train" / "blue" / f"{number:03}.png").unlink()
    begin(pictures, tmp_path / "whole", recipe=recipe)
    with pytest.raises(StoppedError, match=r"stopped at epoch 2, step 3"):
        begin(pictures, tmp_path / "run", recipe=recipe, reporter=Signals(2, 3, signal.SIGINT))
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(tmp_path / "whole" / "last", tmp_path / "run" / "last")


class StopsAll(Reporter):
    """Sends a signal to this process and those that it has started, after a step, as schedulers do."""

    def stepped(self, epoch, step, loss, images_per_second, lr):
        if (epoch, step) == (2, 3):
            readers = multiprocessing.active_children()
            pids = [str(process.pid) for process in (multiprocessing.current_process(), *readers)]
            subprocess.run(["kill", *pids], check=True)  # not from here: a reader takes its parent's for a good end
            for process in readers:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # that it has ended is left for torch to find and to say


def test_a_signal_to_the_readers_too_stops_as_one_to_the_run_alone(whole, pictures, tmp_path):
    with pytest.raises(StoppedError, match="stopped at epoch 2") as stopped:
        begin(pictures, tmp_path / "run", reporter=StopsAll(), pace=Pace(workers=1))
    assert stopped.value.resume == tmp_path / "run"
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(whole / "last", tmp_path / "run" / "last")


def test_readers_end_with_a_run_that_stops_whoever_holds_its_error(pictures, tmp_path):
    before = multiprocessing.active_children()
    with pytest.raises(StoppedError) as stopped:  # whose traceback holds all that the run had
        begin(pictures, tmp_path / "run", reporter=Signals(2, 3, signal.SIGINT), pace=Pace(workers=1))
    assert multiprocessing.active_children() == before
    assert stopped.value.resume == tmp_path / "run"


def test_a_finished_run_is_not_resumed(pictures, tmp_path):
    begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1))
    with pytest.raises(UserError, match="finished already; train further with the weights"):
        resume(tmp_path / "run")
    with pytest.raises(UserError, match=r"no run folder that can be resumed"):
        resume(tmp_path / "nothing")


def test_changed_images_are_noticed(pictures, tmp_path):
    with pytest.raises(StoppedError):
        begin(pictures, tmp_path / "run", reporter=Signals(1, 2, signal.SIGINT))
    next((pictures / "train" / "blue").iterdir()).unlink()
    with pytest.raises(UserError, match="no longer those that the run began with"):
        resume(tmp_path / "run")


def test_a_run_goes_on_from_another_working_directory(whole, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoppedError):
        begin(pictures.relative_to(tmp_path), Path("run"), reporter=Signals(2, 3, signal.SIGINT))
    monkeypatch.chdir("/")
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(whole / "last", tmp_path / "run" / "last")
    assert read_card(tmp_path / "run" / "last").provenance["data"] == "pictures"


def test_a_run_goes_on_with_images_that_have_moved(whole, pictures, tmp_path):
    with pytest.raises(StoppedError):
        begin(pictures, tmp_path / "run", reporter=Signals(2, 3, signal.SIGINT))
    (tmp_path / "elsewhere").mkdir()
    moved = pictures.rename(tmp_path / "elsewhere" / "photos")
    with pytest.raises(UserError, match="no such folder"):
        resume(tmp_path / "run")
    resume(tmp_path / "run", data=str(moved), pace=Pace(workers=0))
    assert_same_weights(whole / "last", tmp_path / "run" / "last")


def test_a_crash_leaves_what_can_be_gone_on_with(pictures, tmp_path):
    class Crash(Reporter):
        def stepped(self, epoch, step, *_):
            if step == 3:
                raise MemoryError

    with pytest.raises(MemoryError):
        begin(pictures, tmp_path / "early", reporter=Crash())
    assert not (tmp_path / "early").exists()
    with pytest.raises(MemoryError):
        begin(pictures, tmp_path / "late", reporter=Crash(), pace=Pace(workers=0, steps=1))
    assert [row.epoch for row in resume(tmp_path / "late", pace=Pace(workers=0)).rows] == [1, 2, 3]


def test_what_a_killed_run_was_writing_is_gone_when_fit_goes_on(pictures, tmp_path):
    setup = prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), image_size=16, device="cpu")
    new_run_folder(tmp_path / "run", settings={}, resume=setup.to_dict())  # killed as it was about to begin
    (tmp_path / "run" / ".best-half").mkdir()
    fit(setup, tmp_path / "run", pace=Pace(workers=0), goes_on=True)
    assert not list((tmp_path / "run").glob(".*"))


def test_a_run_killed_before_its_first_checkpoint_begins(whole, pictures, tmp_path):
    setup = prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), image_size=16, device="cpu")
    new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "step-000000000.unfinished").write_bytes(b"")
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(whole / "last", tmp_path / "run" / "last")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in whole.iterdir()}


def test_a_run_from_trained_weights_begins_with_them_from_another_working_directory(pictures, tmp_path, monkeypatch):
    begin(pictures, tmp_path / "body", recipe=replace(RECIPE, epochs=1))
    monkeypatch.chdir(tmp_path)
    recipe = replace(RECIPE, epochs=1, finetune=Finetune(freeze_epochs=0))
    setup = prepare(TINY, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu", weights="body/best")
    new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())
    fit(setup, tmp_path / "whole", pace=Pace(workers=0))
    monkeypatch.chdir("/")
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(tmp_path / "whole" / "last", tmp_path / "run" / "last")
    assert read_card(tmp_path / "run" / "last").provenance["weights"] == "body/best"


def test_a_run_whose_trained_weights_are_others_now_does_not_begin(pictures, tmp_path):
    begin(pictures, tmp_path / "body", recipe=replace(RECIPE, epochs=1))
    recipe = replace(RECIPE, epochs=1, finetune=Finetune(freeze_epochs=0))
    best = tmp_path / "body" / "best"
    setup = prepare(TINY, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu", weights=best)
    new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())
    begin(pictures, tmp_path / "wider", recipe=replace(RECIPE, epochs=1), network=reshape.scale_width(get_network("inception_small"), 0.5))
    shutil.rmtree(best)
    (tmp_path / "wider" / "best").rename(best)
    with pytest.raises(UserError, match=f"the weights {best} are no longer those that the run began with"):
        resume(tmp_path / "run")


def test_a_folder_without_settings_is_told_as_such(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is no run folder that can be resumed: there are no settings in it .*; begin anew"):
        resume(tmp_path / "empty")
    with pytest.raises(UserError, match=r"nothing is no run folder that can be resumed: it isn't there"):
        resume(tmp_path / "nothing")


def test_a_run_folder_is_there_with_its_settings_or_not_at_all(pictures, tmp_path, monkeypatch):
    setup = prepare(TINY, load_splits(pictures), RECIPE, source=str(pictures), image_size=16, device="cpu")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunFolder, "write_resume", full)
    with pytest.raises(UserError, match="No space left on device"):
        new_run_folder(tmp_path / "run", settings=settings_of(setup), resume=setup.to_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize(("minutes", "within"), [(0.0, 0), (1e-9, 8), (5.0, 0)])
def test_zero_minutes_between_checkpoints_are_none_within_an_epoch(minutes, within, pictures, tmp_path, monkeypatch):
    """60 images in batches of 8 at most are 8 steps; beside these there is a checkpoint at the start and one at the end."""
    written = []
    monkeypatch.setattr(Checkpoints, "write", lambda _, step, state: written.append(step))
    begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1), pace=Pace(minutes=minutes, workers=0))
    assert len(written) == within + 2


def test_the_last_two_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 5, 9):
        checkpoints.write(step, {"step": step})
    assert [path.name for path in checkpoints.found()] == ["step-000000005.pt", "step-000000009.pt"]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.write(step, {"step": step})
    newest = checkpoints.found()[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert checkpoints.read_last() == {"step": 1}
    checkpoints.found()[0].write_bytes(b"")
    with pytest.raises(UserError, match="none of 2 checkpoints can be read"):
        checkpoints.read_last()


def test_a_full_disk_ends_the_run_with_the_last_good_checkpoint(whole, pictures, tmp_path, monkeypatch):
    real = os.fsync
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*last good checkpoint is .*step-\d+.pt; make room, then go on"):
        begin(pictures, tmp_path / "run", pace=Pace(workers=0, steps=1))
    monkeypatch.undo()
    assert not list((tmp_path / "run" / "checkpoints").glob("*.unfinished"))
    resume(tmp_path / "run", pace=Pace(workers=0))
    assert_same_weights(whole / "last", tmp_path / "run" / "last")


def test_a_disk_that_is_full_at_once_leaves_no_folder_and_names_none_to_go_on_with(pictures, tmp_path, monkeypatch):
    def write(state, file):
        try:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")  # noqa: B904 - as torch does

    monkeypatch.setattr(torch, "save", write)
    with pytest.raises(UserError, match=r"\(File too large\); no checkpoint was written; make room, or give another folder") as failed:
        begin(pictures, tmp_path / "run")
    assert failed.value.resume is None
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("writer", ["write_rows", "save_model_folder", "finish"])
def test_what_cannot_be_written_after_an_epoch_is_gone_on_with(writer, pictures, tmp_path, monkeypatch):
    """Only a checkpoint's error named the command; the others said to give another place, as if the run was lost."""

    def write(*_, **__):
        raise cannot_write(tmp_path / "run" / "last", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    place = "inceptions.training.run_folder.RunFolder" if writer == "write_rows" else "inceptions.training.run"
    monkeypatch.setattr(f"{place}.{writer}", write)
    with pytest.raises(UserError, match="No space left on device") as failed:
        begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1))
    assert failed.value.resume == tmp_path / "run"
    monkeypatch.undo()
    assert len(resume(tmp_path / "run", pace=Pace(workers=0)).rows) == 1


def test_a_run_that_another_process_trains_is_left_alone(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "HELD_S", 0.1)
    refused = []

    class Second(Reporter):
        """While the first trains, goes on with the same run."""

        def finished_epoch(self, row, *, best):
            again = replace(RECIPE, epochs=1)
            for go_on in (
                lambda: resume(tmp_path / "run", epochs=9),
                lambda: begin(pictures, tmp_path / "run", recipe=again, goes_on=True),
            ):
                with pytest.raises(UserError, match=r"another process trains in .*run; wait until it ends, or stop it") as error:
                    go_on()
                refused.append(error.value)

    begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1), reporter=Second())
    assert len(refused) == 2
    assert not (tmp_path / "run" / ".lock").exists()
    assert len(resume(tmp_path / "run", epochs=2, pace=Pace(workers=0)).rows) == 2


def test_a_folder_that_is_waited_for_is_one_process_s_too(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "HELD_S", 5.0)
    folder, second = RunFolder(tmp_path), ExitStack()
    with ThreadPoolExecutor(1) as waiting:
        with folder.held():
            held = waiting.submit(lambda: second.enter_context(folder.held()))
            time.sleep(0.2)
            assert not held.done()
        held.result()
        monkeypatch.setattr(run_folder, "HELD_S", 0.1)
        with pytest.raises(UserError, match="another process trains"), folder.held():
            pass
        waiting.submit(second.close).result()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("better", [False, True])
def test_the_best_model_is_that_of_the_rows_wherever_it_was_killed(better, pictures, tmp_path, monkeypatch):
    """An epoch that is trained again after a kill may come out otherwise, on a GPU; the lost one's weights must not stay the best."""
    written = run_folder.Checkpoints.write

    def die(checkpoints, step, state):
        if len(state["counters"]["rows"]) == 2:
            raise MemoryError
        written(checkpoints, step, state)

    recipe = replace(RECIPE, epochs=2)
    validated = Run.validated

    def judge(run, score):
        return {**validated(run, score), "val_accuracy": 0.5 if run.at.epoch == 1 else accuracy}

    monkeypatch.setattr(Run, "validated", judge)
    accuracy = 1.0
    with monkeypatch.context() as killed:
        killed.setattr(run_folder.Checkpoints, "write", die)
        with pytest.raises(MemoryError):
            begin(pictures, tmp_path / "run", recipe=recipe)
    accuracy = 1.0 if better else 0.2
    result = resume(tmp_path / "run", pace=Pace(workers=0))
    assert result.best_epoch == (2 if better else 1)
    assert read_card(tmp_path / "run" / "best").metrics["epoch"] == result.best_epoch


def test_a_run_that_was_killed_before_its_best_model_was_there_makes_it_of_the_last(pictures, tmp_path, monkeypatch):
    def die(*_):
        raise MemoryError

    with monkeypatch.context() as killed:
        killed.setattr("inceptions.training.run.copy_whole", die)
        with pytest.raises(MemoryError):
            begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=1))
    assert not (tmp_path / "run" / "best").exists()
    assert resume(tmp_path / "run", pace=Pace(workers=0)).best_epoch == 1
    assert read_card(tmp_path / "run" / "best").metrics["epoch"] == 1


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_damaged_settings_are_told(content, tmp_path):
    (tmp_path / "resume.json").write_text(content)
    with pytest.raises(UserError, match=r"resume\.json is damaged.*begin anew in another folder"):
        resume(tmp_path)


def test_early_stop_ends_a_run_that_no_longer_gets_better(pictures, tmp_path):
    result = begin(pictures, tmp_path / "run", recipe=replace(RECIPE, epochs=30, lr=1e-9, early_stop=2))
    assert len(result.rows) < 30
    assert result.rows[-1].epoch - result.best_epoch == 2


def test_early_stop_without_validation_images_is_said_to_change_nothing(pictures, caplog):
    recipe = replace(RECIPE, early_stop=2)
    prepare(TINY, load_splits(pictures), recipe, source="pictures", image_size=16, device="cpu")
    assert "early_stop" not in caplog.text
    prepare(TINY, replace(load_splits(pictures), val=()), recipe, source="pictures", image_size=16, device="cpu")
    assert "early_stop changes nothing, for there are no validation images" in caplog.text


def test_a_resumed_run_mixes_as_many_shards_as_it_began_with(pictures):
    splits = replace(load_splits(pictures), interleaved=7)  # another size of the cache
    setup = prepare(TINY, splits, RECIPE, source=str(pictures), image_size=16, device="cpu")
    assert restore(setup.to_dict()).splits.interleaved == 7
