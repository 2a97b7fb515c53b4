"""The command line: `python run.py COMMAND [--config FILE …] [section.key=value …]`.

Every command loads its stage only when it runs, so that `--help` answers at once. People read
stderr; `--json` puts one JSON object on stdout. Exit codes: 0 done, 1 failed, 2 usage or
configuration, 75 interrupted and saved, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from src.commands import COMMANDS, Command
from src.environment import prepare_environment
from src.errors import (
    EXIT_FAILED,
    EXIT_KILLED_BY_USER,
    EXIT_USAGE,
    LinguaBridgeError,
)
from src.launch import mask_launcher_logs
from src.logs import set_up_logging

DESCRIPTION = "Raw English-Chinese text in, a small fast translation model out."


class _Parser(argparse.ArgumentParser):
    """Argparse with the nearest command named when one is unknown."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and self.prog == "run.py":
            given = next((text for text in sys.argv[1:] if not text.startswith("-")), "")
            near = difflib.get_close_matches(given, COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
            message = f"unknown command {given!r}; {hint}"
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    prepare_environment()
    mask_launcher_logs(os.environ)
    parsed = parse_arguments(arguments)
    set_up_logging(verbose=parsed.verbose)
    try:
        code: int = COMMANDS[parsed.command].run(parsed)
    except LinguaBridgeError as error:
        print(f"{parsed.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{parsed.command}: stopped by Ctrl-C", file=sys.stderr)
        return EXIT_KILLED_BY_USER
    except BrokenPipeError:
        return EXIT_FAILED
    except OSError as error:
        # A path that the system refuses is the user's to mend; without one it is our bug.
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not error.strerror or not (error.filename or is_full):
            raise
        where = f"cannot use {error.filename}" if error.filename else "cannot write"
        remedy = "; make room, and run the same command again" if is_full else ""
        print(f"{parsed.command}: {where}: {error.strerror}{remedy}", file=sys.stderr)
        return EXIT_FAILED
    return code


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """What was given; overrides may stand before, between and behind the options.

    Argparse takes positional arguments from one stretch only and leaves the others over.
    """
    parser = build_parser()
    parsed, left = parser.parse_known_args(arguments)
    later = [word for word in left if "=" in word and not word.startswith("-")]
    if len(later) < len(left) or (left and not COMMANDS[parsed.command].takes_overrides):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    parsed.overrides = [*parsed.overrides, *later]
    return parsed


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="run.py",
        description=DESCRIPTION,
        epilog="examples:\n  python run.py demo\n  python run.py process --config my.yaml\n\n"
        "python run.py COMMAND --help tells more about one command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        examples = "\n".join(f"  python run.py {example}" for example in command.examples)
        sub = commands.add_parser(
            name,
            help=command.help,
            description=f"{command.help}\n\n{command.reads_writes}",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if command.add_arguments is not None:
            command.add_arguments(sub)
        _add_common_arguments(sub, command)
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.add_argument(
        "--config",
        action="append",
        type=Path,
        metavar="FILE",
        help="configuration file; may be given several times, later ones win "
        "(default: ./config.yaml)",
    )
    if command.takes_preset:
        parser.add_argument(
            "--preset",
            metavar="NAME",
            help="a named strategy of configs/presets, laid over the files; `plan --preset all` "
            "compares them",
        )
    parser.set_defaults(preset=None)
    if command.takes_overrides:
        parser.add_argument(
            "overrides", nargs="*", metavar="section.key=value", help="overrides one key"
        )
    else:
        parser.add_argument(
            "--set",
            dest="overrides",
            action="append",
            default=[],
            metavar="section.key=value",
            help="overrides one key",
        )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
