"""The commands: what each says of itself, which arguments it takes, and the stage it starts.

A stage is imported when its command runs and not before: importing the configuration alone takes
longer than `--help` may.
"""

from __future__ import annotations

from src.commands import (
    alerts,
    data,
    distillation,
    export,
    planning,
    serving,
    training,
    translation,
)
from src.commands.command import Command

__all__ = ["COMMANDS", "Command"]

_ORDER = (
    "plan",
    "process",
    "teacher",
    "soft-labels",
    "student",
    "evaluate",
    "translate",
    "serve",
    "export",
    "checkpoints",
    "monitor",
    "alerts",
    "config",
    "doctor",
    "demo",
)
_ALL = {
    **data.COMMANDS,
    **planning.COMMANDS,
    **training.COMMANDS,
    **distillation.COMMANDS,
    **alerts.COMMANDS,
    **translation.COMMANDS,
    **export.COMMANDS,
    **serving.COMMANDS,
}

COMMANDS: dict[str, Command] = {name: _ALL[name] for name in _ORDER}
"""Every command by its name, in the order of `--help`."""
