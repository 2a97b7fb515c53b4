"""Wall time, processor time and memory of a program with everything it starts.

Workers that are forked from a server process are nobody's children once the program has ended;
this process adopts such orphans (a Linux subreaper) and counts what they took.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SECONDS_BETWEEN_LOOKS = 0.5
_PR_SET_CHILD_SUBREAPER = 36  # of <linux/prctl.h>


@dataclass(frozen=True)
class Usage:
    """What a program took.

    Attributes:
        wall_seconds: From its start to its end.
        cpu_seconds: Of the program and all it started.
        peak_pss_bytes: Largest sum over its processes of proportional set sizes: a page that n
            processes share counts 1/n in each, so that nothing counts twice. Looked at every half
            second.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_pss_bytes: int


def run(command: Sequence[str | Path], *, folder: Path, log: Path) -> Usage:
    """Runs a program to its end.

    Args:
        command: Program and arguments.
        folder: Its working directory.
        log: Receives what it says.

    Raises:
        SystemExit: If it fails; names the log.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
    peak = 0
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        peak = max(peak, _proportional_set_size(process.pid))
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}; see {log}")
    return Usage(wall, usage.ru_utime + usage.ru_stime + _orphans_cpu_seconds(), peak)


def _orphans_cpu_seconds() -> float:
    """Waits for what the program left behind; processor seconds of it and what it waited for."""
    seconds = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return seconds
        seconds += usage.ru_utime + usage.ru_stime


def _proportional_set_size(process_id: int) -> int:
    total = 0
    try:
        root = psutil.Process(process_id)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in members:
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue  # it ended meanwhile
    return total
