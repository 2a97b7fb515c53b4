"""Main memory: what this process can still get, and the most it has had."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_STATUS = Path("/proc/self/status")


def free_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Bytes that the machine can give, or this process's control group, if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        return free if limit == "max" else max(0, min(free, int(limit) - used))
    except (OSError, ValueError):
        return free


def peak_memory_bytes() -> int:
    """The largest resident memory this process has had.

    On Linux not by `getrusage`, whose number begins with what the process that started this one had
    at that moment: a small program started by a large one looks large.
    """
    try:
        return status_bytes(_STATUS)
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def status_bytes(status: Path) -> int:
    """The peak that `/proc/…/status` of a process tells.

    Raises:
        OSError: There is no such file.
        KeyError: It does not tell one: the process has ended.
    """
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    values = dict(line.partition(":")[::2] for line in lines)
    return int(values["VmHWM"].split()[0]) * 1024
