"""The commands: what each says of itself, which arguments it takes, and the stage it starts.

A stage is imported when its command runs and not before: importing the configuration alone takes
longer than `--help` may.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import EXIT_DONE, ConfigError

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
    """

    help: str
    reads_writes: str
    examples: tuple[str, ...]
    run: Callable[[argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    takes_overrides: bool = True


def _config(parsed: argparse.Namespace) -> Config:
    from src.config import load_config

    return load_config(parsed.config, parsed.overrides)


def _print_json(content: object) -> None:
    print(json.dumps(content, ensure_ascii=False))


def _process(parsed: argparse.Namespace) -> int:
    from src.data_processor import DataProcessor

    report = DataProcessor(_config(parsed)).process()
    if parsed.json:
        _print_json(report.to_json())
    return EXIT_DONE


def _train(parsed: argparse.Namespace) -> int:
    config = _config(parsed)
    from src.train_student import train_student
    from src.train_teacher import train_teacher

    train = train_teacher if parsed.command == "teacher" else train_student
    summary = train(config)
    if parsed.json:
        _print_json(summary)
    return EXIT_DONE


def _evaluate(parsed: argparse.Namespace) -> int:
    from src.evaluation.evaluate import evaluate, evaluate_files

    if parsed.hyp or parsed.ref:
        if not (parsed.hyp and parsed.ref):
            raise ConfigError("--hyp FILE and --ref FILE go together; give both")
        result = evaluate_files(parsed.hyp, parsed.ref, target_language=parsed.target_language)
    else:
        config = _config(parsed)
        result = evaluate(
            config,
            model=parsed.model,
            split=parsed.split,
            beam_size=parsed.beam_size,
            output=parsed.output,
        )
    if parsed.json:
        _print_json(result)
    return EXIT_DONE


def _translate(parsed: argparse.Namespace) -> int:
    from src.demo import trained_student
    from src.evaluation.translate import translate_command

    config = _config(parsed)
    return translate_command(
        config,
        parsed.texts,
        model=parsed.model or trained_student(config),
        direction=parsed.direction,
        beam_size=parsed.beam_size,
        as_json=parsed.json,
    )


def _show_config(parsed: argparse.Namespace) -> int:
    from src.config import config_to_yaml
    from src.config_reference import explain

    if parsed.explain is not None:
        print(explain(parsed.explain))
        return EXIT_DONE
    config = _config(parsed)
    if parsed.json:
        _print_json(config.model_dump(mode="json"))
    else:
        print(config_to_yaml(config), end="")
    return EXIT_DONE


def _checkpoints(parsed: argparse.Namespace) -> int:
    from src.checkpoint import housekeeping

    config = _config(parsed)
    defaults = [Path(config.teacher.output_dir), Path(config.student.output_dir)]
    folders = housekeeping.run_folders(parsed.folders or defaults)
    if parsed.action == "prune":
        return _prune(parsed, folders)
    return housekeeping.show(folders, verify=parsed.action == "verify", as_json=parsed.json)


def _prune(parsed: argparse.Namespace, folders: list[Path]) -> int:
    from src.checkpoint import housekeeping

    for folder in folders:
        names = housekeeping.plan_prune(
            folder, keep_last=parsed.keep_last, keep_every=parsed.keep_every
        )
        if not names:
            print(f"{folder}: nothing to delete")
            continue
        print(f"{folder}: " + ", ".join(names))
        if parsed.yes or _confirmed(f"delete these {len(names)} checkpoints? [y/N] "):
            housekeeping.delete(folder, names)
            print(f"deleted {len(names)}")
    return EXIT_DONE


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("prune deletes only with --yes when nobody is there to ask")
    return input(question).strip().lower() in {"y", "yes"}


def _doctor(parsed: argparse.Namespace) -> int:
    from src.doctor import run_doctor

    return run_doctor(_config(parsed), as_json=parsed.json)


def _demo(parsed: argparse.Namespace) -> int:
    from src.demo import run_demo

    summary = run_demo(parsed.config, parsed.overrides, fresh=parsed.fresh)
    if parsed.json:
        _print_json(summary)
    return EXIT_DONE


def _json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    _json_argument(parser)
    parser.add_argument(
        "--model", metavar="FOLDER", help="model folder (default: student.output_dir/final)"
    )
    parser.add_argument(
        "--beam-size", type=_positive, default=1, metavar="N", help="1 is greedy (default)"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _model_arguments(parser)
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="default: test")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where scores.json goes")
    parser.add_argument("--hyp", type=Path, metavar="FILE", help="score these translations instead")
    parser.add_argument(
        "--ref", type=Path, action="append", metavar="FILE", help="references for --hyp"
    )
    parser.add_argument("--target-language", choices=("en", "zh"), help="of --hyp and --ref")


def _translate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: lines of stdin")
    parser.add_argument("--direction", choices=("en-zh", "zh-en"), help="default: by script")
    _model_arguments(parser)


def _checkpoints_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "verify", "prune"), help="what to do")
    parser.add_argument(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="output_dir of a run (default: the teacher's and the student's)",
    )
    _json_argument(parser)
    parser.add_argument(
        "--keep-last", type=_positive, default=3, metavar="N", help="prune: newest to keep"
    )
    parser.add_argument(
        "--keep-every", type=_positive, metavar="N", help="prune: keep multiples of N steps"
    )
    parser.add_argument("--yes", action="store_true", help="prune: do not ask")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    _json_argument(parser)
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="KEY",
        help="meaning of one key, of a section, or of all",
    )


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    _json_argument(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="delete the demo's folder and start anew"
    )


COMMANDS: dict[str, Command] = {
    "process": Command(
        help="raw corpora to a cleaned, split and tokenised corpus",
        reads_writes="Reads data.sources. Writes data.output_dir: text shards, rejected rows with "
        "reasons,\ntoken cache, report.json and report.html.",
        examples=(
            "process data.sources=[corpus.tsv.gz] data.output_dir=data/processed",
            "process --config my.yaml data.sources=corpus/train.{en,zh} data.sample_size=1000000",
        ),
        run=_process,
        add_arguments=_json_argument,
    ),
    "teacher": Command(
        help="tune the teacher on the token cache",
        reads_writes="Reads data.output_dir and teacher.model_name. Writes teacher.output_dir: "
        "checkpoints, best, final,\nmetrics.jsonl, summary.json. Run it again to resume.",
        examples=(
            "teacher --config my.yaml",
            "teacher --config my.yaml teacher.max_steps=10   # a quick check of a new set-up",
        ),
        run=_train,
        add_arguments=_json_argument,
    ),
    "student": Command(
        help="distil the teacher into the student",
        reads_writes="Reads data.output_dir, the tuned teacher and student.model_name. Writes "
        "student.output_dir\nlike teacher. Run it again to resume.",
        examples=(
            "student --config my.yaml",
            "student --config my.yaml student.kd_mode=none   # without a teacher, for comparison",
        ),
        run=_train,
        add_arguments=_json_argument,
    ),
    "evaluate": Command(
        help="translate the test split and score it, or score given files",
        reads_writes="Reads a model folder and data.output_dir, or --hyp and --ref files. Writes "
        "scores.json and\nsamples beside the model.",
        examples=(
            "evaluate --config my.yaml",
            "evaluate --config my.yaml --model models/teacher/final --beam-size 4",
            "evaluate --hyp translations.zh --ref references.zh",
        ),
        run=_evaluate,
        add_arguments=_evaluate_arguments,
    ),
    "translate": Command(
        help="translate text with a trained model",
        reads_writes="Reads a model folder. Writes one translation a line to stdout.",
        examples=(
            'translate "Monday, March 5, 2029"',
            "translate --model models/student/final < lines.txt > translated.txt",
        ),
        run=_translate,
        add_arguments=_translate_arguments,
        takes_overrides=False,
    ),
    "config": Command(
        help="print the resolved configuration, or explain keys",
        reads_writes="Reads configuration files. Writes to stdout.",
        examples=(
            "config --config my.yaml teacher.batch_size=8",
            "config --explain teacher.learning_rate",
        ),
        run=_show_config,
        add_arguments=_config_arguments,
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
    "doctor": Command(
        help="check this machine and the configuration, say what to do",
        reads_writes="Reads the environment and the configuration. Writes nothing.",
        examples=("doctor", "doctor --config my.yaml"),
        run=_doctor,
        add_arguments=_json_argument,
    ),
    "demo": Command(
        help="the whole pipeline on a small real corpus, in about ten minutes on a laptop",
        reads_writes="Reads configs/demo.yaml. Writes runs/demo. A second call skips what is up to "
        "date.",
        examples=("demo", "demo --fresh"),
        run=_demo,
        add_arguments=_demo_arguments,
    ),
}
