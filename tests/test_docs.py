"""What the documentation says is what happens, and it builds."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from mkdocs.config import load_config
from mkdocs.structure.files import Files

from inceptions.cli.commands import app
from inceptions.data.preprocess import for_training
from inceptions.inference.export import export_model
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import NETWORKS
from inceptions.networks.trace import trace
from inceptions.studies.catalog import get_study, list_studies
from inceptions.studies.study import SCORED
from inceptions.studies.verdict import RunResult, judge
from inceptions.training.recipes import RECIPES
from inceptions.weights.folder import save_model
from inceptions.weights.locate import find_model
from tests.pictures import paint

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
STUDY = """\
# A study

| Arm | Accuracy, % |
|---|---:|
| none | 90.00 |

- **Shown**: it is.

    inceptions study NAME --data DATA
"""


def load_hook():
    spec = importlib.util.spec_from_file_location("documentation_hook", ROOT / "scripts" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


HOOK = load_hook()
PAGES = {
    "README.md": (ROOT / "README.md").read_text(encoding="utf-8"),
    **{path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))},
    **{uri: text for uri, text in HOOK.generated_pages().items() if uri.endswith(".md")},
    "list of studies": HOOK.study_list(DOCS),
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def commands() -> dict[str, str]:
    """Every line of a shell block, or between backticks, that runs `inceptions`, and the page that it is on."""
    found = {}
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`((?:torchrun .* -m )inceptions [^`]+)`", PAGES[page])
        found |= {line.split(" #")[0].strip(): page for line in lines if re.match(r"(inceptions|torchrun .* -m inceptions) ", line)}
    return found


def parse(line: str) -> typer.Context:
    """Parse a command as it would be, and run nothing."""
    words = shlex.split(line)
    verb, *rest = words[words.index("inceptions") + 1 :]
    return typer.main.get_command(app).commands[verb].make_context(verb, rest)


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line):
    assert parse(line).info_name in line


WRONG = {
    "inceptions bake photos": "bake",
    "inceptions train photos --modle inception_v3": "No such option",
    "inceptions train photos --epochs many": "valid int",
    "inceptions evaluate runs/a/best": "Missing parameter: data",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_command_that_is_none_does_not_parse(line):
    with pytest.raises(Exception, match=WRONG[line]):
        parse(line)


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


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = create_model("inception_small", num_classes=2)
    save_model(small, "runs/photos/best", preprocess=for_training(28), classes=("cat", "dog"))
    photos = paint(Path("photos"), each=12)
    shutil.rmtree(photos / "green")
    for colour, animal in (("amber", "cat"), ("blue", "dog")):
        (photos / colour).rename(photos / animal)
    Path("docs").symlink_to(DOCS)
    build, use = blocks("index.md", "python")
    names: dict = {}
    exec(build, names)
    assert names["model"].num_classes == 10
    assert names["loaded"].card.classes == ("cat", "dog")
    with torch.inference_mode():
        assert [tuple(level.shape[2:]) for level in names["levels"].eval()(torch.zeros(1, 3, 139, 139))][-1] == (3, 3)
    exec(use, names)
    assert (names["answers"][0].classes[0], round(names["answers"][0].probabilities[0], 2)) == ("cat", 0.99)
    assert [len(item.classes) for item in names["both"]] == [2, 2]
    assert names["measured"].rows[0].score.count > 0


def test_python_example_of_weights_runs():
    (code,) = blocks("weights.md", "python")
    names: dict = {}
    exec(code, names)
    assert names["model"].num_classes == 2
    assert names["loaded"].card.classes[3] == "cat"


def test_python_example_of_predictions_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("docs").symlink_to(DOCS)
    names: dict = {}
    for code in blocks("predict.md", "python")[-3:]:
        exec(code, names)
        if "engine" not in names:
            assert (names["answers"][0].classes[0], round(names["answers"][0].probabilities[0], 2)) == ("cat", 0.99)
            assert names["answers"][0].vector.shape == (336,)
    assert "docs/chelsea.jpg cat 0.98" in capsys.readouterr().out
    assert (names["answers"].probabilities.shape, names["answers"].vectors.shape) == ((4, 10), (4, 336))


def test_python_example_of_explanations_runs(tmp_path, monkeypatch):
    pytest.importorskip("captum")
    monkeypatch.chdir(tmp_path)
    Path("docs").symlink_to(DOCS)
    (code,) = blocks("explain.md", "python")
    names: dict = {}
    exec(code, names)
    found = names["found"]
    assert (found.target, round(found.probability, 2), found.heat.shape) == ("cat", 0.99, (300, 451))
    assert Path("cat.png").exists()


@pytest.mark.exhaustive
def test_exported_files_run_as_the_documentation_says(tmp_path, monkeypatch, capsys):
    for module in ("onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    Path("docs").symlink_to(DOCS)
    names: dict = {}
    read, *runtimes = blocks("predict.md", "python")[:-3]
    exec(read, names)
    for file, code in zip(("small.onnx", "small.xml", "small.pt2"), runtimes, strict=True):
        assert f"inceptions export inception_small.cifar10 {file} --preprocess" in PAGES["predict.md"]
        export_model(find_model("inception_small.cifar10"), Path(file), preprocess=True)
        exec(code, names)
        assert abs(float(names["probabilities"].max()) - 0.99) < 0.005, file
    assert capsys.readouterr().out == "cat\n" * 3


def test_excerpt_of_a_table_is_in_the_code():
    (code,) = blocks("design.md", "python")
    file, _, excerpt = code.removeprefix("# ").partition("\n")
    source = (ROOT / file).read_text(encoding="utf-8")
    parts = excerpt.split("...\n")
    assert len(parts) > 1
    assert all(part in source for part in parts)


def test_table_of_networks_is_what_trace_counts():
    lines = PAGES["family/index.md"].splitlines()
    rows = {cells[1].strip().split("`")[1]: cells for cells in (line.split("|") for line in lines if line.startswith("| [`"))}
    assert list(rows) == list(NETWORKS)
    for name, network in NETWORKS.items():
        counted = trace(network)
        with_aux = f"{counted.total_with_aux.parameters:,}" if network.aux else ""
        pixels, parameters, aux, multiply_adds = (cell.strip() for cell in rows[name][3:7])
        assert (int(pixels), parameters, aux) == (network.image_size, f"{counted.total.parameters:,}", with_aux), name
        assert multiply_adds == f"{counted.total.multiply_adds / 1e9:.2f}", name


def test_page_of_a_network_has_its_stages_deviations_and_weights():
    page = PAGES["family/inception_v3.md"]
    assert all(f"\n| {stage.name} |" in page for stage in NETWORKS["inception_v3"].stages)
    assert "| 35x35x256 | 255,904 | 312.3 |" in page
    assert "[arXiv:1512.00567](https://arxiv.org/abs/1512.00567), as released in TF-slim" in page
    assert "- a 5x5 branch in the 35x35 modules" in page
    assert "`inception_v3.tv_in1k`" in page
    assert "`inception_v3.fid_2015`" in PAGES["family/inception_v3_fid.md"]
    assert "`inception_small.cifar10`" in PAGES["family/inception_small.md"]
    assert "bn_inception.onnx_in1k" in PAGES["family/bn_inception.md"]


def test_recipes_show_what_differs_from_the_default():
    page = PAGES["recipes.md"]
    assert all(f"\n## {name} {{ #{name} }}\n" in page for name in RECIPES)
    section = page.split("## inception_v3_2015 {")[1].split("\n## ")[0]
    assert '| `optimizer.kind` | `"rmsprop"` | `"sgd"` |' in section
    assert "| `lr` | `0.045` | `null` |" in section
    assert "`name`" not in section
    assert "`seed`" not in section


def test_every_field_of_a_recipe_is_explained():
    fields = PAGES["recipes.md"].split("\n## Fields\n")[1]
    assert "- lr: the peak" in fields
    assert "| `batch_size` | `64` |" in fields


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


def test_machine_time_counts_a_run_that_studies_share_once(tmp_path):
    shared = {"seed": 0, "seconds": 3600.0, "curve": [0.5]}
    own = [{"seed": seed, "seconds": 1800.0, "curve": [0.5]} for seed in (0, 1)]
    for study, runs in zip(list_studies(), ([shared], [shared, own[0]]), strict=False):
        costs = [(arm.name, trace(replace(arm.network, aux=())).total) for arm in study.arms]
        arms = [{"name": name, "parameters": cost.parameters, "multiply_adds": cost.multiply_adds} for name, cost in costs]
        folder = tmp_path / "studies" / study.name
        folder.mkdir(parents=True)
        for file in ("study.md", "study.svg"):
            (folder / file).touch()
        other = [{"epochs": 2, "runs": [own[1]]}] if len(runs) == 2 else []
        (folder / "study.json").write_text(json.dumps({"arms": arms, "runs": runs, "other_budgets": other}), encoding="utf-8")
    assert (
        sys.modules["study_pages"]
        .machine_time(tmp_path)
        .startswith("2 of the 27 studies have results of these networks: 3 runs, 2.0 hours")
    )


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_relative_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links or page == "CONTRIBUTING.md"
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_live_network_is_a_part_of_the_site_where_it_was_made(tmp_path, monkeypatch):
    """And where it can't be fetched it is said how to make one: the site is built all the same."""
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "index.html").write_text("a page")
    config, files = load_config(str(ROOT / "mkdocs.yml")), Files([])
    for others in ("generated_pages", "guide_figures", "explorer_files"):
        monkeypatch.setattr(HOOK, others, lambda *_: {})
    config.plugins._current_plugin = "a hook"  # as it is while the site is built
    monkeypatch.setattr(HOOK, "live_page", lambda: tmp_path / "live")
    HOOK.on_files(files, config=config)
    assert [file.dest_uri for file in files if "explorer" not in file.dest_uri] == ["live/index.html"]
    assert HOOK.live_link().startswith("**[Try it](live/index.html)**")
    monkeypatch.setattr(HOOK, "live_page", lambda: None)
    HOOK.on_files(files := Files([]), config=config)
    assert not [file.dest_uri for file in files if "explorer" not in file.dest_uri]
    assert "the command above makes the page" in HOOK.live_link()


@pytest.mark.exhaustive
def test_site_builds_without_a_warning_and_fetches_nothing(tmp_path):
    for name in ("docs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    folder = tmp_path / "docs" / "studies" / "another"
    folder.mkdir()
    (folder / "study.md").write_text(STUDY, encoding="utf-8")
    (folder / "study.json").write_text("{}", encoding="utf-8")
    shutil.copy(DOCS / "inception_v3_5b.svg", folder / "study.svg")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1", "INCEPTIONS_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    site = tmp_path / "site"
    for name, network in NETWORKS.items():
        page = (site / "family" / name / "index.html").read_text(encoding="utf-8")
        assert f'src="../{name}.svg"' in page
        assert f"{trace(network).total.parameters:,}" in page
        assert (site / "family" / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "was built where ONNX Runtime for browsers couldn" in (site / "web" / "index.html").read_text(encoding="utf-8")
    assert not (site / "live").exists()
    explorer = site / "explorer"
    assert {"index.html", "style.css", "networks.js", "mark.svg"} <= {file.name for file in explorer.iterdir()}
    assert len(list(explorer.glob("posters/*.js"))) > len(NETWORKS)
    assert 'href="../../explorer/#a=xception"' in (site / "family" / "xception" / "index.html").read_text(encoding="utf-8")
    study = (site / "studies" / "another" / "study" / "index.html").read_text(encoding="utf-8")
    assert 'src="../study.svg"' in study
    assert "../study.json" in study
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[2] for entry in index["docs"]}
    assert {"inceptions.Network", "inceptions.training.Recipe.to_dict", "inceptions-train", "label-smoothing"} <= found
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'(<(script|img|iframe)[^>]* src|<link rel="(stylesheet|preconnect|icon)"[^>]* href)="?(https?:)?//', text), (
            page
        )
