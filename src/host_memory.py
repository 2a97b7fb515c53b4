"""Main memory: what this process can still get, and the most it has had."""

from __future__ import annotations

import ctypes
import platform
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
        return status_bytes(_STATUS, "VmHWM")
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def resident_memory_bytes() -> int:
    """The memory of this process that is in main memory now."""
    return int(psutil.Process().memory_info().rss)


def status_bytes(status: Path, key: str) -> int:
    """An amount of memory that `/proc/…/status` of a process tells.

    Args:
        status: The file.
        key: VmRSS, or VmHWM for the largest so far.

    Raises:
        OSError: There is no such file.
        KeyError: It does not tell: the process has ended.
    """
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    values = dict(line.partition(":")[::2] for line in lines)
    return int(values[key].split()[0]) * 1024


def release_freed_memory() -> None:
    """Gives what was freed back to the system.

    Allocators keep it, in case as much is asked for again: a process that has once held a large
    table would look as large to the end. GNU's C library only; elsewhere Arrow's part.
    """
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
