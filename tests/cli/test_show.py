import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from inceptions.networks.registry import list_models


def test_list_names_every_network(inceptions):
    result = inceptions("list")
    assert result.code == 0
    assert all(name in result.out for name in list_models())
    assert [row["name"] for row in json.loads(inceptions("list", "--json").out)] == list_models()


def test_describe_prints_the_table_with_its_totals(inceptions):
    out = inceptions("describe", "inception_v3").out
    assert "23,834,568" in out
    assert "27,161,264" in out
    assert "5,713.2 M" in out


def test_describe_json_has_the_promised_keys(inceptions):
    table = json.loads(inceptions("describe", "inception_v3", "--json").out)
    assert {"name", "source", "image_size", "parameters", "parameters_with_aux", "multiply_adds", "stages"} <= set(table)
    assert set(table["stages"][0]) >= {"name", "output", "parameters", "multiply_adds"}
    assert table["stages"][0]["output"] == [32, 149, 149]


def test_describe_counts_with_another_number_of_classes_and_pixels(inceptions):
    table = json.loads(inceptions("describe", "inception_v3", "--json", "--num-classes", "1001", "--image-size", "150").out)
    assert table["parameters"] == 23_836_617
    assert table["image_size"] == 150


def test_alias_means_its_network(inceptions):
    assert json.loads(inceptions("describe", "inception_v1", "--json").out)["name"] == "googlenet"


@pytest.mark.parametrize("stage", [None, "5b"])
def test_draw_writes_an_svg(inceptions, tmp_path, stage):
    path = tmp_path / "sub" / "x.svg"
    result = inceptions("draw", "inception_v3", *(["--stage", stage] if stage else []), "--output", path)
    assert result.code == 0
    assert str(path) in result.out.replace("\n", "")
    assert ET.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("describe", "inceptionv3"), "did you mean inception_v3"),
        (("describe", "nothing_like_it"), "known are googlenet, "),
        (("describe", "inception_v3", "--image-size", "74"), "the smallest square image is 75x75"),
        (("draw", "inception_v3", "--stage", "9z"), "has no stage '9z'; stages are 1a, 2a"),
        (("draw", "inception_v3", "--output", "x.pdf"), "must end in .svg"),
        (("train", "digits", "--model", "xceptoin"), "did you mean xception"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(inceptions, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = inceptions(*arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_python_dash_m_works():
    done = subprocess.run([sys.executable, "-m", "inceptions", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().count(".") == 2


@pytest.mark.parametrize(
    ("arguments", "lists"), [(("describe", "resnet50"), "list"), (("train", "digits", "--weights", "resnet50.a1"), "list --weights")]
)
def test_a_name_that_is_not_known_is_told_with_the_command_that_lists_those_that_are(inceptions, arguments, lists):
    finished = inceptions(*arguments)
    assert (finished.code, finished.err.count("\n")) == (2, 1)
    assert finished.err.endswith(f"; `inceptions {lists}` shows all\n")
