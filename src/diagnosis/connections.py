"""Checks of what a run talks to: checkpoint stores, alert services, the port of the service.

The checks open what the run would open, with the same functions and less patience. Nothing is
written and no message is sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from src.checkpoint.stores.bucket import Tuning
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import CHECKPOINT
from src.checkpoint.stores.url import parse_store_url
from src.diagnosis.finding import Finding
from src.diagnosis.project import check_folder
from src.errors import ConfigError, StoreError
from src.monitoring.alerts.channels import CHANNELS, open_channels
from src.retry import Retry
from src.schema import AlertsConfig, Config, ServingConfig, TrainerConfig
from src.serving.listener import open_listener
from src.units import format_seconds

LONGEST_WAIT_SECONDS = 20.0
_TUNING = Tuning(
    retry=Retry(attempts=2, first_wait_seconds=0.5), connect_seconds=3.0, read_seconds=8.0
)
_Result = TypeVar("_Result")


def check_stores(config: Config) -> Iterator[Finding]:
    """Whether each `checkpoint_store` can be read now, from here, with these credentials."""
    sections: tuple[tuple[str, TrainerConfig], ...] = (
        ("teacher", config.teacher),
        ("student", config.student),
    )
    for name, section in sections:
        if section.checkpoint_store is not None:
            yield check_store(name, section.checkpoint_store)
    if config.teacher.checkpoint_store is not None:
        yield from judge_sharing(config.teacher.checkpoint_store, config.student.checkpoint_store)


def judge_sharing(teacher: str, student: str | None) -> Iterator[Finding]:
    """Two runs in one store take it away from each other."""
    if student is not None and student.rstrip("/") == teacher.rstrip("/"):
        yield Finding(
            "student store",
            "problem",
            f"{student} is the teacher's store, too; the later run would take it away",
            f"give the student a folder of its own, e.g. {student.rstrip('/')}-student",
        )


def check_store(
    section_name: str, address: str, *, longest_seconds: float = LONGEST_WAIT_SECONDS
) -> Finding:
    """Whether a store lets itself be listed.

    Args:
        section_name: teacher or student.
        address: Its address.
        longest_seconds: How long is waited; looking up a name has no limit of its own.
    """
    topic = f"{section_name} store"
    began = time.monotonic()
    try:
        stored = within(
            lambda: open_store(address, _TUNING).list(), longest_seconds=longest_seconds
        )
    except ConfigError as error:
        return Finding(
            topic, "problem", str(error), f"mend {section_name}.checkpoint_store, or set it to null"
        )
    except StoreError as error:
        return Finding(topic, "problem", f"{address}: {error.reason}", error.remedy)
    if stored is None:
        return Finding(
            topic,
            "problem",
            f"{address}: no answer within {format_seconds(longest_seconds)}",
            "look at the machine's network and name servers; a run with an empty output_dir would "
            "refuse to start",
        )
    steps = [each.step for each in stored if each.kind == CHECKPOINT]
    folder = parse_store_url(address)
    if folder.scheme == "file":
        writing = check_folder(topic, Path(folder.prefix))
        if writing.status != "ok":
            return writing
    found = f"checkpoints up to step {max(steps):,}" if steps else "no checkpoint yet"
    seen = f"{address}: answered in {format_seconds(time.monotonic() - began)}, {found}"
    return Finding(topic, "ok", seen)


def within(action: Callable[[], _Result], *, longest_seconds: float) -> _Result | None:
    """The result of an action, whose exception is raised here; None when it takes longer."""
    results: list[_Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception as error:  # noqa: BLE001  raised again in the thread that asked
            errors.append(error)

    # A daemon: what never answers does not keep the process from ending.
    thread = threading.Thread(target=run, name="doctor", daemon=True)
    thread.start()
    thread.join(longest_seconds)
    if errors:
        raise errors[0]
    return results[0] if results else None


def check_alerts(config: AlertsConfig) -> Iterator[Finding]:
    """Whether the secrets of each channel are there; whether they are right, a message shows."""
    for name in CHANNELS:
        section = getattr(config, name)
        if section is None:
            continue
        others = {other: None for other in CHANNELS if other != name}
        try:
            open_channels(config.model_copy(update=others))
        except ConfigError as error:
            seen = error.problems[0].removeprefix(f"alerts.{name}: ")
            yield Finding(f"alerts.{name}", "problem", seen, f"or set alerts.{name}=null")
        else:
            yield Finding(
                f"alerts.{name}",
                "ok",
                "its secrets are set",
                "python run.py alerts test sends a message",
            )


def check_port(config: ServingConfig) -> Finding:
    """Whether `run.py serve` could listen; nothing else needs the port."""
    where = f"{config.host}:{config.port}"
    try:
        open_listener(config).close()
    except ConfigError as error:
        advice = "set serving.port to another, or 0 for a free one; only serve needs it"
        return Finding("serving.port", "warning", str(error), advice)
    return Finding("serving.port", "ok", f"{where} is free" if config.port else "a free one")
