"""The reference has every public name and every option once, and docstrings become the Markdown that they mean."""

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import griffe
import pytest
import typer
import yaml

from inceptions.cli.commands import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(ROOT / "scripts"))
docstrings, reference = import_module("docstrings"), import_module("reference")

NAMES = reference.documented(DOCS)
WHOLE = ("inceptions.networks.spec", "inceptions.networks.reshape", "inceptions.networks.trace", "inceptions.errors")
ONLY_MATERIAL = r":(?:material|octicons|fontawesome|simple)-|^ *(?:!!!|\?\?\?\+?) |^ *===[!+]? \"|\.md-button|grid cards|\.annotate"


def home(identifier: str) -> str:
    """Where a name is defined, as module.name."""
    package, _, name = identifier.rpartition(".")
    stub = ROOT / package.replace(".", "/") / "__init__.pyi"
    if stub.is_file():
        for node in ast.parse(stub.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.names[0].name == name:
                return f"{package}.{node.module}.{name}"
    return identifier


def public_names() -> set[str]:
    """Where each name is defined that a stub gives, but for the folders of the package, which are pages."""
    names = set()
    for stub in (ROOT / "inceptions").rglob("__init__.pyi"):
        package = ".".join(stub.parent.relative_to(ROOT).parts)
        nodes = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom) and node.module]
        names |= {home(f"{package}.{node.names[0].name}") for node in nodes}
    return names


def test_every_public_name_has_one_place():
    homes = [home(name) for name in NAMES]
    assert sorted(public_names().difference(homes)) == []
    assert sorted({name for name in homes if homes.count(name) > 1}) == []
    stub = ROOT / "inceptions" / "__init__.pyi"
    first = re.findall(r"^from \.[\w.]+ import (\w+)", stub.read_text(encoding="utf-8"), re.MULTILINE)
    assert {f"inceptions.{name}" for name in first} <= set(NAMES)  # by the shortest of their names


@pytest.mark.parametrize("module", WHOLE)
def test_a_module_that_is_explained_is_explained_whole(module):
    defined = set()
    for node in ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                defined.add(node.name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                defined.add(name)
    here = {name.rpartition(".")[2] for name in map(home, NAMES) if name.startswith(f"{module}.")}
    assert {name for name in defined if not name.startswith("_")} == here


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    extensions = griffe.load_extensions("dataclasses", docstrings.HouseStyle)
    return griffe.load("inceptions", search_paths=[str(ROOT)], extensions=extensions)


def test_every_name_says_what_it_is(package):
    assert [name for name in NAMES if not package.modules_collection[name].docstring] == []


def test_fields_are_a_list_and_defaults_are_what_is_made(package):
    recipe = package["training.recipe.Recipe"]
    assert "\n- `lr`: the peak; None means" in recipe.docstring.value
    assert "\n- `weight_decay`: on kernels alone" in recipe.docstring.value  # which stands in the middle of a line
    assert str(recipe.parameters["optimizer"].default) == "Sgd(nesterov=True)"
    sample = package["data.splits.Sample"]
    assert [parameter.name for parameter in sample.parameters] == ["self", "path", "label"]


def test_names_in_docstrings_are_links(package):
    assert "[`Score`][inceptions.evaluation.Score]" in package["evaluation.evaluate.Row"].docstring.value
    assert "[arXiv:1602.07261](https://arxiv.org/abs/1602.07261)" in package["networks.reshape.with_residual_scale"].docstring.value
    finetune = package["training.recipe.Finetune"].docstring.value
    assert "layers normalised by the batch in `fit` and" in finetune  # Keras's, not ours
    assert "[`Finetune`]" not in finetune


DOCSTRING = """\
Return a_thing for `Conv`; not `conv`.

first, second: what they
    are; with more. third: 0 for
none. Some more of it.
Raises UserError: no such thing.

    a    table
    of   words"""
MARKDOWN = r"""Return a\_thing for [`Conv`][x.Conv]; not `conv`.

- `first`, `second`: what they are; with more.
- `third`: 0 for none. Some more of it.

Raises UserError: no such thing.

    a    table
    of   words"""


def test_a_docstring_becomes_markdown():
    made = docstrings.to_markdown(DOCSTRING, names={"first", "second", "third"}, link={"Conv": "x.Conv"}.get)
    assert made == MARKDOWN
    assert docstrings.to_markdown("given: nothing", names=(), link={}.get) == "given: nothing"


GROUP = typer.main.get_command(app)
SECTIONS = {part.partition("`")[0]: part for part in re.split(r"^## `inceptions ", reference.command_page(), flags=re.MULTILINE)[1:]}


@pytest.mark.parametrize("name", GROUP.commands)
def test_every_option_of_a_command_is_on_the_page(name):
    command = GROUP.commands[name]
    section = SECTIONS[name]
    assert " ".join((command.help or "").split()) in " ".join(section.split())
    context = typer.Context(command, info_name=name)
    for parameter in command.get_params(context):
        if parameter.hidden:
            continue
        head, said = parameter.get_help_record(context)
        assert all(option in head for option in parameter.opts if option.startswith("-"))
        assert f"\n* `{head}`: {said}\n" in f"{section}\n"


def test_the_page_of_commands_has_them_all_and_a_list():
    assert list(SECTIONS) == list(GROUP.commands)
    page = reference.command_page()
    assert all(f"\n- [`{name}`](#inceptions-{name}): " in page for name in GROUP.commands)
    assert "* `--version`: Print the version." in page.partition("## `inceptions ")[0]


def test_python_example_of_training_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "reference" / "training.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert (names["setup"].recipe.epochs, names["setup"].network.classes) == (1, 10)


def terms() -> dict[str, list[tuple[str, str]]]:
    """The glossary's groups, with terms and what is said of each."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("\n[1207.0580]:")[0]
    groups = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    found = {}
    for title, body in zip(groups[::2], groups[1::2], strict=True):
        parts = re.split(r"^### (.+)$", body, flags=re.MULTILINE)[1:]
        found[title] = list(zip(parts[::2], parts[1::2], strict=True))
    return found


def test_every_term_has_its_paper_and_its_place():
    for said in (f"{term}: {said}" for entries in terms().values() for term, said in entries):
        assert re.search(r"\[\d{4}\.\d{4,5}\]", said), said
        assert re.search(r"\]\([\w/-]+\.md|\]\[inceptions\.", said), said


def test_terms_stand_in_the_order_of_the_alphabet():
    for entries in terms().values():
        words = [term.lower() for term, _ in entries]
        assert words == sorted(words)


def test_pages_have_nothing_that_one_theme_alone_knows():
    for page in DOCS.rglob("*.md"):
        assert re.search(ONLY_MATERIAL, page.read_text(encoding="utf-8"), re.MULTILINE) is None, page
    assert re.search(ONLY_MATERIAL, '=== "A tab"')
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert {plugin if isinstance(plugin, str) else next(iter(plugin)) for plugin in config["plugins"]} == {"search", "mkdocstrings"}
    style = (DOCS / "assets" / "site.css").read_text(encoding="utf-8")
    assert set(re.findall(r"\.md-[\w-]+", style)) == {".md-typeset", ".md-grid"}  # as docs/design.md says
