"""The command export: a trained model as a folder that others load."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from src.commands.command import Command, config_of, json_argument, print_json
from src.errors import EXIT_DONE, ConfigError

_WEIGHT_TYPES = ("float32", "float16", "bfloat16")


def _export(parsed: argparse.Namespace) -> int:
    if parsed.public and not parsed.push:
        raise ConfigError("--public belongs to --push hf://USER/MODEL; give both")
    if parsed.check and (parsed.push or parsed.output or parsed.model):
        raise ConfigError("--check takes no --model, --output or --push; run it by itself")
    result = _check(parsed.check) if parsed.check else _write(parsed)
    if parsed.json:
        print_json(result)
    return EXIT_DONE


def _write(parsed: argparse.Namespace) -> dict[str, object]:
    from src.evaluation.translator import model_folder
    from src.export import hub
    from src.export.folder import export_model

    target = hub.parse_address(parsed.push) if parsed.push else None
    config = config_of(parsed)
    model = model_folder(config, parsed.model)
    output = parsed.output or Path(model).parent / "exported"
    result = export_model(model, output, weight_type=parsed.weights, license_id=parsed.license)
    if target is not None:
        result["pushed_to"] = hub.push(output, target, is_public=parsed.public)
    return result


def _check(place: str) -> dict[str, object]:
    from src.export import hub
    from src.export.check import check_folder

    if not place.startswith(hub.SCHEME):
        folder = Path(place)
        if not folder.is_dir():
            raise ConfigError(f"--check {place} is no folder; name one, or hf://user/model")
        return check_folder(folder)
    model = hub.parse_address(place)
    with tempfile.TemporaryDirectory() as temporary:
        result = check_folder(hub.fetch(model, Path(temporary) / "model"))
    return {**result, "folder": str(model)}


def _arguments(parser: argparse.ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument(
        "--model", metavar="FOLDER", help="model folder (default: student.output_dir/final)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: exported beside the model folder"
    )
    parser.add_argument(
        "--weights", choices=_WEIGHT_TYPES, help="type of the weights (default: as trained)"
    )
    parser.add_argument(
        "--license", metavar="ID", help="for the card, e.g. apache-2.0 (default: the base model's)"
    )
    parser.add_argument("--push", metavar="hf://USER/MODEL", help="then upload it, privately")
    parser.add_argument("--public", action="store_true", help="with --push: anybody may read it")
    parser.add_argument(
        "--check",
        metavar="FOLDER|hf://USER/MODEL",
        help="instead: verify an exported model's hashes and repeat its probes",
    )


COMMANDS = {
    "export": Command(
        help="write a model as a Hugging Face folder, push it, or check one",
        reads_writes="Reads a model folder and what lies around it. Writes a folder that "
        "`transformers` loads: merged\nweights, tokenizer, configurations, model card, probes and "
        "hashes.",
        examples=(
            "export --model models/student/final --output exported --weights bfloat16",
            "export --license apache-2.0 --push hf://me/en-zh-small",
            "export --check exported",
            "export --check hf://me/en-zh-small",
        ),
        run=_export,
        add_arguments=_arguments,
        takes_overrides=False,
    ),
}
