"""Names of any bytes as text: what is shown, and what a spreadsheet is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inceptions.names import cell, shown


@pytest.mark.parametrize("name", ["café", "猫", "a$\\frac$", "[/x]", "two words", "👩\u200d🔬", "C:\\pictures"])
def test_what_can_be_read_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        (Path(os.fsdecode(b"x/\xff")), "x/\\xff"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("gnp.\u202eevil", "gnp.\\u202eevil"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_has_no_shape_of_its_own_is_escaped_and_can_be_written(name: str | Path, text: str) -> None:
    assert shown(name) == text
    assert text.encode().decode() == text


@pytest.mark.parametrize(("name", "text"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-x", "'-x")])
def test_a_spreadsheet_gets_no_formula(name: str, text: str) -> None:
    assert cell(name) == text


@pytest.mark.parametrize("name", ["-1", "+2.5", "cat", "1=1"])
def test_numbers_and_plain_names_stay_in_a_spreadsheet(name: str) -> None:
    assert cell(name) == name
