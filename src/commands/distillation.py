"""The command soft-labels: what the teacher knows, stored for students."""

from __future__ import annotations

import argparse

from src.commands.command import Command, config_of, json_argument, print_json
from src.errors import EXIT_DONE


def _soft_labels(parsed: argparse.Namespace) -> int:
    config = config_of(parsed)
    if parsed.decode:
        from src.distillation.sequence.translate import write_translations

        summary = write_translations(config)
    else:
        from src.distillation.soft_labels.write import write_soft_labels

        summary = write_soft_labels(config, report_only=parsed.report)
    if parsed.json:
        print_json(summary)
    return EXIT_DONE


def _arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--decode",
        action="store_true",
        help="store the teacher's translations of the train split, for student.kd_mode=sequence",
    )
    kind.add_argument(
        "--report",
        action="store_true",
        help="measure on a sample how faithful each kd_method is, and write nothing",
    )
    json_argument(parser)


COMMANDS = {
    "soft-labels": Command(
        help="run the teacher once and store what it knows for students",
        reads_writes="Reads data.output_dir and the tuned teacher. Writes "
        "data.output_dir/soft_labels, or student.soft_labels:\nlabels/ for "
        "student.kd_mode=cached; with --decode translations/ and taught/ for kd_mode=sequence.\n"
        "Run it again to go on after an interruption, or to verify what is there.",
        examples=(
            "soft-labels --config my.yaml",
            "soft-labels --report student.kd_top_k=64 student.temperature=1   # before a long run",
            "soft-labels --decode student.kd_beam_size=4",
        ),
        run=_soft_labels,
        add_arguments=_arguments,
    ),
}
