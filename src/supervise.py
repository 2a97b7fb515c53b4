"""Starting a run again when it ended before its end: `run.py teacher --supervise`.

The run resumes by itself from its newest whole checkpoint; this process only watches and decides.
It loads neither Paddle nor data, so it lives on when training takes all the memory.

- ended with 75 (interrupted and saved): started again
- crashed: started again, after a wait that doubles while there is no newer checkpoint; after some
  crashes in a row without one it gives up, because the next would end the same way
- ended with 0, 2 (refused configuration) or 130 (Ctrl-C twice): over

Signals go to the run, which saves, and supervising ends with it.
"""

from __future__ import annotations

import logging
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

from src.checkpoint.resume import list_checkpoints
from src.cloud.off_peak import OffPeak
from src.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_KILLED_BY_USER, EXIT_USAGE
from src.launch import ask_to_end, was_ended
from src.monitoring.alert import Alert
from src.monitoring.metrics import METRICS_FILE, read_metrics
from src.schema import SuperviseConfig
from src.units import format_seconds

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FINAL_CODES = (EXIT_DONE, EXIT_USAGE, EXIT_KILLED_BY_USER)
_READ_BYTES = 65_536
_LONGEST_WORDS = 300
_REPORT = re.compile(r"\d\d:\d\d:\d\d (\[\d+/\d+\] )?(?!WARNING|ERROR)")
_DRAIN_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class End:
    """How one start of the run ended.

    Attributes:
        code: Exit code; minus the number of the signal that ended it.
        step: Newest logged step; None before the first.
        saved_step: Step of the newest checkpoint; -1 without one.
        words: The last line it printed besides reports of how training goes.
    """

    code: int
    step: int | None
    saved_step: int
    words: str = ""

    @property
    def in_words(self) -> str:
        """E.g. "ended by SIGKILL (often: memory ran out) at step 12"."""
        if self.code == EXIT_INTERRUPTED:
            how = "was interrupted and saved"
        elif self.code >= 0:
            how = f"failed with exit code {self.code}"
        else:
            how = f"was ended by {_signal_name(-self.code)}"
            if self.code == -signal.SIGKILL:
                how += " (often: memory ran out)"
        where = "before its first step" if self.step is None else f"at step {self.step}"
        return f"{how} {where}" + (f": {self.words}" if self.words else "")


@dataclass(frozen=True)
class Verdict:
    """What follows from an end.

    Attributes:
        exit_code: Supervising is over with this code; None: the run is started again.
        wait_seconds: Before that.
        why: One sentence.
    """

    exit_code: int | None
    wait_seconds: float
    why: str


class RestartPolicy:
    """Decides after each end whether and when the run starts again.

    Args:
        settings: Limits and waits.
        saved_step: Of the newest checkpoint before the first start; -1 without one.
    """

    def __init__(self, settings: SuperviseConfig, saved_step: int) -> None:
        self._settings = settings
        self._saved_step = saved_step
        self._restarts = 0
        self._idle_ends = 0
        self._crashes = 0

    def after(self, end: End) -> Verdict:
        """The verdict on an end."""
        if end.code in _FINAL_CODES:
            return Verdict(end.code, 0.0, _why_final(end))
        if end.saved_step > self._saved_step:
            self._saved_step = end.saved_step
            self._idle_ends = self._crashes = 0
        self._crashes += end.code != EXIT_INTERRUPTED
        code = end.code if end.code > 0 else EXIT_FAILED
        if self._crashes >= self._settings.most_without_progress:
            saved = f"step {self._saved_step}" if self._saved_step >= 0 else "the start"
            return Verdict(
                code,
                0.0,
                f"given up: {self._crashes} crashes in a row without a checkpoint beyond {saved}; "
                f"the last {end.in_words}",
            )
        if self._restarts >= self._settings.most_restarts:
            return Verdict(
                code,
                0.0,
                f"given up after {self._restarts} restarts "
                f"(interruption.supervise.most_restarts); the last start {end.in_words}",
            )
        wait = min(
            self._settings.first_wait_seconds * 2.0 ** min(self._idle_ends, 30),
            self._settings.longest_wait_seconds,
        )
        self._idle_ends += 1
        self._restarts += 1
        return Verdict(
            None,
            wait,
            f"the run {end.in_words}; it starts again in {format_seconds(wait)} "
            f"(restart {self._restarts} of {self._settings.most_restarts})",
        )


class Supervisor:
    """Runs a command again and again; owns the signal handlers meanwhile.

    Args:
        command: What to run.
        folder: The run's output_dir.
        settings: Limits and waits.
        is_launcher: The command is Paddle's launcher: its output is no result, and signals go to
            its ranks, see `src.launch`.
        off_peak: Hours in which the run may be started; None: always.
        alert: Logs, and tells people what the run cannot; takes kind and text.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        settings: SuperviseConfig,
        *,
        is_launcher: bool,
        off_peak: OffPeak | None,
        alert: Alert,
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._settings = settings
        self._is_launcher = is_launcher
        self._off_peak = off_peak
        self._alert = alert
        self._asked: signal.Signals | None = None
        self._child: subprocess.Popen[bytes] | None = None
        # A signal handler may take no lock; writing one byte wakes whoever waits for it.
        self._awake, self._wake = os.pipe()

    def run(self) -> int:
        """Supervises to the end; returns the exit code."""
        previous = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in previous.items():
            if handler is not signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, self._on_signal)
        try:
            return self._run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _run(self) -> int:
        policy = RestartPolicy(self._settings, newest_checkpoint(self._folder))
        while True:
            self._wait_for_hours()
            if self._is_asked():
                return EXIT_INTERRUPTED
            end = self._run_once()
            if self._is_asked():
                return self._code_when_asked(end)
            verdict = policy.after(end)
            if verdict.exit_code is not None:
                if verdict.exit_code != EXIT_DONE:
                    self._alert("failed", verdict.why)  # which is logged, too
                return verdict.exit_code
            if end.code < 0:  # it could not tell anybody itself
                self._alert("restarted", verdict.why)
            else:
                logger.warning("%s", verdict.why)
            self._sleep(verdict.wait_seconds)

    def _run_once(self) -> End:
        before = last_step(self._folder)
        readable, writable = os.pipe()
        tail = bytearray()
        # Its own session: Ctrl-C reaches it once, through here, and not a second time directly.
        self._child = subprocess.Popen(
            self._command,
            stdout=writable if self._is_launcher else None,
            stderr=writable,
            start_new_session=True,
        )
        os.close(writable)
        copying = threading.Thread(target=_copy, args=(readable, tail), daemon=True)
        copying.start()
        if self._asked is not None:  # it came while the run was being started
            self._pass_on(self._asked)
        code = self._child.wait()
        # What the run has started may hold the pipe open longer than the run lives.
        copying.join(_DRAIN_SECONDS)
        step = last_step(self._folder)
        return End(
            code,
            step if step is not None else before,
            newest_checkpoint(self._folder),
            _last_line(bytes(tail)),
        )

    def _code_when_asked(self, end: End) -> int:
        code = end.code
        if was_ended(code, is_launcher=self._is_launcher):
            code = EXIT_INTERRUPTED
        if code < 0:
            code = EXIT_FAILED
        logger.info("stopped by %s, exit code %d", _signal_name(self._asked or 0), code)
        return code

    def _is_asked(self) -> bool:
        """Whether a signal has come, which happens between any two lines."""
        return self._asked is not None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked = signal.Signals(number)
        os.write(self._wake, b".")
        self._pass_on(self._asked)

    def _pass_on(self, number: signal.Signals) -> None:
        if self._child is None:
            return
        # A closed terminal means the same as a request to end; the run knows only that one.
        passed = signal.SIGTERM if number == signal.SIGHUP else number
        ask_to_end(self._child, passed, is_launcher=self._is_launcher)

    def _wait_for_hours(self) -> None:
        hours = self._off_peak
        if hours is None:
            return
        now = datetime.now(timezone.utc)
        if hours.contains(now):
            return
        begin = hours.next_begin(now)
        logger.info("waiting for interruption.off_peak until %s", begin.strftime("%d %b %H:%M %Z"))
        while not self._is_asked() and (now := datetime.now(timezone.utc)) < begin:
            # In pieces: the wall clock may be set meanwhile.
            self._sleep(min(60.0, (begin - now).total_seconds()))

    def _sleep(self, seconds: float) -> None:
        """Waits so long, or until a signal comes."""
        until = time.monotonic() + seconds
        while not self._is_asked() and (left := until - time.monotonic()) > 0:
            select.select([self._awake], [], [], left)


def newest_checkpoint(folder: Path) -> int:
    """Step of the newest committed checkpoint in a run's folder; -1 without one."""
    steps = [status.manifest.step for status in list_checkpoints(folder) if status.manifest]
    return max(steps, default=-1)


def last_step(folder: Path) -> int | None:
    """The newest step that a run has logged."""
    steps = [record["step"] for record in read_metrics(folder / METRICS_FILE) if "step" in record]
    return max(steps, default=None)


def _copy(readable: int, tail: bytearray) -> None:
    """Passes the run's words on to stderr, and remembers the last `_READ_BYTES` of them."""
    with os.fdopen(readable, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            tail += piece  # a line may come in many pieces
            del tail[:-_READ_BYTES]
            sys.stderr.buffer.write(piece)
            sys.stderr.buffer.flush()


def _last_line(tail: bytes) -> str:
    """The last line that is no report of how training goes."""
    lines = [line.strip() for line in tail.decode("utf-8", errors="replace").splitlines()]
    words = [line for line in lines if line and not _REPORT.match(line)]
    return words[-1][:_LONGEST_WORDS] if words else ""


def _why_final(end: End) -> str:
    if end.code == EXIT_USAGE:
        return f"starting again would change nothing: the configuration is refused: {end.words}"
    if end.code == EXIT_KILLED_BY_USER:
        return "the run was ended by Ctrl-C"
    return "the run is done"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
