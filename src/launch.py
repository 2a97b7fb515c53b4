"""Starting a recipe: as one process or, under Paddle's launcher, as one per core or device.

What is started is also told to end from here, because the launcher cannot be told: it passes
SIGTERM on, and kills its ranks 30 seconds later, whether they have saved or not.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

from src.errors import EXIT_INTERRUPTED
from src.secret import Secret, mask

ROOT = Path(__file__).resolve().parents[1]
_MOST_CPU_RANKS = 2
_LONGEST_PARTING_SECONDS = 1800.0
# Set by Paddle's launcher for each rank.
_LOG_FOLDER_VARIABLE = "PADDLE_LOG_DIR"
_LOCAL_RANK_VARIABLE = "PADDLE_LOCAL_RANK"
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SECRET_NAME = re.compile(r"SECRET|TOKEN(?!IZ)|PASSW|CREDENTIAL|WEBHOOK|ACCESS_KEY|API_KEY|_KEY$")


def cpu_ranks() -> int:
    """Ranks worth starting for a small model on this machine's cores.

    The work between matrix products runs on one core, so a second process helps more than a second
    thread; beyond two the batches of a small model become too small to share.
    """
    return max(1, min(_MOST_CPU_RANKS, os.cpu_count() or 1))


def recipe_command(
    recipe: str,
    arguments: Sequence[str],
    *,
    ranks: int = 1,
    gpus: Sequence[int] = (),
    log_folder: Path,
) -> list[str]:
    """The command line that runs `src/train_<recipe>.py`.

    Args:
        recipe: "teacher" or "student".
        arguments: Passed on.
        ranks: 1 starts it directly, without the launcher.
        gpus: Numbers of the GPUs that get a rank each, in place of `ranks`.
        log_folder: Where the launcher writes each rank's output.
    """
    script = str(ROOT / "src" / f"train_{recipe}.py")
    if ranks == 1 and not gpus:
        return [sys.executable, script, *arguments]
    places = ["--gpus", ",".join(map(str, gpus))] if gpus else ["--nproc_per_node", str(ranks)]
    launcher = [sys.executable, "-m", "paddle.distributed.launch", *places]
    options = ["--log_dir", str(log_folder), "--log_level", "ERROR"]
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


def ask_to_end(
    process: subprocess.Popen[bytes], number: signal.Signals, *, is_launcher: bool
) -> None:
    """Sends a signal to a started command; under the launcher to its ranks, which then save.

    Does nothing to a command that has ended. May be called by a signal handler.

    Args:
        process: Of the command.
        number: The signal.
        is_launcher: Whether the command is Paddle's launcher. One that has no ranks yet gets the
            signal itself: there is nothing to save.
    """
    if process.poll() is not None:
        return
    targets = [rank.pid for rank in _ranks_of(process.pid)] if is_launcher else []
    for target in targets or [process.pid]:
        with suppress(ProcessLookupError):
            os.kill(target, number)


def was_ended(code: int, *, is_launcher: bool) -> bool:
    """Whether a request to end met a command before it could take it: it could not save, either.

    Args:
        code: Exit code; minus the number of the signal that ended it.
        is_launcher: Whether the command is Paddle's launcher, which ends with the number of the
            signal that it got, or with 256 less the number of the one that ended a rank.
    """
    launchers = (signal.SIGTERM, signal.SIGINT, 256 - signal.SIGTERM, 256 - signal.SIGINT)
    return -code in _STOP_SIGNALS or (is_launcher and code in launchers)


def _ranks_of(launcher: int) -> list[psutil.Process]:
    """The ranks that a launcher has started; its other children ask the driver about the GPUs."""
    ranks = []
    with suppress(psutil.Error):  # it has gone, or may not be looked at
        for child in psutil.Process(launcher).children():
            with suppress(psutil.Error):
                if _LOCAL_RANK_VARIABLE in child.environ():
                    ranks.append(child)
    return ranks


def leave(code: int) -> NoReturn:
    """Ends this process with an exit code; the last act of a recipe that was started as a file.

    A rank skips the tidying up of libraries: its peers leave at the same time, and the one that
    still holds a connection to them is aborted by the communication library, so that the launcher
    would report that instead of 75. And the launcher kills the other ranks three seconds after one
    has ended with an error, while the first may still be uploading: after an interruption, on which
    all have agreed, the others wait for it.
    """
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    if code == EXIT_INTERRUPTED and os.environ.get(_LOCAL_RANK_VARIABLE, "0") != "0":
        _wait_for_first_rank()
    os._exit(code)


def _wait_for_first_rank() -> None:
    """Returns when the first rank of this machine has ended."""
    with suppress(psutil.Error):  # it has gone, or may not be looked at
        for peer in _ranks_of(os.getppid()):
            if peer.environ().get(_LOCAL_RANK_VARIABLE) == "0":
                peer.wait(_LONGEST_PARTING_SECONDS)


def mask_launcher_logs(environment: Mapping[str, str]) -> None:
    """Takes secrets out of what Paddle's launcher has written before it started this rank.

    It writes the whole environment into its log folder, as `envlog.0` … for each rank and once more
    into the log of the machine. Does nothing outside the launcher, and where files are not ours.

    Args:
        environment: Of this process.
    """
    folder = environment.get(_LOG_FOLDER_VARIABLE)
    if not folder or environment.get(_LOCAL_RANK_VARIABLE, "0") != "0":
        return
    secrets = [
        Secret(name, form)
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and not name.endswith("_FILE")
        # As the launcher writes it: plainly, and as a Python text.
        for form in {value, repr(value)[1:-1]}
    ]
    with suppress(OSError):
        for path in Path(folder).iterdir():
            if path.name.startswith("envlog.") or path.suffix == ".log":
                with suppress(OSError, UnicodeDecodeError):
                    text = path.read_text(encoding="utf-8")
                    masked = mask(text, secrets)
                    if masked != text:
                        path.write_text(masked, encoding="utf-8")
