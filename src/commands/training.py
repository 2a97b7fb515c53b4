"""The commands around training: teacher, student, checkpoints, monitor."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from src.commands.command import Command, config_of, json_argument, positive, print_json
from src.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from src.schema import Config


def _train(parsed: argparse.Namespace) -> int:
    config = config_of(parsed)
    if parsed.supervise:
        return _supervise(parsed, config)
    if parsed.ranks > 1:
        raise ConfigError(
            f"--ranks {parsed.ranks} needs --supervise; without it, start Paddle's launcher: "
            f"python -m paddle.distributed.launch --nproc_per_node {parsed.ranks} "
            f"src/train_{parsed.command}.py"
        )
    from src.train_student import train_student
    from src.train_teacher import train_teacher

    train = train_teacher if parsed.command == "teacher" else train_student
    summary = train(config)
    if parsed.json:
        print_json(summary)
    return EXIT_DONE


def _supervise(parsed: argparse.Namespace, config: Config) -> int:
    from src.cloud.off_peak import OffPeak
    from src.launch import recipe_command, stage_command
    from src.monitoring.alerts import open_alerts
    from src.supervise import Supervisor

    section = config.teacher if parsed.command == "teacher" else config.student
    folder = Path(section.output_dir)
    interruption = config.interruption
    hours = interruption.off_peak
    with open_alerts(config.alerts, folder) as alerts:
        code = Supervisor(
            recipe_command(
                parsed.command, _arguments_of(parsed), ranks=parsed.ranks, log_folder=folder / "log"
            )
            if parsed.ranks > 1
            else stage_command(parsed.command, _arguments_of(parsed)),
            folder,
            interruption.supervise,
            is_launcher=parsed.ranks > 1,
            off_peak=None if hours is None else OffPeak.parse(hours, interruption.timezone),
            alert=alerts.send,
        ).run()
    if parsed.json and parsed.ranks > 1 and code == EXIT_DONE:
        print_json(json.loads((folder / "summary.json").read_text(encoding="utf-8")))
    return code


def _arguments_of(parsed: argparse.Namespace) -> list[str]:
    """The command line again, for a run that is not supervised."""
    files = [part for file in parsed.config or () for part in ("--config", str(file))]
    files += ["--preset", parsed.preset] if parsed.preset else []
    switches = ["--verbose"] if parsed.verbose else []
    # Under the launcher every rank's words come as one stream, which is no place for a result.
    switches += ["--json"] if parsed.json and parsed.ranks == 1 else []
    return [*files, *switches, *parsed.overrides]


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument(
        "--supervise",
        action="store_true",
        help="start the run again when it is interrupted or crashes, until it is done",
    )
    parser.add_argument(
        "--ranks",
        type=positive,
        default=1,
        metavar="N",
        help="with --supervise: processes, one per device, through Paddle's launcher (default: 1)",
    )


def _checkpoints(parsed: argparse.Namespace) -> int:
    from src.checkpoint import housekeeping

    config = config_of(parsed)
    defaults = [Path(config.teacher.output_dir), Path(config.student.output_dir)]
    folders = housekeeping.run_folders(parsed.folders or defaults)
    if parsed.action == "prune":
        return _prune(parsed, folders)
    return housekeeping.show(folders, verify=parsed.action == "verify", as_json=parsed.json)


def _prune(parsed: argparse.Namespace, folders: list[Path]) -> int:
    from src.checkpoint import housekeeping

    if parsed.json and not parsed.yes:
        raise ConfigError("prune --json asks nobody; add --yes, or leave --json out")
    gone: dict[str, list[str]] = {}
    for folder in folders:
        names = housekeeping.plan_prune(
            folder, keep_last=parsed.keep_last, keep_every=parsed.keep_every
        )
        place = housekeeping.display_name(folder)
        gone[place] = names
        if not parsed.json:
            print(f"{place}: " + (", ".join(names) or "nothing to delete"))
        question = f"delete these {len(names)} checkpoints of {place}? [y/N] "
        if names and (parsed.yes or _confirmed(question)):
            housekeeping.delete(folder, names)
            if not parsed.json:
                print(f"deleted {len(names)}")
    if parsed.json:
        print_json({"deleted": gone})
    return EXIT_DONE


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("prune deletes only with --yes when nobody is there to ask")
    return input(question).strip().lower() in {"y", "yes"}


def _monitor(parsed: argparse.Namespace) -> int:
    from src.monitoring.watch import watch

    config = config_of(parsed)
    defaults = [Path(config.teacher.output_dir), Path(config.student.output_dir)]
    folders = parsed.folders or [folder for folder in defaults if folder.is_dir()]
    if not folders:
        raise ConfigError(
            f"no run in {defaults[0]} or {defaults[1]} yet; name the output_dir of a run"
        )
    return watch(folders, once=parsed.once, as_json=parsed.json)


def _folders_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="output_dir of a run (default: the teacher's and the student's)",
    )


def _monitor_arguments(parser: argparse.ArgumentParser) -> None:
    _folders_argument(parser)
    json_argument(parser)
    parser.add_argument("--once", action="store_true", help="show the state and end")


def _checkpoints_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "verify", "prune"), help="what to do")
    _folders_argument(parser)
    json_argument(parser)
    parser.add_argument(
        "--keep-last", type=positive, default=3, metavar="N", help="prune: newest to keep"
    )
    parser.add_argument(
        "--keep-every", type=positive, metavar="N", help="prune: keep multiples of N steps"
    )
    parser.add_argument("--yes", action="store_true", help="prune: do not ask")


COMMANDS = {
    "teacher": Command(
        help="tune the teacher on the token cache",
        reads_writes="Reads data.output_dir and teacher.model_name. Writes teacher.output_dir: "
        "checkpoints, best, final,\nmetrics.jsonl, summary.json. Run it again to resume.",
        examples=(
            "teacher --config my.yaml",
            "teacher --config my.yaml teacher.max_steps=10   # a quick check of a new set-up",
            "teacher --config my.yaml --supervise            # until it is done, whatever happens",
            "teacher --config my.yaml --supervise --ranks 4  # on four devices",
        ),
        run=_train,
        add_arguments=_train_arguments,
    ),
    "student": Command(
        help="distil the teacher into the student",
        reads_writes="Reads data.output_dir, the tuned teacher and student.model_name. Writes "
        "student.output_dir\nlike teacher. Run it again to resume.",
        examples=(
            "student --config my.yaml",
            "student --config my.yaml student.kd_mode=none   # without a teacher, for comparison",
            "student --config my.yaml --supervise            # until it is done, whatever happens",
        ),
        run=_train,
        add_arguments=_train_arguments,
    ),
    "checkpoints": Command(
        help="list, verify or prune the checkpoints of runs",
        reads_writes="Reads the runs' folders. prune deletes whole checkpoints beyond the newest; "
        "best, final and\ndamaged ones stay.",
        examples=(
            "checkpoints list",
            "checkpoints verify models/teacher",
            "checkpoints prune models/teacher --keep-last 2 --keep-every 10000",
        ),
        run=_checkpoints,
        add_arguments=_checkpoints_arguments,
        takes_overrides=False,
    ),
    "monitor": Command(
        help="watch runs from another terminal, or look at finished ones",
        reads_writes="Reads metrics.jsonl and summary.json of the runs. Writes nothing. Ctrl-C "
        "ends the\nwatching, not the run.",
        examples=("monitor", "monitor models/teacher --once", "monitor models/teacher --json"),
        run=_monitor,
        add_arguments=_monitor_arguments,
        takes_overrides=False,
    ),
}
