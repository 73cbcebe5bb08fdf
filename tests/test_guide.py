"""The guide says what the code computes and the studies found, and the list of studies what is there."""

import json
import re
import sys
from dataclasses import replace
from statistics import median

import pytest
import torch

from inceptions.networks.registry import NETWORKS
from inceptions.networks.trace import trace
from inceptions.studies.catalog import get_study, list_studies
from inceptions.studies.study import SCORED
from inceptions.studies.verdict import RunResult, judge
from tests.documentation import DOCS, HOOK, PAGES, STUDY, blocks

SNIPPETS = [(page, number) for page in PAGES if page.startswith("guide/") for number in range(len(blocks(page, "python")))]


@pytest.mark.parametrize(("page", "number"), SNIPPETS)
def test_snippets_of_the_guide_run_and_what_they_assert_holds(page, number):
    text = blocks(page, "python")[number]
    assert "assert " in text
    exec(text, {})


def test_the_guide_counts_by_formula_what_trace_counts():
    guide = sys.modules["guide"]
    for name in NETWORKS:
        for row in guide.rows_of(name):
            guide.fill(f"<!-- counted {name}:{row.replace(' ', '-')} -->", DOCS)  # which raises where the two differ
    row = guide.rows_of("googlenet")["3a"]
    assert "**128 M**" in guide.fill("<!-- counted googlenet:3a -->", DOCS)
    assert row.cost.multiply_adds == 128_049_152
    assert guide.fill("{{ = 100 * (1 - 2*3*3 / (5*5)) % }} {{ googlenet:3a parameters }}", DOCS) == "28 % 163,696"
    with pytest.raises(ValueError, match="has no row 9z; it has conv1"):
        guide.fill("<!-- counted googlenet:9z -->", DOCS)
    for asked in ("{{ = 2e3 }}", "{{ googlenet:3a params }}", "<!-- draws googlenet:3a -->"):
        with pytest.raises(ValueError, match="nothing is known to stand for"):
            guide.fill(asked, DOCS)


def test_the_backward_graph_computes_what_autograd_does():
    graph = sys.modules["backward_graph"]
    torch.manual_seed(0)
    x = torch.randn(16, 3, dtype=torch.float64, requires_grad=True)
    gamma, beta = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    names = {"x": x, "gamma": gamma, "beta": beta, "eps": 1e-5, "N": 16}
    for step in sorted(graph.STEPS, key=lambda step: (step.column, step.row)):
        if "=" in step.forward:
            exec(step.forward, names)
    names["dy"] = torch.randn(16, 3, dtype=torch.float64)
    names["y"].backward(names["dy"])
    truth = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
    assert torch.allclose(names["y"], truth)
    waiting = [line for step in graph.STEPS for line in step.backward]
    while waiting:  # each as soon as what it needs is there
        ready = next(line for line in waiting if not set(re.findall(r"\bd[a-z]+", line.split(" = ")[1])) - set(names))
        exec(ready, names)
        waiting.remove(ready)
    for found, parameter in (("dx", x), ("dgamma", gamma), ("dbeta", beta)):
        assert torch.allclose(names[found], parameter.grad)


def test_every_claim_has_what_stands_for_it():
    claims = [claim for chapter in sys.modules["claims"].CHAPTERS.values() for claim in chapter]
    studies = {study.name for study in list_studies()}
    run = [claim for claim in claims if claim.kind == "run"]
    assert {claim.place for claim in run if ".md" not in claim.place} <= studies
    assert all((DOCS / "guide" / claim.place.partition("#")[0]).is_file() for claim in run if ".md" in claim.place)
    assert sum(claim.kind in ("computed", "run") for claim in claims) >= 0.8 * len(claims)
    table = sys.modules["guide"].claim_table(DOCS)
    assert len(re.findall(r"^\| \d\.\d+ \|", table, re.MULTILINE)) == len(claims)


def test_every_claim_of_a_study_finds_its_verdicts():
    """Of the studies by score, in what `judge` says of any runs; of the others, on their pages, where these are of today's networks."""
    guide = sys.modules["guide"]
    for claim in (claim for chapter in sys.modules["claims"].CHAPTERS.values() for claim in chapter if claim.about):
        study = get_study(claim.place)
        if study.measure in SCORED:
            runs = [RunResult(arm.name, seed, 0.5, (0.4, 0.5), 10, 1.0) for arm in study.arms for seed in (0, 1)]
            said = [verdict.said for verdict in judge(study, runs, {arm.name: 1 for arm in study.arms})]
        else:
            said = [line.partition("**: ")[2] for line in guide.verdicts_of(study.name, DOCS)]
            if not said or guide.measured_on(study.name, DOCS):
                continue
        assert any(re.search(claim.about, sentence) for sentence in said), claim


def test_the_guide_has_the_speeds_that_were_measured():
    told = re.search(r"(\d+) images/s one at a time and (\d+) by sixteens\]\(\.\./(\S+)\.md\)", PAGES["guide/batch-normalisation.md"])
    rates = json.loads((DOCS / f"{told[3]}.json").read_text(encoding="utf-8"))["rates"]
    measured = {rate["batch_size"]: median(rate["rounds"]["inceptions"]) for rate in rates}
    assert (int(told[1]), int(told[2])) == (round(measured[1]), round(measured[16]))


def test_the_page_of_studies_has_their_numbers(tmp_path):
    pages = sys.modules["study_pages"]
    folder = tmp_path / "studies" / "one"
    folder.mkdir(parents=True)
    values = {
        "arms": [{"name": "a b", "accuracy": {"value": 0.8149}}],
        "verdicts": [{"said": "it dies"}, {"said": "a is 1.0 points less right"}],
        "other_budgets": [{"epochs": 10, "arms": [{"name": "a b", "accuracy": {"value": 0.9}}]}],
    }
    (folder / "study.json").write_text(json.dumps(values), encoding="utf-8")
    assert pages.with_numbers("{{ one/a b accuracy }}, {{ one points less 2 }}", tmp_path) == "81.5 %, 1.0 points"
    assert pages.with_numbers("{{ one@10/a b accuracy }}", tmp_path) == "90.0 %"
    others = (
        "{{ one@9/a b accuracy }}",
        "{{ two/a accuracy }}",
        "{{ one/a accuracy }}",
        "{{ one points more 2 }}",
        "{{ one points less 3 }}",
    )
    for asked in ("{{ one/a b points }}", "{{ one accuracy 1 }}", "{{ one points less 0 }}", *others):
        with pytest.raises(ValueError, match=r"nothing .*stands? for"):
            pages.with_numbers(asked, tmp_path)


def test_results_of_a_study_are_listed_with_their_plot(tmp_path):
    name = list_studies()[0].name
    folder = tmp_path / "studies" / name
    folder.mkdir(parents=True)
    (folder / "study.md").write_text(STUDY, encoding="utf-8")
    assert HOOK.measured(tmp_path) == []  # there is no plot yet
    (folder / "study.svg").touch()
    assert HOOK.measured(tmp_path) == [name]
    assert f"[What was measured]({name}/study.md):\n\n- **Shown**: it is." in HOOK.study_list(tmp_path)
    arms = [{"name": arm.name, "parameters": 1, "multiply_adds": 1} for arm in list_studies()[0].arms]
    (folder / "study.json").write_text(json.dumps({"arms": arms}), encoding="utf-8")
    assert f"({name}/study.md) on an earlier form of its networks:\n\n- **Shown**: it is." in HOOK.study_list(tmp_path)
    shown = HOOK.with_plot(STUDY, has_numbers=False)
    assert "| none | 90.00 |\n\n![Accuracy over steps, and in the end](study.svg)\n\n- **Shown**" in shown
    assert HOOK.plot_of("loss-surface") in HOOK.with_plot(STUDY, has_numbers=False, shows=HOOK.plot_of("loss-surface"))
    assert HOOK.plot_of(name) == HOOK.plot_of("of nobody") != HOOK.plot_of("bn-smoothness")


def write_study(folder, runs, other_budgets=None, study=None):
    costs = [(arm.name, trace(replace(arm.network, aux=())).total) for arm in study.arms] if study else []
    arms = [{"name": name, "parameters": cost.parameters, "multiply_adds": cost.multiply_adds} for name, cost in costs]
    folder.mkdir(parents=True)
    for file in ("study.md", "study.svg"):
        (folder / file).touch()
    others = {} if other_budgets is None else {"other_budgets": other_budgets}
    (folder / "study.json").write_text(json.dumps({"arms": arms, "runs": runs, **others}), encoding="utf-8")


def test_machine_time_counts_a_run_that_studies_share_once(tmp_path):
    shared = {"seed": 0, "seconds": 3600.0, "curve": [0.5]}
    own = [{"seed": seed, "seconds": 1800.0, "curve": [0.5]} for seed in (0, 1)]
    first, second, *_ = list_studies()
    write_study(tmp_path / "studies" / first.name, [shared], study=first)
    write_study(tmp_path / "studies" / second.name, [shared, own[0]], [{"epochs": 2, "runs": [own[1]]}], study=second)
    write_study(tmp_path / "studies" / "of-nobody", [own[0]])
    said = sys.modules["study_pages"].machine_time(tmp_path)
    took = "3 runs, 2.0 hours of training, and what is measured of models after it is not counted"
    assert said == f"2 of the {len(list_studies())} studies have results of these networks: {took}."


def test_a_claim_has_the_verdicts_that_are_on_it(tmp_path):
    study = get_study("modules")
    claims = [claim for claim in sys.modules["claims"].CHAPTERS["GoogLeNet"] if claim.place == study.name]
    table = sys.modules["guide"].claim_table
    assert table(tmp_path).count("| [not run yet](../studies/index.md#modules) |") == 3  # once in another chapter
    write_study(tmp_path / "studies" / study.name, [], study=study)
    page = tmp_path / "studies" / study.name / "study.md"
    page.write_text("- **Shown**: reduced takes 20 % of the multiply-adds of naive.\n", encoding="utf-8")
    rows = [line for line in table(tmp_path).splitlines() if any(claim.said in line for claim in claims)]
    shown = "[run](../studies/modules/study.md): shown, reduced takes 20 % of the multiply-adds of naive. |"
    assert [shown in row for row in rows] == [True, False]
    assert "[not run yet](../studies/index.md#modules) on networks of today |" in rows[1]
    with page.open("a", encoding="utf-8") as file:
        file.write("- **Contradicted**: reduced is 1.0 points less accurate than reduced at once (-2.0 to -0.5).\n")
    rows = [line for line in table(tmp_path).splitlines() if any(claim.said in line for claim in claims)]
    assert shown in rows[0]
    assert ": contradicted, reduced is 1.0 points less accurate than reduced at once (-2.0 to -0.5). |" in rows[1]
