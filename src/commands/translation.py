"""The commands around translating: evaluate, translate."""

from __future__ import annotations

import argparse
from pathlib import Path

from src.commands.command import Command, config_of, json_argument, positive, print_json
from src.errors import EXIT_DONE, ConfigError
from src.languages import LANGUAGES, split_direction


def _evaluate(parsed: argparse.Namespace) -> int:
    from src.evaluation.evaluate import evaluate, evaluate_files

    if parsed.hyp or parsed.ref:
        if not (parsed.hyp and parsed.ref):
            raise ConfigError("--hyp FILE and --ref FILE go together; give both")
        result = evaluate_files(parsed.hyp, parsed.ref, target_language=parsed.target_language)
    else:
        config = config_of(parsed)
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


def _translate(parsed: argparse.Namespace) -> int:
    from src.demo import trained_student
    from src.evaluation.translate import translate_command

    config = config_of(parsed)
    return translate_command(
        config,
        parsed.texts,
        model=parsed.model or trained_student(config),
        direction=parsed.direction,
        beam_size=parsed.beam_size,
        as_json=parsed.json,
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
    parser.add_argument("--hyp", type=Path, metavar="FILE", help="score these translations instead")
    parser.add_argument(
        "--ref", type=Path, action="append", metavar="FILE", help="references for --hyp"
    )
    parser.add_argument(
        "--target-language",
        choices=sorted(LANGUAGES),
        metavar="zh",
        help="of --hyp and --ref",
    )


def _translate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: lines of stdin")
    parser.add_argument("--direction", type=_direction, metavar="en-zh", help="default: by script")
    _model_arguments(parser)


COMMANDS = {
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
}
