"""What an instance does: fetch inputs, run the training, report, hand in the result.

    python -m src.cloud.worker SETTINGS.json      started by deploy/aliyun/bootstrap.sh

While the training runs, a thread reports at every heartbeat how far it is, hands in the end of what
it printed, and looks whether the run is asked to stop; another asks the metadata service whether
the machine is about to be taken away. In both cases the training gets SIGTERM, on which it saves
and ends with 75. Training that watches for the notice itself is told twice, which changes nothing.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import requests

from src.checkpoint.stores.oss_credentials import ROLE_VARIABLE
from src.cloud.objects import Objects
from src.cloud.run_state import OUTPUT, Phase, RunState, Status, next_beat
from src.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, LinguaBridgeError, StoreError
from src.launch import ROOT
from src.logs import set_up_logging
from src.monitoring.metrics import METRICS_FILE, read_metrics

LOG_FILE = "training.log"
_LOG_BYTES = 64 * 1024
_NOTICE_SECONDS = 5.0
_PATIENCE_SECONDS = 1800.0
_METADATA_VARIABLE = "LINGUABRIDGE_METADATA_URL"
_METADATA_URL = "http://100.100.100.200"
_SUMMARY = "summary.json"

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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
        self._began = time.monotonic()
        self._told = False

    def run(self) -> int:
        """Everything; returns the exit code of the training, 0 without one."""
        self._insist(lambda: self._report(phase="fetching"))
        self._insist(self._fetch_inputs)
        if not self._settings.command:
            self._insist(lambda: self._report(phase="done", exit_code=0))
            return 0
        code = self._train()
        if code == 0:
            self._insist(lambda: self._report(phase="uploading", exit_code=0))
            summary = self._insist(self._hand_in)
            self._insist(lambda: self._report(phase="done", exit_code=0, summary=summary))
        elif code == EXIT_INTERRUPTED:
            self._insist(lambda: self._report(phase="interrupted", exit_code=code))
        else:
            words = self._last_words()
            self._insist(lambda: self._report(phase="failed", exit_code=code, message=words))
        self._insist(self._hand_in_log)
        return code

    def _insist(self, action: Callable[[], Result]) -> Result:
        """Does what must not be left out, also when the bucket is away for a while."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return action()
            except StoreError as error:
                if not error.is_temporary or time.monotonic() > deadline:
                    raise
                logger.warning("%s; trying again", error)
            time.sleep(self._settings.heartbeat_seconds)

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
        log = self._folder / LOG_FILE
        environment = dict(os.environ)
        if self._settings.ram_role:
            environment[ROLE_VARIABLE] = self._settings.ram_role
        self._began = time.monotonic()
        with log.open("ab") as output:
            self._training = subprocess.Popen(
                self._command(), cwd=self._folder, stdout=output, stderr=output, env=environment
            )
            self._status = replace(self._status, phase="training")  # told at the first heartbeat
            ended = threading.Event()
            watchers = [
                threading.Thread(target=self._watch_heartbeat, args=(ended,)),
                threading.Thread(target=self._watch_notice, args=(ended,)),
            ]
            for watcher in watchers:
                watcher.start()
            code = self._training.wait()
            ended.set()
            for watcher in watchers:
                watcher.join()
        # Ended by SIGTERM before it could take it: nothing was lost that a restart does not redo.
        return EXIT_INTERRUPTED if code == -signal.SIGTERM and self._told else code

    def _command(self) -> Sequence[str]:
        name, *arguments = self._settings.command
        gpus = count_gpus()
        if name not in ("teacher", "student") or gpus < 2:  # noqa: PLR2004
            return [sys.executable, str(ROOT / "run.py"), name, *arguments]
        # One process per GPU. They watch for the notice themselves, as the launcher gives them no
        # more than 30 seconds after SIGTERM.
        devices = ",".join(str(number) for number in range(gpus))
        launcher = [sys.executable, "-m", "paddle.distributed.launch", "--gpus", devices]
        folder = str(self._folder / "launcher")
        return [*launcher, "--log_dir", folder, str(ROOT / f"src/train_{name}.py"), *arguments]

    def _watch_heartbeat(self, ended: threading.Event) -> None:
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

    def _watch_notice(self, ended: threading.Event) -> None:
        url = os.environ.get(_METADATA_VARIABLE, _METADATA_URL)
        while not ended.wait(min(_NOTICE_SECONDS, self._settings.heartbeat_seconds)):
            if is_about_to_be_reclaimed(url):
                self._tell_to_end("the machine is about to be taken away")

    def _tell_to_end(self, reason: str) -> None:
        with self._lock:
            if self._training is None or self._told:
                return
            self._told = True
        logger.info("%s; the training saves and ends", reason)
        self._training.send_signal(signal.SIGTERM)

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
        for path in kept:
            if path.is_file():
                key = self._state.key(f"{OUTPUT}/{path.relative_to(folder).as_posix()}")
                self._state.objects.put_file(key, path)
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


def is_about_to_be_reclaimed(base_url: str, timeout_seconds: float = 2.0) -> bool:
    """Whether the metadata service names a time at which this machine will be taken away."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            token = session.put(
                f"{base_url}/latest/api/token",
                headers={"X-aliyun-ecs-metadata-token-ttl-seconds": "60"},
                timeout=timeout_seconds,
            )
            answer = session.get(
                f"{base_url}/latest/meta-data/instance/spot/termination-time",
                headers={"X-aliyun-ecs-metadata-token": token.text.strip()},
                timeout=timeout_seconds,
                allow_redirects=False,
            )
            # 404 until the notice, with a page as its body: the status tells, then the form.
            answer.raise_for_status()
            time.strptime(answer.text.strip(), "%Y-%m-%dT%H:%M:%SZ")
    except (requests.RequestException, ValueError):
        return False
    return True


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
