"""What is printed and where: names that somebody else chose, tables in a pipe, one set of options, and rows that are not lost."""

import csv
import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
import typer
from PIL import Image
from rich.cells import set_cell_size

import inceptions.cli
import inceptions.inference.pipeline as pipeline
from inceptions.cli import app, terminal, why
from inceptions.data.preprocess import for_training
from inceptions.evaluation.protocols import PROTOCOLS
from inceptions.explain.explanation import METHODS
from inceptions.networks.modules.models import create_model
from inceptions.networks.registry import list_models
from inceptions.weights.adapters.catalog import FRAMEWORKS
from inceptions.weights.folder import save_model

STRANGE = (
    "photo[edit].png",
    "[x].png",
    "[bold]loud.png",
    ":cat:.png",
    "two\nlines.png",
    "esc\x1b[31mred.png",
    "tab\there.png",
    "=1+1.png",
    "\u202egnp.x.png",
    "宽宽宽宽宽.png",
    os.fsdecode(b"caf\xe9.png"),
    "l" * 200 + ".png",
)
SHOWN = (
    "photo[edit].png",
    "[x].png",
    "[bold]loud.png",
    ":cat:.png",
    r"two\nlines.png",
    r"esc\x1b[31mred.png",
    r"tab\there.png",
    "=1+1.png",
    r"\u202egnp.x.png",
    "宽宽宽宽宽.png",
    r"caf\xe9.png",
    "l" * 200 + ".png",
)
CLASSES = ("[/x]", "=2+3", "a\x1b[2Jb")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose classes have names that somebody else chose."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "[red]mine"
    save_model(create_model("inception_small", num_classes=3), folder, preprocess=for_training(16), classes=CLASSES)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Pictures with names of every strange kind."""
    place = tmp_path / "pictures"
    place.mkdir()
    for number, name in enumerate(STRANGE):
        Image.new("RGB", (16, 16), (20 * number, 100, 100)).save(place / "x.png")
        (place / "x.png").rename(place / name)
    return place


def test_names_are_printed_as_they_are_and_can_do_nothing(inceptions, model, folder):
    for width in (80, 120):
        printed = inceptions("predict", folder, "--model", model, width=width)
        assert printed.code == 0, printed.err
        lines = printed.out.splitlines()
        ends = next(line.index("class") for line in lines if "class" in line)
        text = re.sub(r"\s", "", "".join(set_cell_size(line, ends) for line in lines))  # long names are folded in their column
        assert [name for name in SHOWN if name not in text] == []
        assert not set(printed.out + printed.err) & {"\x1b", "\u202e"}


def test_in_a_pipe_each_image_is_a_line_of_columns(inceptions, model, folder):
    lines = inceptions("predict", folder, "--model", model).out.splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header == ["file", "class", "probability", "class_2", "probability_2", "class_3", "probability_3", "error"]
    assert sorted(row[0] for row in rows) == sorted(f"{folder}/{name}" for name in SHOWN)
    assert {len(row) for row in rows} == {8}
    assert {row[1] for row in rows} <= {"[/x]", "=2+3", r"a\x1b[2Jb"}


def test_json_has_the_names_themselves(inceptions, model, folder):
    printed = inceptions("predict", folder, "--model", model, "--json", "--quiet")
    assert printed.err == ""
    found = json.loads(printed.out)
    assert {item["file"] for item in found} == {f"{folder}/{name}" for name in STRANGE}
    assert {item["classes"][0]["class"] for item in found} <= set(CLASSES)
    assert printed.out.replace("\n", "").isprintable()


def test_nothing_in_a_csv_file_is_a_formula(inceptions, model, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    assert inceptions("predict", "*.png", "--model", model, "--output", tmp_path / "p.csv").code == 0
    text = (tmp_path / "p.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["file"] for row in rows} == {"'=1+1.png" if name.startswith("=") else name for name in SHOWN}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_rows_are_written_as_they_come_and_kept_when_it_is_stopped(inceptions, model, folder, tmp_path, monkeypatch):
    output, part = tmp_path / "p.csv", tmp_path / "p.csv.part"
    whole = pipeline.iterate_predictions

    def stopped(*arguments, **settings):
        for number, item in enumerate(whole(*arguments, **settings)):
            if number == 5:
                assert len(part.read_text().splitlines()) == 6  # on the disk before the next is computed
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "iterate_predictions", stopped)
        result = inceptions("predict", folder, "--model", model, "--output", output, "--batch-size", "1")
    assert result.code == 130
    assert f"interrupted; what was done before is in {part}" in result.err
    assert not output.exists()
    assert len(part.read_text().splitlines()) == 6
    refused = inceptions("predict", folder, "--model", model, "--output", output)
    assert (refused.code, "p.csv.part is there from a run that was stopped" in refused.err) == (2, True)
    assert inceptions("predict", folder, "--model", model, "--output", output, "--resume", "--batch-size", "1").code == 0
    assert len(output.read_text().splitlines()) == len(STRANGE) + 1
    assert not part.exists()


def test_an_output_is_not_written_over_unasked(inceptions, model, folder, tmp_path):
    (tmp_path / "p.csv").write_text("mine")
    refused = inceptions("predict", folder, "--model", model, "--output", tmp_path / "p.csv")
    assert (refused.code, refused.out) == (2, "")
    assert "exists already" in refused.err
    assert (tmp_path / "p.csv").read_text() == "mine"


def test_a_full_disk_is_a_line_that_says_where_the_rows_are(inceptions, model, folder, tmp_path, monkeypatch):
    opened = Path.open

    class Full(io.FileIO):
        def write(self, content):
            if b"gnp" in content:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(content)

    def full(path, mode="r", *arguments, **settings):
        return opened(path, mode, *arguments, **settings) if path.suffix != ".part" else Full(path, mode)

    monkeypatch.setattr(Path, "open", full)
    result = inceptions("predict", folder, "--model", model, "--output", tmp_path / "p.csv", "--batch-size", "1")
    assert result.code == 2
    assert f"can't write {tmp_path / 'p.csv.part'} (No space left on device)" in result.err
    assert f"what was done before is in {tmp_path / 'p.csv.part'}" in result.err
    assert "Traceback" not in result.err


def test_images_of_which_none_can_be_read_are_an_error(inceptions, model, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    result = inceptions("predict", tmp_path, "--model", model)
    assert result.code == 2
    assert "none of the images can be read" in result.err


def test_a_list_in_a_pipe_is_a_line_each(inceptions):
    assert [line.split("\t")[0] for line in inceptions("list").out.splitlines()] == ["name", *list_models()]
    assert len(inceptions("recipes").out.splitlines()) == len(json.loads(inceptions("recipes", "--json").out)) + 1
    assert len(inceptions("study", "list").out.splitlines()) == len(json.loads(inceptions("study", "list", "--json").out)) + 1


@pytest.mark.parametrize("arguments", [("list",), ("list", "--weights"), ("describe", "inception_v4"), ("recipes",), ("study", "list")])
def test_a_table_fits_eighty_columns(inceptions, arguments):
    lines = inceptions(*arguments, width=80).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.rstrip().endswith("…") for line in lines)
    assert sum(0 < len(line.strip()) <= 3 for line in lines) < len(lines) / 4  # no column is a few letters wide


def test_quiet_prints_results_and_errors_and_verbose_where_they_come_from(inceptions, model, folder):
    quiet = inceptions("predict", folder, "--model", model, "-q")
    assert (quiet.code, quiet.err) == (0, "")
    assert "inceptions: nowhere: no such file" in inceptions("predict", "nowhere", "--model", model, "-q").err
    assert "Traceback" in inceptions("predict", "nowhere", "--model", model, "-v").err
    assert "Traceback" not in inceptions("predict", "nowhere", "--model", model).err


def test_models_and_data_may_be_named_in_every_command(inceptions, model, folder):
    one, other = (inceptions("predict", *words, "-m", model) for words in ((folder,), ("-d", folder)))
    assert one.out == other.out


def test_an_option_has_one_name_and_one_place_everywhere():
    """Of what several commands have, the order is the same in all, and so are the short forms."""
    commands = typer.main.get_command(app.app).commands
    order = ["--model", "--data", "--output", "--batch-size", "--workers", "--device", "--json", "--verbose", "--quiet"]
    short = {"--model": "-m", "--data": "-d", "--output": "-o", "--verbose": "-v", "--quiet": "-q"}
    for command in commands.values():
        options = [option for option in command.params if option.param_type_name == "option"]
        names = [name for option in options for name in option.opts if name in order]
        assert names == sorted(names, key=order.index), command.name
        for option in options:
            assert all(short[name] in option.opts for name in option.opts if name in short), command.name
        assert "--verbose" in names
    asked = ("compare", "convert", "describe", "evaluate", "list", "predict", "recipes", "study")
    assert all("--json" in [name for option in commands[name].params for name in option.opts] for name in asked)


def test_choices_that_are_written_out_are_those_there_are():
    assert set(get_args(app.Protocol)) == set(PROTOCOLS)
    assert set(get_args(app.Framework)) == set(FRAMEWORKS)
    assert get_args(get_type_hints(why.explain)["method"]) == METHODS


def test_only_the_terminal_prints():
    sources = [path for path in Path(inceptions.cli.__file__).parent.glob("*.py") if path.name != "terminal.py"]
    assert not [path.name for path in sources if re.search(r"\bprint\(|\b(out|err)\.print\(", path.read_text(encoding="utf-8"))]
    assert not terminal.out._markup and not terminal.err._markup


def test_the_shell_completes_names_without_torch():
    words = {
        "list-networks": ("inceptions describe inception_v", "inception_v3"),
        "recipes": ("inceptions train --recipe inc", "inception_v3_2015"),
    }
    for line, expected in words.values():
        environment = {**os.environ, "_INCEPTIONS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        code = "import sys; sys.modules['torch'] = None; from inceptions.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert expected in done.stdout.split(), done.stderr
