"""`run.py demo`: the real stages, one after another, on a corpus that a laptop can learn.

Each stage is the command a user would type, started as its own process. What is up to date is
skipped: a finished demo at once, a stage by its own check. An interrupted demo continues where it
was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.config import config_fingerprint, load_config
from src.corpus.demo import write_demo_corpus
from src.errors import EXIT_DONE, EXIT_INTERRUPTED, ConfigError, LinguaBridgeError
from src.files import write_text
from src.launch import ROOT, cpu_ranks, recipe_command, run_to_end, stage_command
from src.schema import Config

logger = logging.getLogger(__name__)

DEMO_CONFIG = ROOT / "configs" / "demo.yaml"
SENTENCES = (
    "Monday, March 5, 2029",
    "She paid 1,234.50 US dollars for the ticket.",
    "会议于2031年7月16日下午3:45开始。",
)
_LAST_LINES = 12
_PYTHON_FILES = ("src/**/*.py", "requirements.txt")


class StageStopped(LinguaBridgeError):
    """A stage did not finish; its own output says why.

    Attributes:
        exit_code: The stage's, so that "interrupted, start me again" stays visible.
    """

    def __init__(self, stage: str, code: int) -> None:
        if code == EXIT_INTERRUPTED:
            text = f"{stage} was interrupted and has saved its state; run the demo again to go on"
        else:
            text = f"{stage} ended with code {code}; its last lines above say why"
        super().__init__(text)
        self.exit_code = code if code > 0 else 1


@dataclass
class _Demo:
    """A demo run: where it is, what the stages are told, how long each took."""

    config: Config
    arguments: list[str]
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, work: Callable[[], None]) -> None:
        """Does a stage's work and notes the time."""
        logger.info("── %s", stage)
        began = time.perf_counter()
        work()
        self.seconds[stage] = round(time.perf_counter() - began, 1)

    def run(self, stage: str, command: Sequence[str], *, log: Path | None = None) -> None:
        """Runs one command.

        Args:
            stage: Its name.
            command: What to run.
            log: A file whose end says why it failed, where the terminal does not.

        Raises:
            StageStopped: If it does not end with code 0.
        """
        code = run_to_end(command)
        if code == EXIT_DONE:
            return
        if log is not None and log.is_file() and code != EXIT_INTERRUPTED:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            sys.stderr.writelines(lines[-_LAST_LINES:])
        raise StageStopped(stage, code)


def run_demo(
    config_files: Sequence[Path] | None, overrides: Sequence[str], *, fresh: bool
) -> dict[str, Any]:
    """Runs what is not up to date and shows the result.

    Args:
        config_files: None takes configs/demo.yaml.
        overrides: Passed to every stage.
        fresh: Deletes the demo's folder first.

    Returns:
        The content of summary.json.
    """
    from src.demo_summary import show_summary

    files = list(config_files or [DEMO_CONFIG])
    config = load_config(files, overrides)
    folder = Path(config.data.output_dir).parent
    if fresh and folder.exists():
        shutil.rmtree(folder)
    arguments = [text for file in files for text in ("--config", str(file))]
    demo = _Demo(config, [*arguments, *overrides], folder)
    path = folder / "summary.json"
    fingerprint = _fingerprint(config)
    summary = _read_summary(path)
    if summary is None or summary["fingerprint"] != fingerprint:
        _run_stages(demo)
        summary = {**_collect(demo), "fingerprint": fingerprint}
        write_text(path, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    else:
        logger.info("the demo in %s is up to date; --fresh runs it anew", folder)
    show_summary(summary, folder)
    return summary


def trained_student(config: Config) -> str | None:
    """The demo's student where the configuration's own is not trained yet, else None."""
    own = Path(config.student.output_dir) / "final"
    demo = Path(load_config([DEMO_CONFIG]).student.output_dir) / "final"
    if own.is_dir() or not demo.is_dir():
        return None
    logger.info("no model in %s yet; translating with the demo's student in %s", own, demo)
    return str(demo)


def _run_stages(demo: _Demo) -> None:
    config, arguments = demo.config, demo.arguments
    ranks = cpu_ranks()

    def process() -> None:
        write_demo_corpus(_corpus_folder(config))
        demo.run("process", stage_command("process", arguments))

    def train(recipe: str) -> Callable[[], None]:
        log_folder = demo.folder / "log" / recipe
        command = recipe_command(recipe, arguments, ranks=ranks, log_folder=log_folder)
        # The launcher ends before it has passed on the last words of a rank that fails early.
        log = log_folder / "workerlog.0" if ranks > 1 else None
        return lambda: demo.run(recipe, command, log=log)

    demo.timed("process", process)
    demo.timed("teacher", train("teacher"))
    demo.timed("student", train("student"))
    demo.timed("evaluate", lambda: _evaluate_both(demo))


def _corpus_folder(config: Config) -> Path:
    """Where the demo corpus goes: beside the Moses files that the configuration names.

    Raises:
        ConfigError: If the demo's sources are not what the demo writes.
    """
    paths = [Path(source.path) for source in config.data.sources]
    if len(paths) != 1 or paths[0].name != "{en,zh}.txt":
        raise ConfigError("the demo reads one source, FOLDER/{en,zh}.txt; leave data.sources alone")
    return paths[0].parent


def _evaluate_both(demo: _Demo) -> None:
    """Teacher and student at the same time: decoding a tiny model keeps one core busy.

    What they say would come mixed, so it goes to files.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    logs = {name: demo.folder / "log" / f"evaluate-{name}.log" for name in ("teacher", "student")}
    for name, path in logs.items():
        arguments = [*demo.arguments, "--model", str(_model(demo, name))]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as log:
            running[name] = subprocess.Popen(stage_command("evaluate", arguments), stderr=log)
    codes = {name: process.wait() for name, process in running.items()}
    for name, code in codes.items():
        if code != EXIT_DONE:
            sys.stderr.write(logs[name].read_text(encoding="utf-8"))
            raise StageStopped(f"evaluate ({name})", code)


def _model(demo: _Demo, name: str) -> Path:
    section = getattr(demo.config, name)
    return Path(section.output_dir) / "final"


def _collect(demo: _Demo) -> dict[str, Any]:
    """All stages' results under their names, three translations and the seconds."""
    config = demo.config
    began = time.perf_counter()
    translations = _translate(demo)
    demo.seconds["translate"] = round(time.perf_counter() - began, 1)
    summary = {
        "process": _read_json(Path(config.data.output_dir) / "report.json"),
        "teacher": _read_json(Path(config.teacher.output_dir) / "summary.json"),
        "student": _read_json(Path(config.student.output_dir) / "summary.json"),
        "evaluate": {
            name: _read_json(_model(demo, name).parent / "evaluation" / "scores.json")
            for name in ("teacher", "student")
        },
        "translations": translations,
        "seconds": demo.seconds,
    }
    summary["process"] = {
        key: value
        for key, value in summary["process"].items()
        if key not in ("histograms", "examples")
    }
    return summary


def _translate(demo: _Demo) -> dict[str, str]:
    command = stage_command("translate", [*SENTENCES, "--model", str(_model(demo, "student"))])
    result = subprocess.run(command, stdout=subprocess.PIPE, check=False, encoding="utf-8")
    if result.returncode != EXIT_DONE:
        raise StageStopped("translate", result.returncode)
    return dict(zip(SENTENCES, result.stdout.split("\n"), strict=False))


def _fingerprint(config: Config) -> str:
    """Changes when the configuration or the program does."""
    digest = hashlib.sha256(config_fingerprint(config).encode())
    digest.update(sys.version.encode())
    for pattern in _PYTHON_FILES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _read_summary(path: Path) -> dict[str, Any] | None:
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
