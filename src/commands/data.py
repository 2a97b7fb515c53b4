"""The commands around data and configuration: process, config, doctor, demo."""

from __future__ import annotations

import argparse

from src.commands.command import Command, config_of, json_argument, print_json
from src.errors import EXIT_DONE


def _process(parsed: argparse.Namespace) -> int:
    from src.config import config_files
    from src.data_processor import DataProcessor

    report = DataProcessor(config_of(parsed), config_files(parsed.config)).process()
    if parsed.json:
        print_json(report.to_json())
    return EXIT_DONE


def _show_config(parsed: argparse.Namespace) -> int:
    from src.config import config_to_yaml
    from src.config_reference import explain

    if parsed.explain is not None:
        print(explain(parsed.explain))
        return EXIT_DONE
    config = config_of(parsed)
    if parsed.json:
        print_json(config.model_dump(mode="json"))
    else:
        print(config_to_yaml(config), end="")
    return EXIT_DONE


def _doctor(parsed: argparse.Namespace) -> int:
    from src.doctor import run_doctor

    return run_doctor(config_of(parsed), as_json=parsed.json)


def _demo(parsed: argparse.Namespace) -> int:
    from src.demo import run_demo

    summary = run_demo(parsed.config, parsed.overrides, fresh=parsed.fresh)
    if parsed.json:
        print_json(summary)
    return EXIT_DONE


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="KEY",
        help="meaning of one key, of a section, or of all",
    )


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="delete the demo's folder and start anew"
    )


COMMANDS = {
    "process": Command(
        help="raw corpora to a cleaned, split and tokenised corpus",
        reads_writes="Reads data.sources. Writes data.output_dir: text shards, rejected rows with "
        "reasons,\ntoken cache, report.json and report.html.",
        examples=(
            "process data.sources=[corpus.tsv.gz] data.output_dir=data/processed",
            "process --config my.yaml data.sources=[a.tsv.gz,b.jsonl] data.sample_size=1000000",
        ),
        run=_process,
        add_arguments=json_argument,
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
    "doctor": Command(
        help="check this machine and the configuration, say what to do",
        reads_writes="Reads the environment and the configuration. Writes nothing.",
        examples=("doctor", "doctor --config my.yaml"),
        run=_doctor,
        add_arguments=json_argument,
    ),
    "demo": Command(
        help="the whole pipeline on a small real corpus, in ten to fifteen minutes on a laptop",
        reads_writes="Reads configs/demo.yaml. Writes runs/demo. A second call skips what is up to "
        "date.",
        examples=("demo", "demo --fresh"),
        run=_demo,
        add_arguments=_demo_arguments,
        takes_preset=False,
    ),
}
