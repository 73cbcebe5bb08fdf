"""Where and in which arithmetic to train: enters nothing but the machine, leaves a device and a type."""

from __future__ import annotations

import torch

from inceptions.errors import UserError


def pick_device(name: str | None = None) -> torch.device:
    """Return the device called `name`, or the machine's accelerator, or the CPU.

    Raises UserError when there is no such device.
    """
    if name is None:
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        there = f"cpu and {accelerator}" if accelerator else "cpu"
        raise UserError(f"device {name!r} can't be used ({_first_line(error)}); this machine has {there}") from None
    return device


def pick_precision(wanted: str, device: torch.device) -> torch.dtype | None:
    """Return bfloat16 where it is wanted or fast on `device`, None for float32 throughout."""
    if wanted == "auto":
        return torch.bfloat16 if _has_fast_bfloat16(device) else None
    return torch.bfloat16 if wanted == "bfloat16" else None


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
