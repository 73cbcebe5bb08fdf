import json
import os

from inceptions.json_text import to_json


def test_what_is_not_finite_is_null_in_every_depth():
    values = {"a": float("nan"), "b": [1.5, {"c": -float("inf")}], "d": (float("inf"), None, True)}
    assert json.loads(to_json(values)) == {"a": None, "b": [1.5, {"c": None}], "d": [None, None, True]}


def test_names_that_are_no_utf8_can_be_written_and_are_the_same_when_they_are_read():
    names = [os.fsdecode(b"caf\xe9.png"), "\u732b\n"]
    assert json.loads(to_json(names).encode()) == names
