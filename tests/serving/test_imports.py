"""Who doesn't serve brings none of it, and who serves brings no torch."""

import subprocess
import sys

import pytest

SERVING = ("fastapi", "starlette", "uvicorn", "h11", "python_multipart", "prometheus_client", "inceptions.serving", "asyncio", "captum")


@pytest.mark.parametrize(
    "arguments",
    [
        *(["list"], ["predict", "docs", "--model", "nothing"], ["serve", "-h"]),
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ([], ["predict", "-h"])),
    ],
)
def test_nothing_of_serving_is_imported_by_what_does_not_serve(arguments):
    code = f"""
import sys, inceptions
sys.argv[0] = "inceptions"
if sys.argv[1:]:
    from inceptions.cli import main
    try:
        main()
    except SystemExit:
        pass
found = sorted(set({SERVING!r}) & set(sys.modules))
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_serving_brings_no_torch():
    code = "import sys, inceptions.serving.server, inceptions.serving.worker; assert not {'torch', 'openvino'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
