"""The commands around translating: evaluate, translate."""

from __future__ import annotations

import argparse
from pathlib import Path

from src.commands.command import Command, config_of, json_argument, positive, print_json
from src.errors import EXIT_DONE, ConfigError
from src.languages import LANGUAGES, split_direction


def _evaluate(parsed: argparse.Namespace) -> int:
    _require_consistent(parsed)
    config = config_of(parsed)
    if parsed.hyp:
        from src.evaluation.given import evaluate_files

        result = evaluate_files(
            parsed.hyp,
            parsed.ref,
            sources=parsed.src,
            target_language=parsed.target_language,
            settings=config.evaluation,
        )
    elif parsed.compare:
        from src.evaluation.evaluate import compare

        result = compare(
            config,
            parsed.compare,
            split=parsed.split,
            beam_size=parsed.beam_size,
            output=parsed.output,
        )
    else:
        from src.evaluation.evaluate import evaluate

        result = evaluate(
            config,
            model=parsed.model,
            split=parsed.split,
            beam_size=parsed.beam_size,
            output=parsed.output,
        )
    if parsed.json:
        print_json(result)
    return EXIT_DONE


def _require_consistent(parsed: argparse.Namespace) -> None:
    """Refuses options that contradict each other, before anything is loaded."""
    if bool(parsed.hyp) != bool(parsed.ref):
        given, missing = ("--hyp", "--ref") if parsed.hyp else ("--ref", "--hyp")
        raise ConfigError(f"{given} needs {missing} FILE, too; line n of both is the same sentence")
    if parsed.src and not parsed.hyp:
        raise ConfigError("--src belongs to --hyp and --ref; give them, too")
    chosen = [
        name
        for name, value in (
            ("--hyp", parsed.hyp), ("--compare", parsed.compare), ("--model", parsed.model)
        )
        if value
    ]  # fmt: skip
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} contradict each other; give one of them")
    if parsed.compare and len(parsed.compare) < 2:  # noqa: PLR2004 - a comparison
        raise ConfigError("--compare needs two or more model folders")


def _translate(parsed: argparse.Namespace) -> int:
    from src.demo import trained_student
    from src.evaluation.translate import translate_command

    if parsed.texts and parsed.file:
        raise ConfigError("TEXT and --file contradict each other; give one of them")
    config = config_of(parsed)
    return translate_command(
        config,
        parsed.texts,
        model=parsed.model or trained_student(config),
        direction=parsed.direction,
        beam_size=parsed.beam_size,
        as_json=parsed.json,
        source_file=parsed.file,
    )


def _direction(text: str) -> str:
    try:
        split_direction(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument(
        "--model", metavar="FOLDER", help="model folder (default: student.output_dir/final)"
    )
    parser.add_argument(
        "--beam-size", type=positive, default=1, metavar="N", help="1 is greedy (default)"
    )


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    _model_arguments(parser)
    parser.add_argument("--split", choices=("dev", "test"), default="test", help="default: test")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where scores.json goes")
    parser.add_argument(
        "--compare",
        action="extend",
        nargs="+",
        metavar="FOLDER",
        help="evaluate these models on the same pairs and test each against the first",
    )
    parser.add_argument(
        "--hyp",
        type=Path,
        action="append",
        metavar="FILE",
        help="score these translations instead; again for another system",
    )
    parser.add_argument(
        "--ref",
        type=Path,
        action="append",
        metavar="FILE",
        help="references for --hyp; again for a second set",
    )
    parser.add_argument("--src", type=Path, metavar="FILE", help="sources of --hyp, for COMET")
    parser.add_argument(
        "--target-language",
        choices=sorted(LANGUAGES),
        metavar="zh",
        help="of --hyp and --ref",
    )


def _translate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: lines of stdin")
    parser.add_argument("--file", type=Path, metavar="FILE", help="translate its lines instead")
    parser.add_argument("--direction", type=_direction, metavar="en-zh", help="default: by script")
    _model_arguments(parser)


COMMANDS = {
    "evaluate": Command(
        help="translate the test split and score it, or score given files",
        reads_writes="Reads a model folder and data.output_dir, or --hyp and --ref files. Writes "
        "scores.json, report.html\nand samples beside the model; with --compare comparison.json "
        "and comparison.html.",
        examples=(
            "evaluate --config my.yaml",
            "evaluate --config my.yaml --model models/teacher/final --beam-size 4",
            "evaluate --compare models/teacher/final models/student/final --config my.yaml",
            "evaluate --hyp translations.zh --ref references.zh",
            "evaluate --hyp ours.zh --hyp theirs.zh --ref references.zh --ref others.zh",
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
            "translate --file lines.txt --direction en-zh --beam-size 4 > translated.txt",
        ),
        run=_translate,
        add_arguments=_translate_arguments,
        takes_overrides=False,
    ),
}
