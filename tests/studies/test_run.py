"""Studies on pictures that a network learns in seconds: run, killed, gone on with, told."""

import json
import math
import shutil
import sys
from dataclasses import fields, replace

import pytest
import torch

from inceptions.data.folders import load_splits
from inceptions.errors import DivergedError, UserError
from inceptions.evaluation.saved import read_predictions
from inceptions.networks import reshape
from inceptions.networks.modules.models import Classifier
from inceptions.networks.trace import trace
from inceptions.studies import averages, run
from inceptions.studies.catalog import get_study, list_studies
from inceptions.studies.known import read_known
from inceptions.studies.pages import as_markdown, write_pages
from inceptions.studies.planned import plan_runs
from inceptions.studies.run import Budget, run_budgets, run_study, take_evenly
from inceptions.studies.study import Arm, Claim, Study
from inceptions.training.progress import Reporter
from inceptions.training.recipe import Recipe
from tests.studies.tiny import BUDGET, RECIPE, STUDY, TINY, contents, go

pytestmark = pytest.mark.usefixtures("plain_report")


@pytest.mark.parametrize("study", list_studies(), ids=lambda study: study.name)
def test_every_study_says_what_it_is_and_every_arm_can_be_built(study):
    assert study.hypothesis
    assert study.source
    assert study.claims or study.measure == "averages"
    for arm in study.arms:
        assert arm.network.image_size == 32
        assert trace(arm.network).total.multiply_adds < 300e6
        Classifier(reshape.with_classes(arm.network, 10))
    assert len({(arm.network, arm.recipe, arm.noise) for arm in study.arms}) == len(study.arms)


def test_arms_differ_in_what_is_compared_alone():
    for study in list_studies():
        recipes = {arm.recipe for arm in study.arms}
        networks = {arm.network for arm in study.arms}
        assert len(recipes) == 1 or len(networks) == 1 or study.name in ("batch-norm", "loss-surface", "dropout")
        if len(networks) == 1:
            differing = {field.name for field in fields(Recipe) if len({getattr(recipe, field.name) for recipe in recipes}) > 1}
            assert len(differing) <= 1 or (study.name, differing) == ("optimizer", {"optimizer", "lr"})


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UserError, match="did you mean dropout"):
        get_study("dropuot")


@pytest.fixture
def finished(whole, tmp_path):
    """The folder of a study that is through, to be spoilt."""
    return shutil.copytree(whole[1], tmp_path / "study")


def test_a_study_leaves_table_plot_and_verdict(whole, tmp_path):
    result, _, ended = whole
    assert [(run.arm, run.seed) for run in ended] == [("none", 0), ("a tenth", 0), ("none", 1), ("a tenth", 1)]
    assert len(result.verdicts) == 1
    write_pages(result, tmp_path, command="inceptions study smoothing", data="pictures")
    text = (tmp_path / "study.md").read_text()
    assert text == as_markdown(result, command="inceptions study smoothing", data="pictures")
    assert "| none |" in text
    assert (tmp_path / "study.svg").stat().st_size > 1000
    assert json.loads((tmp_path / "study.json").read_text())["verdicts"][0]["word"] == result.verdicts[0].word


def test_what_is_through_is_not_run_again(whole, finished, module_pictures, monkeypatch):
    monkeypatch.setattr(run, "fit", None)
    before = contents(finished)
    assert go(finished, module_pictures) == whole[0]
    assert contents(finished) == before


def test_a_run_of_a_study_beside_it_serves_where_it_is_alike_in_all(whole, module_pictures, tmp_path, monkeypatch):
    shutil.copytree(whole[1], tmp_path / "study-smoothing")
    (tmp_path / "study-smoothing" / "none" / "seed-9.json").write_text("no settings")
    monkeypatch.setattr(run, "fit", None)
    plain = Arm("what others call none", TINY, STUDY.arms[0].recipe)
    result = go(tmp_path / "study-other", module_pictures, study=Study("other", "t", "h", "1", (plain,), ()))
    assert [replace(each, arm="none") for each in result.runs] == [each for each in whole[0].runs if each.arm == "none"]
    assert not (tmp_path / "study-other").exists()
    differing = Arm("none", TINY, replace(STUDY.arms[0].recipe, lr=0.2))
    with pytest.raises(TypeError, match="not callable"):  # it would train
        go(tmp_path / "study-other", module_pictures, study=Study("other", "t", "h", "1", (differing,), ()))


def test_a_run_on_other_images_of_the_same_names_does_not_serve(finished, module_pictures, tmp_path, monkeypatch):
    other = shutil.copytree(module_pictures, tmp_path / "copies")
    monkeypatch.setattr(run, "fit", None)
    with pytest.raises(TypeError, match="not callable"):
        go(tmp_path / "study-other", other, study=Study("other", "t", "h", "1", STUDY.arms[:1], ()))


def test_runs_told_of_by_the_pages_of_a_study_count_where_they_are_alike_in_all(whole, module_pictures, tmp_path, monkeypatch):
    longer = replace(whole[0].runs[0], curve=(0.5, math.nan), known_by="of two epochs")
    result = replace(whole[0], others=(replace(whole[0], runs=(longer,)),))
    write_pages(result, tmp_path / "elsewhere" / "smoothing", command="", data="")
    known, moved = read_known(tmp_path / "elsewhere"), shutil.copytree(module_pictures, tmp_path / "copies")
    assert sorted(known) == sorted(each.known_by for each in (*whole[0].runs, longer))
    assert math.isnan(known["of two epochs"].curve[1])
    monkeypatch.setattr(run, "fit", None)
    plain = Study("other", "t", "h", "1", (replace(STUDY.arms[0], name="what others call none"),), ())
    assert go(tmp_path / "new", moved, study=plain, known=known).runs == tuple(
        replace(each, arm="what others call none") for each in whole[0].runs if each.arm == "none"
    )
    assert not (tmp_path / "new").exists()
    differing = replace(plain, arms=(Arm("none", TINY, replace(STUDY.arms[0].recipe, lr=0.2)),))
    for study in (differing, replace(plain, measure="averages")):  # of which models are needed
        with pytest.raises(TypeError, match="not callable"):  # it would train
            go(tmp_path / "new", moved, study=study, known=known)


ONE = {"arm": "none", "seed": 0, "accuracy": 0.5, "curve": [0.5], "steps_per_epoch": 3, "seconds": 1.0, "died": False, "known_by": "it"}


@pytest.mark.parametrize("study", [{"runs": []}, {"runs": [{"arm": "none", "seed": 0}]}, {"runs": [{**ONE, "known_by": ""}]}])
def test_pages_that_tell_of_no_run_that_could_count_are_told(tmp_path, study):
    (tmp_path / "study.json").write_text(json.dumps(study))
    with pytest.raises(UserError, match="whose runs say what they are known by; give the folder"):
        read_known(tmp_path)


def test_pages_of_a_later_version_are_read(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"runs": [{**ONE, "of_tomorrow": 1}], "of_tomorrow": {}}))
    assert read_known(tmp_path)["it"].curve == (0.5,)


@pytest.mark.parametrize(
    "study",
    [
        "no json",
        [],
        {"runs": None},
        {"runs": ["none"]},
        {"runs": [ONE], "other_budgets": None},
        *(
            {"runs": [{**ONE, name: value}]}
            for name, value in {"curve": None, "accuracy": None, "seconds": "soon", "known_by": ["it"]}.items()
        ),
        {"runs": [{**ONE, "curve": []}]},
        {"runs": [{name: value for name, value in ONE.items() if name != "seconds"}]},
    ],
    ids=str,
)
def test_pages_that_no_study_left_are_told_by_name(tmp_path, study):
    (tmp_path / "study.json").write_text(study if isinstance(study, str) else json.dumps(study))
    with pytest.raises(UserError, match=r"study\.json is not what a study leaves \(.+\); move it away"):
        read_known(tmp_path)


def test_numbers_of_other_runs_are_not_written_over(whole, module_pictures, tmp_path, monkeypatch):
    write_pages(whole[0], tmp_path / "study", command="", data="")
    monkeypatch.setattr(run, "fit", None)
    known, before = read_known(tmp_path), contents(tmp_path)
    assert go(tmp_path / "study", module_pictures, known=known).runs == whole[0].runs
    other = replace(STUDY, arms=tuple(replace(arm, recipe=replace(arm.recipe, weight_decay=0.125)) for arm in STUDY.arms))
    for changed in ({"study": other}, {"budget": replace(BUDGET, epochs=2)}):
        with pytest.raises(UserError, match=r"study\.json tells of a run of other settings \(none, seed 0\); it is kept"):
            go(tmp_path / "study", module_pictures, known=known, **changed)
    assert contents(tmp_path) == before


def test_a_run_is_known_by_what_decides_it_and_not_by_words(module_pictures, tmp_path):
    splits, arm = load_splits(module_pictures), STUDY.arms[0]

    def known_by(**changes):
        changed = replace(arm, recipe=replace(arm.recipe, **changes))
        (planned,) = plan_runs(STUDY, changed, splits, tmp_path, seeds=1, epochs=1, source=str(module_pictures), device="cpu")
        return planned.known_by, replace(planned, setup=replace(planned.setup, autocast=torch.bfloat16)).known_by

    plain, in_bfloat16 = known_by()
    assert known_by(source="another word", expect="much")[0] == plain
    assert len({plain, in_bfloat16, known_by(lr=0.25)[0]}) == 3


@pytest.mark.parametrize(("epochs", "others"), [(1, (2,)), (2, (1, 4)), (5, (2, 10))])
def test_other_budgets_are_half_and_double(epochs, others):
    assert run.other_budgets(epochs) == others


def test_a_run_beside_it_that_is_not_through_does_not_serve(finished, module_pictures, tmp_path, monkeypatch):
    shutil.rmtree(finished / "none" / "seed-1" / "best")
    monkeypatch.setattr(run, "fit", None)
    with pytest.raises(TypeError, match="not callable"):
        go(tmp_path / "study-other", module_pictures, study=Study("other", "t", "h", "1", STUDY.arms[:1], ()))


def test_more_seeds_run_beside_those_that_are_there(whole, finished, module_pictures):
    before, arm = contents(finished), Study("s", "t", "h", "1", STUDY.arms[:1], ())
    result = go(finished, module_pictures, study=arm, budget=replace(BUDGET, seeds=3))
    assert result.runs[:2] == tuple(each for each in whole[0].runs if each.arm == "none")
    assert result.runs[2].seed == 2
    assert contents(finished).items() > before.items()


@pytest.mark.parametrize(
    ("changed", "said"), [({"epochs": 2}, r"none/seed-0 holds .* \(epochs 1, now 2\)"), ({"images": 60}, r"\(other images\)")]
)
def test_runs_of_another_budget_are_kept_and_told_before_the_first_step(finished, module_pictures, monkeypatch, changed, said):
    monkeypatch.setattr(run, "fit", None)
    before = contents(finished)
    with pytest.raises(UserError, match=f"{said}; it is kept: give another folder"):
        go(finished, module_pictures, budget=replace(BUDGET, **changed))
    assert contents(finished) == before


def test_a_folder_of_something_else_is_kept(module_pictures, tmp_path):
    mine = tmp_path / "none" / "seed-0" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(UserError, match="no run of this study; it is kept"):
        go(tmp_path, module_pictures)
    assert mine.read_text() == "years of work"


def test_claims_are_judged_with_half_and_double_the_epochs_too(module_pictures, tmp_path, monkeypatch):
    def judged():
        budget = Budget(seeds=1, epochs=2, images=30, half_and_double=True)
        splits = load_splits(module_pictures)
        return run_budgets(STUDY, splits, "pictures", tmp_path / "study", budget=budget, device="cpu", workers=0)

    result = judged()
    assert [(other.epochs, len(other.runs)) for other in (result, *result.others)] == [(2, 2), (1, 2), (4, 2)]
    text = as_markdown(result, command="c", data="d")
    arms = ", ".join(f"{arm.name} {100 * arm.accuracy.value:.1f} %" for arm in result.others[0].arms)
    assert f"With 1 epoch and not 2, {arms}: not shown at this size, a tenth is " in text
    assert "With 4 epochs and not 2, " in text
    monkeypatch.setattr(run, "fit", None)
    assert judged() == result
    monkeypatch.undo()
    again = run_study(STUDY, load_splits(module_pictures), "pictures", tmp_path / "other", budget=Budget(1, 4, 30), device="cpu", workers=0)
    assert again.runs == result.others[1].runs  # which are those of the other study's double


class Dies(Reporter):
    """Dies in the second epoch."""

    def stepped(self, epoch, *_):
        if epoch == 2:
            raise MemoryError


def test_a_run_whose_loss_is_no_number_has_died_and_is_not_run_again(module_pictures, tmp_path, monkeypatch):
    wild = replace(RECIPE, lr=1e30, clip_norm=None)
    arms = (STUDY.arms[0], Arm("wild", TINY, wild))
    study = Study("s", "t", "h", "1", arms, (Claim("none", "wild"),))
    result = go(tmp_path / "study", module_pictures, study=study, budget=Budget(seeds=2, epochs=3, images=30))
    dead = [run for run in result.runs if run.arm == "wild"]
    assert [(run.died, run.accuracy, len(run.curve)) for run in dead] == [(True, 1 / 3, 3)] * 2  # three classes, as many images of each
    assert "Runs that died, or are no better than saying one class of all images: " in as_markdown(result, command="c", data="d")
    assert "wild: 2 of 2" in as_markdown(result, command="c", data="d")
    monkeypatch.setattr(run, "fit", None)
    assert go(tmp_path / "study", module_pictures, study=study, budget=Budget(seeds=2, epochs=3, images=30)) == result


def test_where_models_are_wanted_a_loss_that_is_no_number_ends_it(module_pictures, tmp_path):
    study = Study("s", "t", "h", "1", (Arm("wild", TINY, replace(RECIPE, lr=1e30, clip_norm=None)),), (), "averages")
    with pytest.raises(DivergedError, match="the loss is"):
        go(tmp_path / "study", module_pictures, study=study, budget=Budget(seeds=1, epochs=3, images=30))


class Heard(Reporter):
    def __init__(self):
        self.starts = []

    def started(self, start):
        self.starts.append((start.epoch, start.step))


def test_a_killed_run_goes_on_from_its_checkpoint(module_pictures, tmp_path):
    study, budget, heard = Study("s", "t", "h", "1", STUDY.arms[:1], ()), Budget(seeds=1, epochs=2, images=30), Heard()
    with pytest.raises(MemoryError):
        go(tmp_path, module_pictures, study=study, budget=budget, reporter=Dies())
    first = (tmp_path / "none" / "seed-0" / "metrics.csv").read_text()
    (done,) = go(tmp_path, module_pictures, study=study, budget=budget, reporter=heard).runs
    assert heard.starts == [(2, 0)]
    assert len(done.curve) == 2
    assert (tmp_path / "none" / "seed-0" / "metrics.csv").read_text().startswith(first)


@pytest.mark.parametrize("module", ["matplotlib", "pyarrow", "scipy"])
def test_a_library_that_is_missing_is_told_before_anything_is_made(module_pictures, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"the study smoothing needs {module}, not installed here; pip install 'inceptions\[report\]'"):
        go(tmp_path / "study", module_pictures)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(("measure", "without"), [("averages", ("test", "val")), ("steps", ("val",))])
def test_images_to_measure_by_are_asked_for_before_the_first_step(measure, without, module_pictures, tmp_path):
    """All seeds were trained, and then it said what the averages are on no images."""
    splits = replace(load_splits(module_pictures), **dict.fromkeys(without, ()))
    with pytest.raises(UserError, match=r"measures on .*validation images, and pictures has none"):
        run_study(replace(STUDY, measure=measure), splits, "pictures", tmp_path / "out", budget=BUDGET, device="cpu")
    assert not (tmp_path / "out").exists()


def test_ray_is_asked_for_before_the_arms_that_do_without(module_pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    arms = (STUDY.arms[0], Arm("asynchronous", TINY, replace(RECIPE, asynchronous=2)))
    with pytest.raises(UserError, match=r"needs ray, not installed here; pip install 'inceptions\[ray\]'"):
        go(tmp_path / "study", module_pictures, study=replace(STUDY, arms=arms, claims=()))
    assert not (tmp_path / "study").exists()


@pytest.mark.exhaustive
def test_models_of_more_seeds_and_more_crops_are_averaged(pictures, tmp_path, monkeypatch):
    study = Study("averages", "t", "h", "1409.4842", (Arm("model", TINY, RECIPE),), (), "averages", seeds=2)
    splits = load_splits(pictures)
    result = run_study(study, splits, "pictures", tmp_path, budget=Budget(epochs=1, images=90), device="cpu", workers=0)
    assert [(row.models, row.crops) for row in result.averages] == [(n, crops) for crops in (1, 10, 144) for n in (1, 2)]
    assert {row.images for row in result.averages} == {len(splits.test)}
    assert result.images == (len(splits.train), len(splits.test))
    monkeypatch.setattr(averages, "evaluate", None)  # which isn't done again
    again = run_study(study, splits, "pictures", tmp_path, budget=Budget(epochs=1, images=90), device="cpu", workers=0)
    assert (again.averages, again.verdicts) == (result.averages, result.verdicts)
    with pytest.raises(TypeError, match="not callable"):  # of other crops it would be
        run_study(replace(study, crops=(1, 10)), splits, "pictures", tmp_path, budget=Budget(epochs=1, images=90), device="cpu", workers=0)
    rows = result.averages
    assert rows[-1].multiply_adds == 2 * 144 * rows[0].multiply_adds
    said = {(verdict.claim.better, verdict.claim.worse) for verdict in result.verdicts}
    assert ("each model, 144 crops", "each model, 10 crops") in said
    assert ("2 models, 1 crop", "each model, 1 crop") in said
    write_pages(result, tmp_path, command="inceptions study averages", data="pictures")
    saved = read_predictions(tmp_path / "predictions.parquet").scores
    for row, told in zip(rows, json.loads((tmp_path / "study.json").read_text())["averages"], strict=True):
        score = saved[" + ".join(f"seed {seed}" for seed in range(row.models)), row.crops]
        assert told["error"]["value"] == pytest.approx(1 - score.accuracy)
        assert f"| {row.models} | {row.crops} | " in (tmp_path / "study.md").read_text()


def test_fewer_images_are_the_same_wherever_the_folder_is(pictures, tmp_path):
    """Absolute paths were hashed, so that a study on a copy of the images was one on other images."""
    shutil.copytree(pictures, tmp_path / "copy")
    here, there = (take_evenly(load_splits(folder).train, 30) for folder in (pictures, tmp_path / "copy"))
    assert [sample.path.relative_to(pictures) for sample in here] == [sample.path.relative_to(tmp_path / "copy") for sample in there]


def test_fewer_images_are_the_same_share_of_each_class(pictures):
    train = load_splits(pictures).train
    kept = take_evenly(train, 30)
    assert len(kept) == 30
    assert {label: sum(s.label == label for s in kept) for label in range(3)} == {0: 10, 1: 10, 2: 10}
    assert take_evenly(train, 30) == kept
    assert take_evenly(train, 1000) == train
