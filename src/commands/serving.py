"""The command serve: a model as a service."""

from __future__ import annotations

import argparse

from src.commands.command import Command, config_of
from src.errors import EXIT_DONE, ConfigError


def _serve(parsed: argparse.Namespace) -> int:
    from src.demo import trained_student
    from src.evaluation.translator import model_folder

    given = {"host": parsed.host, "port": parsed.port}
    chosen = [f"serving.{name}={value}" for name, value in given.items() if value is not None]
    parsed.overrides = [*parsed.overrides, *chosen]
    config = config_of(parsed)
    model = parsed.model or trained_student(config) or model_folder(config, None)
    try:
        from src.serving.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"serve needs {error.name}; install it with `pip install fastapi uvicorn`"
        ) from error
    serve(config, model)
    return EXIT_DONE


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="FOLDER", help="model folder (default: student.output_dir/final)"
    )
    parser.add_argument("--host", help="address to listen on (default: serving.host)")
    parser.add_argument("--port", type=int, help="port to listen on (default: serving.port)")


COMMANDS = {
    "serve": Command(
        help="serve a model over HTTP, with a page to type on",
        reads_writes="Reads a model folder. Listens on serving.host:serving.port until SIGTERM or "
        "Ctrl-C; answers\n/translate, /translate/batch, /health, /metrics and a page at /.",
        examples=(
            "serve",
            "serve --model models/student/final --port 9000",
            "serve --host 0.0.0.0 serving.requests_per_minute=60",
        ),
        run=_serve,
        add_arguments=_arguments,
    ),
}
