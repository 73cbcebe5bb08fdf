"""That training on a CPU keeps the memory of freed tensors, counted by the pages that the kernel had to give."""

import os
import platform
import subprocess
import sys

import pytest

STEPS, MOST = 8, 8 * 32  # of 64 MiB, above the 32 MiB that glibc never keeps by itself
# Small blocks that stay come to lie between large ones in the first steps, which are therefore not counted.
FAULTS = f"""
import resource
import torch
from inceptions.devices import prefer_speed, return_freed_memory
{{prepare}}
def step():
    torch.ones(2**24)
for _ in range(32):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({STEPS}):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(prepare: str) -> int:
    code = FAULTS.format(prepare=prepare)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "THP_"))}
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=plain).stdout)


@pytest.mark.exhaustive
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keeping memory is asked of glibc")
def test_freed_memory_is_kept_for_the_next_step():
    assert count_faults("") >= MOST  # pages of 2 MiB, where the machine gives such
    assert count_faults("prefer_speed(torch.device('cpu'))") < MOST


@pytest.mark.exhaustive
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="keeping memory is asked of glibc")
def test_what_was_forked_from_it_can_give_memory_back():
    assert count_faults("prefer_speed(torch.device('cpu')); return_freed_memory()") >= MOST
