"""Processes of our own: run as `python -m` runs them, wherever the user is."""

import subprocess

from inceptions.children import command_of


def test_what_lies_in_the_working_directory_is_not_run(tmp_path):
    for name in ("json.py", "queue.py", "inceptions.py"):
        (tmp_path / name).write_text("raise SystemExit('run from the working directory')")
    done = subprocess.run(command_of("inceptions", "list", "--json"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[")
