"""The commands: what each says of itself, which arguments it takes, and the stage it starts.

A stage is imported when its command runs and not before: importing the configuration alone takes
longer than `--help` may.
"""

from __future__ import annotations

from src.commands import data, training, translation
from src.commands.command import Command

__all__ = ["COMMANDS", "Command"]

_ORDER = (
    "process",
    "teacher",
    "student",
    "evaluate",
    "translate",
    "checkpoints",
    "monitor",
    "config",
    "doctor",
    "demo",
)
_ALL = {**data.COMMANDS, **training.COMMANDS, **translation.COMMANDS}

COMMANDS: dict[str, Command] = {name: _ALL[name] for name in _ORDER}
"""Every command by its name, in the order of `--help`."""
