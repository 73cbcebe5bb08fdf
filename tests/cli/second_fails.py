"""A command of several processes of which the second alone fails, for test_evaluate.py."""

import os

from inceptions.cli.together import Together
from inceptions.errors import UserError


def run() -> str:
    if os.environ["RANK"] == "1":
        raise UserError("the second has no disk")
    return "done"


with Together() as together:
    print(together.do(run))
