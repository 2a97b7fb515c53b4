"""Running the service: a model, a socket, and an orderly end.

On SIGTERM or Ctrl-C no connection is taken any more, what is under way is answered, the process
ends with code 0.
"""

from __future__ import annotations

import logging
import math
import signal
import socket
from collections.abc import Sequence

import uvicorn

from src.evaluation.numbers import keep_numbers
from src.evaluation.translation import Translation
from src.evaluation.translator import Translator
from src.schema import Config, ServingConfig
from src.serving.app import build_app
from src.serving.batcher import Batcher
from src.serving.listener import open_listener
from src.serving.metrics import Metrics
from src.serving.service import choose_directions

logger = logging.getLogger(__name__)

_WARM_UP = {"zh": "你好。"}


class ModelService:
    """A translator behind the service.

    Args:
        translator: Asked by one thread at a time.
    """

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self.name = str(translator.folder)
        self.directions: Sequence[str] = translator.directions

    def directions_for(self, texts: Sequence[str], direction: str | None) -> list[str]:
        """The direction of each text; see `choose_directions`."""
        return choose_directions(texts, direction, self.directions)

    def translate(self, texts: Sequence[str], direction: str) -> list[Translation]:
        """Translations in order."""
        return self._translator.translate_checked(texts, direction=direction)


def serve(config: Config, model: str) -> None:
    """Serves a model until SIGTERM or Ctrl-C.

    Raises:
        ConfigError: If the address cannot be used.
        ModelError: If the model cannot be used.
    """
    settings = config.serving
    # Before the model is read: a taken port should not cost a minute.
    listener = open_listener(settings)
    with listener:
        service = ModelService(
            Translator(
                model,
                batch_size=config.evaluation.batch_size,
                max_new_tokens=config.evaluation.max_new_tokens,
                beam_size=settings.beam_size,
                preserve=config.evaluation.preserve,
                config=config,
            )
        )
        for direction in service.directions:  # the first translation compiles what it needs,
            service.translate([_WARM_UP.get(direction[:2], "Hello.")], direction)
            if config.evaluation.preserve:  # and the first that loses a number more than that
                keep_numbers(direction, [("1", "2")])
        _run(service, listener, settings)


def _run(service: ModelService, listener: socket.socket, settings: ServingConfig) -> None:
    metrics = Metrics(lambda: batcher.waiting)
    batcher = Batcher(
        service.translate,
        max_waiting=settings.max_waiting,
        max_texts=settings.batch_texts,
        wait_seconds=settings.batch_milliseconds / 1000,
        on_batch=metrics.batch,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(service, batcher, metrics, settings),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
            server_header=False,
        )
    )

    def stop(*_: object) -> None:
        # For a signal before uvicorn listens for it; it sends itself later ones a second time.
        server.should_exit = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    listener.listen()  # who reads the next line may ask at once
    host, port = listener.getsockname()[:2]
    logger.info(
        "serving %s (%s) on http://%s:%d",
        service.name,
        ", ".join(service.directions),
        f"[{host}]" if ":" in host else host,
        port,
    )
    try:
        server.run(sockets=[listener])
    finally:
        is_done = batcher.close(settings.shutdown_seconds)
        for number, handler in previous.items():
            signal.signal(number, handler)
        logger.info("stopped%s", "" if is_done else "; a translation was still under way")
