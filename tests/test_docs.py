"""What the documentation says is what happens, and it builds."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
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
from inceptions.training.recipes import RECIPES
from inceptions.weights.folder import save_model
from inceptions.weights.locate import find_model
from tests.documentation import DOCS, HOOK, PAGES, ROOT, STUDY, blocks
from tests.pictures import paint

WORDS_FOR = {"SEED": "0", "ENGINE": "torch"}
WORDS = re.compile(rf"\b({'|'.join(WORDS_FOR)})\b")


def commands() -> dict[str, str]:
    """Every line of a shell block or an indented one, or between backticks, that runs `inceptions`, and the page that it is on.

    Between backticks those that have an option's value or a place of something, for others name a command alone.
    """
    found = {}
    for page, text in PAGES.items():
        indented = "\n".join(re.findall(r"^ {4}(.*)$", text, flags=re.MULTILINE))
        lines = [line for block in (*blocks(page, "sh"), indented) for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`((?:torchrun .* -m )?inceptions \w+ [^`]* [^`]+)`", text)
        lines = [WORDS.sub(lambda word: WORDS_FOR[word[0]], line) for line in lines]
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
