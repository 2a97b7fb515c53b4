"""Checks of the machine itself: interpreter, processor, memory, clock.

Facts are read by `read_*`/`find_*` functions and judged by pure ones, so that every verdict can be
tested on any machine.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from src.diagnosis.finding import Finding
from src.environment import MKL_FAST_PATH, MKL_SWITCH, is_amd_processor
from src.host_memory import free_memory_bytes
from src.units import format_bytes

OLDEST_PYTHON = (3, 10)
NEWEST_PYTHON = (3, 12)
LEAST_MEMORY_BYTES = 2 * 1024**3
_ONE_DAY_SECONDS = 86_400
_MKL_LIBRARY = "libmklml_intel.so"


def check_python(version: tuple[int, int, int]) -> Finding:
    """Whether this Python is one that the pinned packages have wheels for."""
    seen = ".".join(map(str, version))
    if OLDEST_PYTHON <= version[:2] <= NEWEST_PYTHON:
        return Finding("Python", "ok", seen)
    return Finding(
        "Python",
        "problem",
        f"{seen}; the pinned packages need 3.10, 3.11 or 3.12",
        "make clean, then make PYTHON=python3.12 demo",
    )


def check_processor() -> Finding:
    """Number of cores, and whether matrix products take their fast path on an AMD processor."""
    return judge_processor(
        cores=count_cores(),
        is_slow_by_default=is_amd_processor() and _has_mkl(),
        switch=os.environ.get(MKL_SWITCH),
    )


def judge_processor(*, cores: int, is_slow_by_default: bool, switch: str | None) -> Finding:
    """See `check_processor`.

    Args:
        cores: Cores this process may use.
        is_slow_by_default: An AMD processor with a Paddle whose math library is Intel's MKL.
        switch: Value of MKL_DEBUG_CPU_TYPE when Paddle is loaded.
    """
    seen = f"{cores} core{'s' if cores != 1 else ''}"
    if not is_slow_by_default:
        return Finding("processor", "ok", seen)
    if switch == MKL_FAST_PATH:
        return Finding("processor", "ok", f"{seen}, AMD with {MKL_SWITCH}={switch} (fast path)")
    return Finding(
        "processor",
        "warning",
        f"{seen}, AMD with {MKL_SWITCH}={switch or 'not set'}: matrix products take twice as long",
        f"unset {MKL_SWITCH}, and run.py sets it to {MKL_FAST_PATH}; in your own programs set it "
        "before Paddle is imported",
    )


def count_cores() -> int:
    """Cores this process may run on; fewer than the machine has under taskset or a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _has_mkl() -> bool:
    spec = importlib.util.find_spec("paddle")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return any((Path(folder) / "libs" / _MKL_LIBRARY).is_file() for folder in folders)


def check_memory() -> Finding:
    """Free memory, a container's limit taken into account."""
    return judge_memory(free_memory_bytes())


def judge_memory(free_bytes: int) -> Finding:
    """Whether the demo fits; what a real run needs depends on its model and batch size."""
    seen = f"{format_bytes(free_bytes)} free"
    if free_bytes >= LEAST_MEMORY_BYTES:
        return Finding("memory", "ok", seen)
    return Finding(
        "memory",
        "warning",
        f"{seen}; even the demo wants {format_bytes(LEAST_MEMORY_BYTES)}",
        "close other programs, or raise the container's memory limit",
    )


def check_clock(reference: Path) -> Iterator[Finding]:
    """See `judge_clock`; says nothing where there is no file to compare with."""
    if reference.is_file():
        yield judge_clock(time.time(), reference.stat().st_mtime)


def judge_clock(now: float, known_past: float) -> Finding:
    """Whether the clock is behind a moment that has certainly passed (both in Unix seconds)."""
    shown = datetime.fromtimestamp(now, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    if now >= known_past - _ONE_DAY_SECONDS:
        return Finding("clock", "ok", shown)
    return Finding(
        "clock",
        "warning",
        f"{shown} is before these files were written; downloads and cloud calls will be refused",
        "set the clock: timedatectl set-ntp true",
    )
