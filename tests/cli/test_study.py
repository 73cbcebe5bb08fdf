"""The `study` command from pictures to a verdict, and what it says where something is in the way."""

import errno
import json
import os
import shutil
import signal
import sys
from dataclasses import replace

import pytest

from inceptions.errors import StoppedError, UserError
from inceptions.studies import catalog, run
from inceptions.studies.study import Arm, BatchNoise, change_recipes
from tests.studies.tiny import RECIPE, STUDY, TINY

pytestmark = pytest.mark.usefixtures("plain_report")


@pytest.fixture
def study(inceptions, pictures, tmp_path, monkeypatch):
    """Run `inceptions study smoothing` with one seed and one epoch on 30 pictures."""
    monkeypatch.setattr(catalog, "list_studies", lambda: (STUDY,))
    monkeypatch.chdir(tmp_path)
    arguments = ("study", "smoothing", "--data", pictures, "--seeds", 1, "--images", 30, "--workers", 0, "--device", "cpu")
    return lambda *more: inceptions(*arguments, "--epochs", 1, *more)


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(run, "fit", None)


def test_a_study_prints_its_table_and_writes_its_pages(study, tmp_path, monkeypatch):
    done = study()
    assert (done.code, done.err.splitlines()[0]) == (0, "Label smoothing")
    assert "1/2  none, seed 0: " in done.err
    folder = tmp_path / "runs" / "study-smoothing"
    assert done.out.startswith((folder / "study.md").read_text())
    assert "| one seed |" in done.out
    assert "not shown at this size" in done.out.lower()
    assert (folder / "study.svg").read_text().startswith("<?xml")

    monkeypatch.setattr(run, "fit", None)  # what follows trains nothing
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("seed-0/*")}
    assert study().out == done.out
    refused = study("--epochs", 2)
    assert (refused.code, refused.out) == (2, "")
    assert "epochs 1, now 2" in refused.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("seed-0/*")} == before


def test_all_studies_run_one_after_another_and_one_that_cannot_is_named_in_the_end(inceptions, pictures, tmp_path, monkeypatch):
    ray = replace(STUDY, name="asynchronous", arms=(STUDY.arms[0], Arm("two", TINY, replace(RECIPE, asynchronous=2))), claims=())
    again = replace(STUDY, name="again", title="The same again")
    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, ray, again))
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    arguments = ("study", "all", "--data", pictures, "--seeds", 1, "--images", 30, "--workers", 0, "--device", "cpu", "--epochs", 1)
    done = inceptions(*arguments, "--output", "night")
    assert done.code == 2
    assert "asynchronous: the study asynchronous needs ray" in done.err
    assert done.err.splitlines()[-1] == "inceptions: 1 of 3 studies are not whole: asynchronous; what is above says why"
    assert "2 runs, 0.0 hours of training" in done.out  # those of the second are those of the first
    assert sorted(path.parent.name for path in (tmp_path / "night").glob("*/study.md")) == ["again", "smoothing"]
    as_json = json.loads(inceptions(*arguments, "--output", "night", "--json").out)
    assert [each["study"] for each in as_json] == ["smoothing", "again"]


def test_all_studies_stop_when_one_is_stopped(inceptions, pictures, tmp_path, monkeypatch):
    begun = []

    def stopped(study, *_, **__):
        begun.append(study.name)
        raise StoppedError("stopped; what is done is kept")

    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, replace(STUDY, name="again")))
    monkeypatch.setattr("inceptions.cli.study._run_study", stopped)
    done = inceptions("study", "all", "--data", pictures, "--output", tmp_path / "night")
    assert begun == ["smoothing"]
    assert done.err.splitlines()[-1].endswith("stopped; what is done is kept")


@pytest.mark.parametrize(("more", "epochs"), [((), 1), (("--half-and-double",), 3)])
def test_what_all_would_take_counts_each_run_once_and_every_budget(inceptions, pictures, tmp_path, monkeypatch, more, epochs):
    monkeypatch.chdir(tmp_path)
    noisy = Arm("noisy", TINY, RECIPE, BatchNoise())
    smooth = replace(STUDY, name="smooth", measure="smoothness", arms=(STUDY.arms[0], Arm("plain", TINY, RECIPE), noisy), claims=())
    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, replace(STUDY, name="again"), smooth))
    asked = ("study", "all", "--data", pictures, "--dry-run", "--json", "--epochs", 1, "--device", "cpu")
    rows = json.loads(inceptions(*asked, *more).out)
    assert [(row["arm"], row["epochs"]) for row in rows] == [
        (arm, epochs)
        for arm in ("smooth: none", "smooth: plain", "smooth: noisy")  # plain is a tenth, which it serves
    ]


def test_what_it_would_take_counts_what_is_left(study, tmp_path):
    def left(*more):
        rows = json.loads(study("--dry-run", "--json", *more).out)
        return [(row["arm"], row["runs"], row["epochs"], row["seconds"] > 0) for row in rows]

    assert left() == [("none", 1, 1, True), ("a tenth", 1, 1, True)]
    assert not (tmp_path / "runs").exists()
    study()
    assert left() == [("none", 0, 0, False), ("a tenth", 0, 0, False)]
    assert left("--half-and-double") == [("none", 1, 2, True), ("a tenth", 1, 2, True)]
    shutil.rmtree(tmp_path / "runs" / "study-smoothing" / "a-tenth" / "seed-0")
    assert left() == [("none", 0, 0, False), ("a tenth", 1, 1, True)]
    assert left("--seeds", 2) == [("none", 1, 1, True), ("a tenth", 2, 1, True)]
    other = study("--dry-run", "--set", "lr=0.3")
    assert (other.code, "holds a run of other settings" in " ".join(other.err.split())) == (2, True)


def test_of_all_studies_a_folder_of_other_runs_is_told_and_the_rest_counted(study, inceptions, pictures, tmp_path, monkeypatch):
    study()
    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, replace(STUDY, name="again")))
    asked = ("study", "all", "--data", pictures, "--epochs", 1, "--seeds", 1, "--images", 20, "--device", "cpu", "--dry-run", "--json")
    done = inceptions(*asked)
    assert [(row["arm"], row["runs"]) for row in json.loads(done.out)] == [("again: none", 1), ("again: a tenth", 1)]
    assert "smoothing is left out" in " ".join(done.err.split())
    assert done.code == 2
    assert "1 of 2 studies are not counted: smoothing" in " ".join(done.err.split())


def test_a_warning_of_what_is_changed_comes_once_for_each_arm(study):
    done = study("--dry-run", "--seeds", 3, "--set", "sampling=balanced", "--set", "class_weights=balanced")
    assert done.err.count("both make up for rare classes") == 4  # two arms, as they are planned and as they are timed


def test_runs_of_another_machine_count(study, tmp_path, monkeypatch):
    first = study()
    (tmp_path / "runs").rename(tmp_path / "brought")
    for folder in (tmp_path / "brought").glob("*/*/"):
        shutil.rmtree(folder)  # the numbers are enough
    monkeypatch.setattr(run, "fit", None)
    left = json.loads(study("--known", tmp_path / "brought", "--dry-run", "--json").out)
    assert [row["runs"] for row in left] == [0, 0]
    again = study("--known", tmp_path / "brought").out
    assert again.splitlines()[:-1] == first.out.splitlines()[:-1]  # the last is the command
    assert {path.name for path in (tmp_path / "runs" / "study-smoothing").iterdir()} == {"study.md", "study.json", "study.svg"}


def test_a_changed_field_is_that_of_every_arm(study, tmp_path):
    assert study("--set", "weight_decay=0.125", "--set", "optimizer.momentum=0.5").code == 0
    settings = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("runs/study-smoothing/*/seed-0.json"))]
    assert [(run["weight_decay"], run["optimizer"]["momentum"]) for run in settings] == [(0.125, 0.5)] * 2
    assert sorted(run["label_smoothing"] for run in settings) == [0.0, 0.1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("label_smoothing=0.2", "changes label_smoothing, in which the arms of the study smoothing differ"),
        ("seed=3", "--seeds says how many"),
        ("split_seed=3", "--split-seed says"),
        ("epochs=3", "--epochs says"),
        ("lrr=0.1", "did you mean lr?"),
        ("lr", "FIELD=VALUE"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_field_that_arms_differ_in_is_not_changed(study, no_training, tmp_path, line, said, more):
    refused = study("--set", line, *more)
    assert (refused.code, refused.out) == (2, "")
    assert said in " ".join(refused.err.split())
    assert not (tmp_path / "runs").exists()


def test_a_change_by_which_arms_would_be_alike_is_refused_though_it_does_not_name_what_differs():
    with pytest.raises(UserError, match=r"optimizer=adam: changes lr, in which the arms of the study batch-norm differ"):
        change_recipes(catalog.get_study("batch-norm"), ["optimizer=adam"])


def test_of_all_studies_those_that_a_change_does_not_fit_are_left_out(inceptions, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = replace(STUDY, name="plain", arms=(STUDY.arms[0], replace(STUDY.arms[1], recipe=replace(RECIPE, weight_decay=0.1))))
    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, other))
    asked = ("study", "all", "--data", pictures, "--dry-run", "--json", "--epochs", 1, "--device", "cpu")
    done = inceptions(*asked, "--set", "weight_decay=0.2")
    assert [row["arm"] for row in json.loads(done.out)] == ["none", "a tenth"]
    assert "plain is left out" in " ".join(done.err.split())
    none_left = inceptions(*asked, "--set", "weight_decay=0.2", "--set", "label_smoothing=0.3")
    assert (none_left.code, none_left.out) == (2, "")
    assert "no study is left" in none_left.err
    wrong = inceptions(*asked, "--set", "lrr=0.2")
    assert (wrong.code, "left out" in wrong.err, "did you mean lr?" in wrong.err) == (2, False, True)


def test_what_is_known_is_read_once_and_before_all(inceptions, pictures, tmp_path, monkeypatch, no_training):
    monkeypatch.setattr("inceptions.cli.study.list_studies", lambda: (STUDY, replace(STUDY, name="again")))
    done = inceptions("study", "all", "--data", pictures, "--known", tmp_path, "--output", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("has no study.json") == 1


def test_a_full_disk_at_the_end_loses_nothing(study, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("matplotlib.figure.Figure.savefig", fill)
        full.setattr("inceptions.training.report.REPORT_MODULES", ("no such library",))  # the runs' own reports are left out
        failed, as_json = study(), study("--json")
    assert failed.code == as_json.code == 2
    assert "| a tenth |" in failed.out
    assert [arm["name"] for arm in json.loads(as_json.out)["arms"]] == ["none", "a tenth"]
    assert failed.err.splitlines()[-1].startswith("inceptions: can't write runs/study-smoothing/study.svg (No space left on device)")
    monkeypatch.setattr(run, "fit", None)
    assert study().out.startswith(failed.out)


def test_a_folder_that_cannot_be_made_is_told_before_the_first_step(study, no_training, tmp_path):
    (tmp_path / "file").touch()
    refused = study("--output", tmp_path / "file" / "study")
    assert (refused.code, refused.out) == (2, "")
    assert f"can't write {tmp_path / 'file'}" in refused.err


def test_what_was_stopped_goes_on_by_the_same_command(study, monkeypatch):
    def stop(*_):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("inceptions.training.progress.Reporter.stepped", stop)
        stopped = study()
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err.endswith("stopped; what is done is in runs/study-smoothing, and the same command goes on from there\n")
    assert study().code == 0


def test_a_missing_library_is_told_before_the_first_step(study, no_training, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = study()
    assert (refused.code, refused.out) == (2, "")
    assert "needs matplotlib, not installed here; pip install 'inceptions[report]'" in refused.err
    assert not (tmp_path / "runs").exists()


def test_a_study_without_images_asks_for_them(inceptions):
    refused = inceptions("study", "five")
    assert refused.code == 2
    assert "--data DATA" in refused.err
