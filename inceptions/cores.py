"""How many processor cores are this process's own: what the system, its container and its siblings leave it. Standard library alone."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA, _QUOTA_V1, _PERIOD_V1 = (  # of control groups, versions 2 and 1, as a container sees its own
    Path("/sys/fs/cgroup", name) for name in ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
)


def count_cores() -> int:
    """Return how many cores this process should count on, at least 1.

    They are those that it may run on, and no more than its container has the time of; where torchrun has started several processes on this
    machine, its even share of them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(cores, _quota())) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _quota() -> float:
    """Return how many cores' time the container has; infinity where it has no limit."""
    try:
        quota, period = _QUOTA.read_text().split() if _QUOTA.is_file() else (path.read_text() for path in (_QUOTA_V1, _PERIOD_V1))
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):  # "max", or no control groups
        return math.inf
