"""Where and in which arithmetic to compute: enters nothing but the machine, leaves a device and a type; and what fits into its memory."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from inceptions.errors import UserError

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # of malloc.h
_KEEP = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26, _MMAP_MAX: 0}
_RETURN = {_TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17, _MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25}  # where glibc's own settle
_ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)  # of torch, on CPUs and on CUDA


def pick_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the machine's accelerator, or the CPU.

    Where torchrun has started several processes on this machine, each takes the accelerator of its own number, before anything else
    touches another. Raises UserError when there is no such device, or not one for each process.
    """
    if name is None:
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        _take_own(device)
        return device
    try:
        device = torch.device(name)
        _take_own(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        there = f"cpu and {accelerator}" if accelerator else "cpu"
        raise UserError(f"device {name!r} can't be used ({_first_line(error)}); this machine has {there}") from None
    return device


def _take_own(device: torch.device) -> None:
    processes, local = (int(os.environ.get(name, default)) for name, default in (("LOCAL_WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    count = torch.accelerator.device_count()
    if processes == 1 or device.type == "cpu" or not count:
        return
    if device.index is not None:
        raise UserError(f"{processes} processes can't share {device}; say {device.type}, and each takes one of its own")
    if processes > count:
        raise UserError(f"{processes} processes on this machine can't share {count} {device.type}; start {count} at most, or train on cpu")
    torch.accelerator.set_device_index(local)


def pick_precision(wanted: str, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 or float16 where it is wanted, or for "auto" where it is fast on `device`; None for float32 throughout."""
    if wanted != "auto":
        return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(wanted)
    if _has_fast_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if _has_tensor_cores(device) else None


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _has_tensor_cores(device: torch.device) -> bool:
    """Return whether a card is Volta's or Turing's, such as V100 and T4: fast in float16, and without bfloat16, which came after them."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


def prefer_speed(device: torch.device) -> None:
    """Prepare this process for computing the same sizes again and again, until it ends.

    A card's convolutions are tried in several ways at the first of each size. A CPU's process keeps the memory of freed tensors for the
    next ones: glibc returns blocks above 32 MiB at once, and the kernel clears every page of a new one.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    elif device.type == "cpu":
        _set_malloc(_KEEP)


def return_freed_memory() -> None:
    """Undo what `prefer_speed` did to a CPU's memory, for a process that was forked: large blocks go back as they are freed."""
    _set_malloc(_RETURN)


def _set_malloc(parameters: Mapping[int, int]) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError):  # musl has no mallopt
            mallopt = ctypes.CDLL(None).mallopt
            for parameter, value in parameters.items():
                mallopt(parameter, value)


def require_compiler(what: str, *, instead: str) -> None:
    """Raise UserError where torch's compiler, which `what` needs, finds none of C++ to go on with."""
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        raise UserError(f"{what} needs a C++ compiler, and there is none; install g++, or {instead}")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def memory_for(images: int, device: torch.device) -> Iterator[None]:
    """Say what to do where computing `images` at a time takes more memory than there is, which torch says at length; raises UserError."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        what = f"{images} images at a time are too many for the memory of {device}"
        asked = _ASKED.search(str(error))
        refused = f" ({asked[1]} more were asked for)" if asked else ""
        raise UserError(f"{what}{refused}; lower the batch size, or their size") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch says that memory is full; on the CPU, and on Apple's GPUs, it has no type of its own for that."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in ("can't allocate memory", "out of memory"))


def available_memory() -> int:
    """Return how many bytes this process can still take: of the machine, and of its container where that has a limit."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # a guess, where the system doesn't say
    meminfo, limit, used = (Path(name) for name in ("/proc/meminfo", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"))
    if meminfo.is_file():
        free = next(1024 * int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free
