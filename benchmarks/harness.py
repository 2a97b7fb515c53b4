"""The envelope of every benchmark's result: numbers with their machine, versions and command.

A number without these is not a result. Scripts measure; this module repeats, summarises and stores.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import psutil

RESULTS = Path(__file__).resolve().parent / "results"


def seconds_of(action: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def summarise(samples: Sequence[float]) -> dict[str, object]:
    """Median and spread; spread is the range as a share of the median."""
    median = statistics.median(samples)
    return {
        "median": _rounded(median),
        "min": _rounded(min(samples)),
        "max": _rounded(max(samples)),
        "spread": _rounded((max(samples) - min(samples)) / median) if median else None,
        "samples": [_rounded(sample) for sample in samples],
    }


def store_result(
    name: str,
    *,
    question: str,
    baseline: str,
    settings: Mapping[str, object],
    results: Mapping[str, object],
    packages: Sequence[str],
) -> Path:
    """Writes benchmarks/results/<name>.json and returns its path.

    Args:
        name: Of the result, mostly that of the script without `.py`.
        question: What the numbers answer, one sentence.
        baseline: What the measured thing is compared with, in the same run.
        settings: What was set, e.g. sizes and repeats.
        results: Measured values; names end in their unit.
        packages: Installed packages whose versions matter.
    """
    content = {
        "benchmark": name,
        "question": question,
        "baseline": baseline,
        "command": " ".join(["python", "-m", _script(name), *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
        "settings": dict(settings),
        "results": dict(results),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def print_stored(results: Mapping[str, object], path: Path) -> None:
    """Prints what was measured, a line each, and where it was stored."""
    width = max(map(len, results), default=0)
    for name, value in results.items():
        print(f"{name:{width}} {value}")
    print(f"stored {path}")


def _script(name: str) -> str:
    """The module that was started; a script may store several results, each under its own name."""
    spec = sys.modules["__main__"].__spec__
    return f"benchmarks.{name}" if spec is None else spec.name


def _machine() -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo")
    models = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else ())
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load_average_1_minute": _rounded(os.getloadavg()[0]),
        "system": f"{platform.system()} {platform.release()}",
    }


def _commit() -> str | None:
    """Commit of the checkout, with `-dirty` where it was changed; None outside of one."""
    git = shutil.which("git")
    if git is None:
        return None
    found = subprocess.run(
        [git, "describe", "--always", "--dirty"],
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
