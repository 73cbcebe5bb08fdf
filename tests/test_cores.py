import os

import pytest

from inceptions import cores


@pytest.mark.parametrize(
    ("written", "processes", "count"),
    [
        ("max 100000", 1, 8),
        ("250000 100000", 1, 2),
        ("50000 100000", 1, 1),
        ("max 100000", 3, 2),
        ("400000 100000", 4, 1),
        ("nonsense", 1, 8),
    ],
)
def test_cores_are_what_the_container_and_other_processes_leave(tmp_path, monkeypatch, written, processes, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{written}\n")
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert cores.count_cores() == count


def test_quota_of_older_systems_is_known_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    for name, text in (("_QUOTA", None), ("_QUOTA_V1", "300000\n"), ("_PERIOD_V1", "100000\n")):
        monkeypatch.setattr(cores, name, tmp_path / name)
        if text:
            (tmp_path / name).write_text(text)
    assert cores.count_cores() == 3
    (tmp_path / "_QUOTA_V1").write_text("-1\n")
    assert cores.count_cores() == 8
