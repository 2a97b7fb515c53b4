"""What an instance does: fetch inputs, run the training, report, hand in the result.

    python -m src.cloud.worker SETTINGS.json      started by deploy/aliyun/bootstrap.sh

While the training runs, a thread reports at every heartbeat how far it is, hands in the end of what
it printed, and looks whether the run is asked to stop; another asks the metadata service whether
the machine is about to be taken away. In both cases the training (each rank of it) gets SIGTERM, on
which it saves and ends with 75. Training that watches for the notice itself is told twice, which
changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.checkpoint.stores.oss_credentials import ROLE_VARIABLE
from src.cloud.alert_secrets import fetch_secrets, received
from src.cloud.notice import notice_source
from src.cloud.objects import Objects
from src.cloud.run_state import OUTPUT, Phase, RunState, Status, next_beat
from src.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, LinguaBridgeError, StoreError
from src.launch import ask_to_end, recipe_command, stage_command, was_ended
from src.logs import set_up_logging
from src.metadata_service import metadata_url
from src.monitoring.metrics import METRICS_FILE, read_metrics
from src.retry import Retry

LOG_FILE = "training.log"
_LOG_BYTES = 64 * 1024
_NOTICE_SECONDS = 5.0
_PATIENCE_SECONDS = 1800.0
_SUMMARY = "summary.json"

logger = logging.getLogger("src.cloud.worker")  # started as a module, it is __main__


@dataclass(frozen=True)
class Settings:
    """What the start script tells an instance.

    Attributes:
        bucket: Address of the bucket, without options.
        oss_endpoint: Of OSS; empty for a folder.
        ram_role: Whose keys open the bucket; empty for a folder.
        run: Name of the run.
        launch: Name of this launch.
        command: What to run; empty prepares the machine and runs nothing.
        output_dir: Where the training writes.
        inputs: Local path → key in the bucket, fetched where absent.
        heartbeat_seconds: Between two reports.
        python: Of a ready environment; null makes one.
        package_index: For pip.
    """

    bucket: str
    oss_endpoint: str
    ram_role: str
    run: str
    launch: str
    command: tuple[str, ...]
    output_dir: str
    inputs: dict[str, str] = field(default_factory=dict)
    heartbeat_seconds: float = 30.0
    python: str | None = None
    package_index: str | None = None

    def address(self) -> str:
        """The bucket with its options."""
        return f"{self.bucket}?endpoint={self.oss_endpoint}" if self.oss_endpoint else self.bucket


class Worker:
    """One instance's work.

    Args:
        settings: From the start script.
        state: Where to report.
        folder: Where things are on this machine.
    """

    def __init__(self, settings: Settings, state: RunState, folder: Path) -> None:
        self._settings = settings
        self._state = state
        self._folder = folder
        self._status = Status(settings.launch)
        self._lock = threading.Lock()
        self._training: subprocess.Popen[bytes] | None = None
        self._is_launcher = False
        # For what must not be left out, also when the bucket is away for a while.
        self._patience = Retry(
            attempts=None,
            first_wait_seconds=settings.heartbeat_seconds,
            longest_wait_seconds=settings.heartbeat_seconds,
            longest_seconds=_PATIENCE_SECONDS,
            tell=lambda error, _: logger.warning("%s; trying again", error),
        )
        self._began = time.monotonic()
        self._told = False

    def run(self) -> int:
        """Everything; returns the exit code of the training, 0 without one."""
        self._patience.call(lambda: self._report(phase="fetching"))
        self._patience.call(self._fetch_inputs)
        if not self._settings.command:
            self._patience.call(lambda: self._report(phase="done", exit_code=0))
            return 0
        code = self._train()
        if code == 0:
            self._patience.call(lambda: self._report(phase="uploading", exit_code=0))
            summary = self._patience.call(self._hand_in)
            self._patience.call(lambda: self._report(phase="done", exit_code=0, summary=summary))
        elif code == EXIT_INTERRUPTED:
            self._patience.call(lambda: self._report(phase="interrupted", exit_code=code))
        else:
            words = self._last_words()
            self._patience.call(lambda: self._report(phase="failed", exit_code=code, message=words))
        self._patience.call(self._hand_in_log)
        return code

    def fail(self, reason: str, exit_code: int) -> None:
        """Reports that it came to no training."""
        self._report(phase="failed", exit_code=exit_code, message=reason)

    def _fetch_inputs(self) -> None:
        objects = self._state.objects
        for local, key in self._settings.inputs.items():
            target = self._folder / local
            if target.exists():
                continue
            names = objects.list(f"{key.rstrip('/')}/")
            for name in names:
                objects.get_file(name, target / name.removeprefix(f"{key.rstrip('/')}/"))
            if not names:
                objects.get_file(key, target)
            logger.info("fetched %s (%d files)", local, len(names) or 1)

    def _train(self) -> int:
        environment = dict(os.environ)
        if self._settings.ram_role:
            environment[ROLE_VARIABLE] = self._settings.ram_role
        command, self._is_launcher = self._command()
        secrets = self._patience.call(lambda: fetch_secrets(self._state))
        with received(secrets, self._folder) as files, (self._folder / LOG_FILE).open("ab") as log:
            self._began = time.monotonic()
            self._training = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, env={**environment, **files}
            )
            self._status = replace(self._status, phase="training")  # told at the first heartbeat
            pause = min(_NOTICE_SECONDS, self._settings.heartbeat_seconds)
            notice = notice_source(metadata_url(), poll_seconds=pause)
            with self._heartbeats(), notice(self._tell_to_end):
                code = self._training.wait()
        # Ended by SIGTERM before it could take it: nothing was lost that a restart does not redo.
        is_early = self._told and was_ended(code, is_launcher=self._is_launcher)
        return EXIT_INTERRUPTED if is_early else code

    def _command(self) -> tuple[list[str], bool]:
        """What to run, and whether it is the launcher, which gives each of several GPUs a rank."""
        name, *arguments = self._settings.command
        gpus = range(count_gpus())
        if name not in ("teacher", "student") or len(gpus) < 2:  # noqa: PLR2004
            return stage_command(name, arguments), False
        folder = self._folder / "launcher"
        return recipe_command(name, arguments, gpus=gpus, log_folder=folder), True

    @contextmanager
    def _heartbeats(self) -> Iterator[None]:
        """Reports in a thread while the block runs."""
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._settings.heartbeat_seconds):
            try:
                self._report()
                self._hand_in_log()
                reason = self._state.stop_reason()
            except LinguaBridgeError as error:  # the bucket is away: training goes on
                logger.warning("no report: %s", error)
                continue
            if reason is not None:
                self._tell_to_end(f"the run is asked to stop: {reason}")

    def _tell_to_end(self, reason: str) -> None:
        with self._lock:
            if self._training is None or self._told:
                return
            self._told = True
        logger.info("%s; the training saves and ends", reason)
        ask_to_end(self._training, signal.SIGTERM, is_launcher=self._is_launcher)

    def _report(self, *, phase: Phase | None = None, **changes: Any) -> None:
        with self._lock:
            changes |= self._progress()
            if phase is not None:
                changes["phase"] = phase
            if phase == "done" and self._settings.command:
                changes["progress"] = 1.0
            self._status = next_beat(self._status, **changes)
            self._state.report(self._status)

    def _progress(self) -> dict[str, Any]:
        if self._training is None:
            return {}
        found: dict[str, Any] = {"training_seconds": time.monotonic() - self._began}
        records = read_metrics(self._folder / self._settings.output_dir / METRICS_FILE)
        steps = [record for record in records if record.get("total_steps")]
        if steps:
            last = steps[-1]
            found["step"] = int(last["step"])
            found["progress"] = last["step"] / last["total_steps"]
            found["loss"] = last.get("loss")
        return found

    def _hand_in(self) -> dict[str, Any]:
        """Uploads what is to be kept of the finished training; returns its summary."""
        folder = self._folder / self._settings.output_dir
        kept = [folder / _SUMMARY, folder / METRICS_FILE]
        kept += sorted(path for path in (folder / "final").rglob("*") if path.is_file())
        published = self._state.key("checkpoints/final-")  # by the training, where it has a store
        for path in kept:
            if path.is_file():
                key = self._state.key(f"{OUTPUT}/{path.relative_to(folder).as_posix()}")
                self._state.objects.put_file(key, path, originals=published)
        try:
            summary = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def _hand_in_log(self) -> None:
        key = self._state.key(f"logs/{self._settings.launch}.txt")
        self._state.objects.put(key, self._log_end())

    def _log_end(self) -> bytes:
        try:
            with (self._folder / LOG_FILE).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _LOG_BYTES))
                return file.read()
        except OSError:
            return b""

    def _last_words(self) -> str:
        lines = self._log_end().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]


def count_gpus() -> int:
    """GPUs that the driver lists; 0 without one."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],  # noqa: S607 - where it is differs between images
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU") for line in listed.stdout.splitlines())


def read_settings(path: Path) -> Settings:
    """From settings.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Settings(**{**content, "command": tuple(content["command"])})


def main(path: Path) -> int:
    """Runs the work that the settings name, in their folder."""
    set_up_logging()
    settings = read_settings(path)
    if settings.ram_role:
        os.environ[ROLE_VARIABLE] = settings.ram_role
    worker = Worker(settings, RunState(Objects(settings.address()), settings.run), path.parent)
    try:
        return worker.run()
    except LinguaBridgeError as error:
        logger.error("%s", error)  # noqa: TRY400 - one sentence, no traceback
        temporary = isinstance(error, StoreError) and error.is_temporary
        worker.fail(str(error), EXIT_INTERRUPTED if temporary else EXIT_FAILED)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) if len(sys.argv) == 2 else EXIT_USAGE)  # noqa: PLR2004
