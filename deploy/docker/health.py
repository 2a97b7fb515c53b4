"""Whether the container is well, for Docker's HEALTHCHECK: exit code 0 or 1, and one line.

    python deploy/docker/health.py models                              a container that trains
    python deploy/docker/health.py --url http://127.0.0.1:8000/health  one that runs `serve`

Training: the run below the folder that wrote last is looked at, as `run.py monitor` does. It is
unwell when it has gone silent; one that has not begun, or is finished, is well.
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.errors import EXIT_DONE, EXIT_FAILED, DataError
from src.monitoring.metrics import METRICS_FILE
from src.monitoring.watch import snapshot
from src.units import format_seconds

_OK = 200
_PATIENCE_SECONDS = 10.0


def judge_runs(folder: Path) -> tuple[int, str]:
    """Exit code and line for the run below `folder` that wrote last."""
    written = [path for path in folder.glob(f"*/{METRICS_FILE}") if path.is_file()]
    if not written:
        return EXIT_DONE, f"no run has reported below {folder} yet"
    run = max(written, key=lambda path: path.stat().st_mtime).parent
    try:
        state = snapshot(run)
    except DataError as error:
        return EXIT_FAILED, str(error)
    if state["state"] == "silent":
        return EXIT_FAILED, f"{run} has been silent for {format_seconds(state['silent_seconds'])}"
    return EXIT_DONE, f"{run} is {state['state']}"


def judge_service(url: str) -> tuple[int, str]:
    """Exit code and line for the answer of a service."""
    if not url.startswith(("http://", "https://")):
        return EXIT_FAILED, f"--url {url} is no http address"
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
            return (EXIT_DONE if answer.status == _OK else EXIT_FAILED), f"status {answer.status}"
    except (urllib.error.URLError, OSError) as error:
        return EXIT_FAILED, f"{url}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", nargs="?", default="models", type=Path, help="holds output_dirs of runs (models)"
    )
    parser.add_argument("--url", help="ask a service instead")
    parsed = parser.parse_args(arguments)
    code, line = judge_runs(parsed.folder) if parsed.url is None else judge_service(parsed.url)
    sys.stdout.write(f"{line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
