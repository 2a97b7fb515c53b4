"""Starting a recipe: as one process or, under Paddle's launcher, as one per core or device."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from src.errors import EXIT_INTERRUPTED

ROOT = Path(__file__).resolve().parents[1]
_MOST_CPU_RANKS = 2


def cpu_ranks() -> int:
    """Ranks worth starting for a small model on this machine's cores.

    The work between matrix products runs on one core, so a second process helps more than a second
    thread; beyond two the batches of a small model become too small to share.
    """
    return max(1, min(_MOST_CPU_RANKS, os.cpu_count() or 1))


def recipe_command(
    recipe: str, arguments: Sequence[str], *, ranks: int, log_folder: Path
) -> list[str]:
    """The command line that runs `src/train_<recipe>.py`.

    Args:
        recipe: "teacher" or "student".
        arguments: Passed on.
        ranks: 1 starts it directly.
        log_folder: Where the launcher writes each rank's output.
    """
    script = str(ROOT / "src" / f"train_{recipe}.py")
    if ranks == 1:
        return [sys.executable, script, *arguments]
    launcher = [sys.executable, "-m", "paddle.distributed.launch"]
    options = ["--nproc_per_node", str(ranks), "--log_dir", str(log_folder), "--log_level", "ERROR"]
    return [*launcher, *options, script, *arguments]


def stage_command(stage: str, arguments: Sequence[str]) -> list[str]:
    """The command line of `run.py STAGE`."""
    return [sys.executable, str(ROOT / "run.py"), stage, *arguments]


def run_to_end(command: Sequence[str]) -> int:
    """Runs a command with this terminal's output and waits for it, also through Ctrl-C.

    Ctrl-C reaches the child too, which saves and ends by itself; it is waited for.

    Returns:
        The command's exit code; 75 when Ctrl-C ended it, because Paddle's launcher then ends with
        a code of its own whatever its ranks return.
    """
    # The launcher imports Paddle itself and would pass on a remark about a compiler cache.
    environment = {**os.environ, "PYTHONWARNINGS": "ignore:No ccache found"}
    is_interrupted = False
    # It passes on the words of its ranks to stdout, which belongs to results.
    with subprocess.Popen(command, env=environment, stdout=sys.stderr) as process:
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                is_interrupted = True
            else:
                return EXIT_INTERRUPTED if is_interrupted and code else code
