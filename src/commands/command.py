"""What a command is, and the arguments that several share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.schema import Config


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line for the list of commands.
        reads_writes: What it reads and writes.
        examples: Command lines that work.
        run: Does it; returns the exit code.
        add_arguments: Adds what only this command takes.
        takes_overrides: Whether positional arguments are `section.key=value`.
        takes_preset: Whether a named strategy may be laid over the configuration.
    """

    help: str
    reads_writes: str
    examples: tuple[str, ...]
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    takes_overrides: bool = True
    takes_preset: bool = True


def config_of(parsed: argparse.Namespace) -> Config:
    """The configuration that the command line names."""
    from src.config import load_config

    return load_config(parsed.config, parsed.overrides, preset=parsed.preset)


def print_json(content: object) -> None:
    """One JSON object on stdout."""
    print(json.dumps(content, ensure_ascii=False))


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def positive(text: str) -> int:
    """An argument that is a number from 1 on."""
    value = int(text) if text.isascii() and text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
