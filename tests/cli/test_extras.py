"""Commands say which library they need before they begin, not after the work."""

import sys

import pytest


@pytest.fixture
def hide(monkeypatch):
    return lambda module: monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (("evaluate", "inception_small.cifar10", "--data", "digits"), "jinja2"),
        (("evaluate", "inception_small.cifar10", "--data", "digits"), "matplotlib"),
    ],
)
def test_a_missing_library_is_named_with_its_extra_and_nothing_is_made(inceptions, hide, tmp_path, monkeypatch, arguments, module):
    monkeypatch.chdir(tmp_path)
    hide(module)
    refused = inceptions(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.endswith(f"{arguments[0]} needs {module}, not installed here; pip install 'inceptions[report]'\n")
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_asked_for_before_runs_are_read(inceptions, hide, tmp_path):
    hide("matplotlib")
    refused = inceptions("compare", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "curves.png")
    assert "compare --output needs matplotlib, not installed here; pip install 'inceptions[report]'" in refused.err


def test_curves_are_drawn_only_where_they_are_asked_for(inceptions, hide, tmp_path):
    hide("matplotlib")
    refused = inceptions("compare", tmp_path / "a", tmp_path / "b")
    assert "is not a finished run" in refused.err
