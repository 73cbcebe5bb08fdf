"""A command of several processes of which the second alone fails, for test_evaluate.py."""

import os
import sys

from inceptions.cli import main, show
from inceptions.cli.together import Together
from inceptions.errors import UserError


def fail_in_second() -> str:
    if os.environ["RANK"] == "1":
        raise UserError("the second has no disk")
    return "done"


def run(*, as_json: bool) -> None:
    with Together() as together:
        print(together.do(fail_in_second))


show.show_list = run
sys.argv = ["inceptions", "list"]
main()
