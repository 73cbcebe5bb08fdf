"""Studies of which two are run at once, or whose folders others change between the plan and a run's turn."""

import json
import shutil
from dataclasses import replace

import pytest

from inceptions.data.folders import load_splits
from inceptions.errors import StoppedError, UserError
from inceptions.studies import run
from inceptions.studies.known import read_known
from inceptions.studies.pages import write_pages
from inceptions.studies.planned import checked, claim, plan_runs
from inceptions.studies.study import Study
from tests.studies.tiny import BUDGET, STUDY, contents, go

pytestmark = pytest.mark.usefixtures("plain_report")

ONE = Study("one", "t", "h", "1", STUDY.arms[:1], ())


def planned_run(pictures, folder, *, epochs):
    (planned,) = plan_runs(ONE, ONE.arms[0], load_splits(pictures), folder, seeds=1, epochs=epochs, source=str(pictures), device="cpu")
    return planned


def test_of_two_studies_that_begin_the_same_run_with_other_settings_the_second_stops(module_pictures, tmp_path):
    first, second = (planned_run(module_pictures, tmp_path, epochs=epochs) for epochs in (1, 4))
    assert [checked(first), checked(second)] == [first, second]  # there is nothing yet
    claim(first)
    claim(first)  # which goes on
    with pytest.raises(UserError, match=r"seed-0 holds a run of other settings \(epochs 1, now 4\); it is kept"):
        claim(second)
    assert json.loads(first.settings_file.read_text()) == first.settings


def test_a_run_of_other_settings_that_has_come_since_the_plan_does_not_count(module_pictures, tmp_path, monkeypatch):
    """The other study of the same folder begins behind this one's plan, and is through before its turn."""
    plan = run.plan_study

    def plan_late(*given, **options):
        planned = plan(*given, **options)
        monkeypatch.setattr(run, "plan_study", plan)
        go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1))
        return planned

    monkeypatch.setattr(run, "plan_study", plan_late)
    with pytest.raises(UserError, match=r"holds a run of other settings \(epochs 1, now 2\)"):
        go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1, epochs=2))
    assert go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1)).epochs == 1


def test_a_run_that_another_process_ends_while_this_one_waits_counts(whole, module_pictures, tmp_path, monkeypatch):
    source = whole[1] / "none" / "seed-0"

    def end(setup, folder, **_):
        shutil.copytree(source, folder)
        raise told

    told = UserError("another process has ended the run meanwhile")
    monkeypatch.setattr(run, "fit", end)
    result = go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1))
    assert result.runs == whole[0].runs[:1]
    shutil.rmtree(tmp_path / "study")
    told = StoppedError("stopped by Ctrl-C, as the run was through")
    with pytest.raises(StoppedError):
        go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1))
    shutil.rmtree(tmp_path / "study")
    source, told = tmp_path / "nothing", UserError("another process has ended the run meanwhile")
    source.mkdir()
    with pytest.raises(UserError, match="meanwhile"):
        go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1))


def test_a_run_that_was_to_serve_and_is_gone_is_done_in_the_study_itself(whole, module_pictures, tmp_path, monkeypatch):
    beside, plan = shutil.copytree(whole[1], tmp_path / "beside"), run.plan_study

    def plan_early(*given, **options):
        planned = plan(*given, **options)
        assert planned[0].served_by == beside / "none" / "seed-0"
        shutil.rmtree(beside)
        return planned

    monkeypatch.setattr(run, "plan_study", plan_early)
    result = go(tmp_path / "study", module_pictures, study=ONE, budget=replace(BUDGET, seeds=1))
    assert result.runs == (replace(whole[0].runs[0], seconds=result.runs[0].seconds),)
    assert (tmp_path / "study" / "none" / "seed-0" / "best").is_dir()


def test_a_study_that_is_being_written_is_not_read(whole, tmp_path):
    write_pages(whole[0], tmp_path / "smoothing", command="", data="")
    known, unfinished = read_known(tmp_path), tmp_path / "other" / ".study.json-abc" / "new"
    unfinished.mkdir(parents=True)
    (unfinished / "study.json").write_text('{"runs": [')
    assert read_known(tmp_path) == known
    hidden = shutil.copytree(tmp_path / "smoothing", tmp_path / ".hidden")  # in which all are, by the name that is given
    assert read_known(hidden) == known


def test_several_processes_do_not_run_a_study(module_pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="a study is run by one process; start it without torchrun"):
        go(tmp_path / "study", module_pictures)
    assert contents(tmp_path) == {}
