"""`run.py doctor`: looks at this machine and the configuration, and says what to do.

Nothing is changed or written. The checks are in `src.diagnosis`; here is their order and how the
findings are shown.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from src.diagnosis import cloud, connections, gpus, machine, packages, project, room
from src.diagnosis.finding import Finding, Status
from src.errors import EXIT_DONE, EXIT_FAILED
from src.schema import Config

REPOSITORY = Path(__file__).resolve().parents[1]
MARKS: dict[Status, str] = {"ok": "✓", "warning": "!", "problem": "✗"}
ASCII_MARKS: dict[Status, str] = {"ok": "+", "warning": "!", "problem": "x"}
_TOPIC_WIDTH = 18
_WIDEST_LINE = 100


def run_doctor(config: Config, *, as_json: bool) -> int:
    """Prints the findings; 0 when nothing blocks, 1 otherwise.

    Args:
        config: Checked already; its files are looked at relative to the working folder.
        as_json: One object on stdout: `ok`, `problems`, `warnings`, `findings`.
    """
    findings = diagnose(config)
    seen = list(findings) if as_json else _print_as_found(findings)
    problems = sum(finding.status == "problem" for finding in seen)
    warnings = sum(finding.status == "warning" for finding in seen)
    if as_json:
        content = {
            "ok": problems == 0,
            "problems": problems,
            "warnings": warnings,
            "findings": [dataclasses.asdict(finding) for finding in seen],
        }
        print(json.dumps(content, ensure_ascii=False))
    else:
        _print_line("\n" + summarise(problems, warnings))
    return EXIT_FAILED if problems else EXIT_DONE


def diagnose(config: Config, root: Path = REPOSITORY) -> Iterator[Finding]:
    """All findings, in the order in which they matter: what runs, then what it runs on.

    Args:
        config: What is about to be run.
        root: The folder that holds requirements.txt.
    """
    requirements = root / "requirements.txt"
    yield machine.check_python(sys.version_info[:3])
    yield packages.check_pins(requirements)
    paddle = packages.check_import("Paddle", "paddlepaddle", "paddle", requirements)
    yield paddle
    gpu_count = 0
    if paddle.status != "problem":
        yield packages.check_import(
            "PaddleNLP", "paddlenlp", "paddlenlp.transformers", requirements
        )
        devices = packages.read_devices()
        gpu_count = len(devices.gpus)
        yield from packages.judge_devices(devices)
        yield from gpus.check_gpus(gpus.paddle_cuda_version())
    yield machine.check_processor()
    yield machine.check_memory()
    yield from machine.check_clock(requirements)
    yield from cloud.check_instance()
    yield from cloud.check_account()
    yield from project.check_sources(config)
    yield project.check_tokenizer(config)
    for name, section in (("teacher", config.teacher), ("student", config.student)):
        yield project.check_model(name, section)
        yield from project.check_precision(name, section, gpus=gpu_count)
    yield project.check_folder("data.output_dir", Path(config.data.output_dir))
    yield project.check_folder("teacher.output_dir", Path(config.teacher.output_dir))
    yield project.check_folder("student.output_dir", Path(config.student.output_dir))
    yield from room.check_room(config)
    yield from connections.check_stores(config)
    yield from connections.check_alerts(config.alerts)
    yield connections.check_port(config.serving)


def render(finding: Finding, *, marks: dict[Status, str], width: int) -> str:
    """One finding as aligned lines: mark, topic, what was seen, and the advice below it."""
    margin = " " * (_TOPIC_WIDTH + 4)
    head = f"{marks[finding.status]} {finding.topic:<{_TOPIC_WIDTH}}  "
    lines = _wrap(finding.seen, width, head, margin)
    if finding.advice:
        lines += _wrap(finding.advice, width, f"{margin}> ", f"{margin}  ")
    return "\n".join(lines)


def summarise(problems: int, warnings: int) -> str:
    """The last line: whether anything blocks."""
    warned = f"{warnings} warning{'s' if warnings != 1 else ''}" if warnings else "no warnings"
    if problems:
        return f"{problems} problem{'s' if problems != 1 else ''} to solve first, {warned}."
    return f"Nothing blocks, {warned}."


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _print_as_found(findings: Iterable[Finding]) -> list[Finding]:
    """Shows each finding at once: importing Paddle takes seconds, and silence looks like a hang."""
    width = min(_WIDEST_LINE, shutil.get_terminal_size((_WIDEST_LINE, 24)).columns)
    marks = MARKS if _can_show("".join(MARKS.values())) else ASCII_MARKS
    seen = []
    for finding in findings:
        _print_line(render(finding, marks=marks, width=width))
        seen.append(finding)
    return seen


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _print_line(text: str) -> None:
    # A file name may hold characters that the terminal cannot show; the finding matters more.
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)
