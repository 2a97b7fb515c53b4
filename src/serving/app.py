"""The service's interface: /translate, /translate/batch, /health, /metrics and the page at /.

Every answer but the page and the metrics is a JSON object; one that is no success holds "error",
one sentence. Whatever is sent, the answer is a status and a sentence, never a stack trace.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException

from src.errors import LinguaBridgeError
from src.evaluation.translation import Translation
from src.schema import ServingConfig
from src.serving.batcher import Batcher, TooBusy
from src.serving.limits import RateLimit
from src.serving.metrics import CONTENT_TYPE, Metrics
from src.serving.page import load_page
from src.serving.service import Service

logger = logging.getLogger(__name__)

# A character is up to four bytes of UTF-8, or twelve as JSON escapes it ("\\ud83d\\ude00").
_BYTES_PER_CHARACTER = 12
_ENVELOPE_BYTES = 4096
_PATHS = frozenset({"/", "/translate", "/translate/batch", "/health", "/metrics"})
_ANY_PATH = "other"
_LIMITED_PATHS = frozenset({"/translate", "/translate/batch"})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TranslateBody(_Body):
    """What /translate takes."""

    text: str
    direction: str | None = None


class BatchBody(_Body):
    """What /translate/batch takes."""

    texts: list[str]
    direction: str | None = None


AnyBody = TypeVar("AnyBody", bound=_Body)


def build_app(
    service: Service, batcher: Batcher, metrics: Metrics, settings: ServingConfig
) -> FastAPI:
    """The ASGI application.

    Args:
        service: What is asked.
        batcher: Where requests wait.
        metrics: Where they are counted.
        settings: Limits.
    """
    # No pages of documentation: they load scripts from elsewhere.
    app = FastAPI(title="LinguaBridge", docs_url=None, redoc_url=None)
    page = load_page(service.directions)
    _add_error_answers(app)
    _add_watch(app, metrics, settings)
    largest = _BYTES_PER_CHARACTER * settings.max_characters + _ENVELOPE_BYTES

    @app.api_route("/", methods=["GET", "HEAD"])
    async def show_page() -> Response:
        return HTMLResponse(page.content, headers=page.headers)

    @app.api_route("/health", methods=["GET", "HEAD"])
    async def health() -> Response:
        content = {
            "status": "ok" if batcher.is_alive else "failed",
            "model": service.name,
            "directions": list(service.directions),
            "waiting": batcher.waiting,
        }
        return JSONResponse(content, 200 if batcher.is_alive else 503)

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return PlainTextResponse(metrics.render(), media_type=CONTENT_TYPE)

    @app.post("/translate")
    async def translate(request: Request) -> Response:
        body = await _read_body(request, TranslateBody, largest)
        direction, translations = await _translated([body.text], body.direction)
        return JSONResponse(_answer(direction[0], translations[0]))

    @app.post("/translate/batch")
    async def translate_batch(request: Request) -> Response:
        body = await _read_body(request, BatchBody, largest)
        if len(body.texts) > settings.max_texts:
            raise HTTPException(
                413, f"{len(body.texts)} texts are too many; send at most {settings.max_texts}"
            )
        directions, translations = await _translated(body.texts, body.direction)
        pairs = zip(directions, translations, strict=True)
        return JSONResponse({"translations": [_answer(way, found) for way, found in pairs]})

    async def _translated(
        texts: list[str], direction: str | None
    ) -> tuple[list[str], list[Translation]]:
        length = sum(map(len, texts))
        if length > settings.max_characters:
            raise HTTPException(
                413, f"{length:,} characters are too many; send at most {settings.max_characters:,}"
            )
        directions = service.directions_for(texts, direction)
        answers = await _wait(_submit(batcher, texts, directions), settings.timeout_seconds)
        for way in dict.fromkeys(directions):
            chosen = [text for text, its in zip(texts, directions, strict=True) if its == way]
            metrics.translated(way, len(chosen), sum(map(len, chosen)))
        return directions, answers

    return app


def _answer(direction: str, found: Translation) -> dict[str, object]:
    return {
        "direction": direction,
        "translation": found.text,
        "warnings": list(found.warnings),
    }


def _submit(
    batcher: Batcher, texts: list[str], directions: list[str]
) -> Callable[[], Awaitable[list[Translation]]]:
    """Queues the texts of each direction; the result gives all translations in the given order."""
    futures = {}
    try:
        for way in dict.fromkeys(directions):
            chosen = [text for text, its in zip(texts, directions, strict=True) if its == way]
            futures[way] = batcher.submit(chosen, way)
    except TooBusy:
        for future in futures.values():
            future.cancel()
        raise

    async def gather() -> list[Translation]:
        found = await asyncio.gather(*(asyncio.wrap_future(f) for f in futures.values()))
        by_direction = {way: iter(lines) for way, lines in zip(futures, found, strict=True)}
        return [next(by_direction[way]) for way in directions]

    return gather


async def _wait(
    answer: Callable[[], Awaitable[list[Translation]]], seconds: float
) -> list[Translation]:
    try:
        return await asyncio.wait_for(answer(), seconds)
    except asyncio.TimeoutError:
        raise HTTPException(
            503, f"no answer within {seconds:g} s; send less text or try again later",
            {"Retry-After": "5"},
        ) from None  # fmt: skip


async def _read_body(request: Request, kind: type[AnyBody], largest: int) -> AnyBody:
    """The request's JSON object; no more than `largest` bytes are ever held.

    Raises:
        HTTPException: With status 400, 413 or 422 and what is wrong.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > largest:
            raise HTTPException(
                413, f"the body has more than {largest:,} bytes", {"Connection": "close"}
            )
    try:
        content = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON in UTF-8") from error
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        fields = ", ".join(kind.model_fields)
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the body"
        raise HTTPException(
            422, f"{where}: {problem['msg']}; the body is a JSON object with {fields}"
        ) from error


def _add_error_answers(app: FastAPI) -> None:
    """One JSON object for every failure."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(404)
    async def not_found(_: Request, __: HTTPException) -> Response:
        return _error(404, f"there is no such path; there are {', '.join(sorted(_PATHS))}")

    @app.exception_handler(405)
    async def not_allowed(request: Request, error: HTTPException) -> Response:
        allowed = (error.headers or {}).get("Allow", "another method")
        return _error(405, f"{request.method} is not possible here; use {allowed}", error.headers)

    @app.exception_handler(TooBusy)
    async def too_busy(_: Request, error: TooBusy) -> Response:
        return _error(503, str(error), {"Retry-After": str(error.retry_seconds)})

    @app.exception_handler(LinguaBridgeError)
    async def unusable(_: Request, error: LinguaBridgeError) -> Response:
        return _error(422, str(error))


def _add_watch(app: FastAPI, metrics: Metrics, settings: ServingConfig) -> None:
    """Counts every request, limits their rate, and answers what nobody else has caught."""
    limit = RateLimit(settings.requests_per_minute) if settings.requests_per_minute else None

    @app.middleware("http")
    async def watch(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.monotonic()
        path = request.url.path if request.url.path in _PATHS else _ANY_PATH
        client = request.client.host if request.client else "unknown"
        wait = limit.seconds_to_wait(client) if limit and path in _LIMITED_PATHS else 0
        if wait:
            response: Response = _error(
                429, f"too many requests; try again in {wait} s", {"Retry-After": str(wait)}
            )
        else:
            try:
                response = await answer(request)
            except Exception:
                logger.exception("%s %s failed", request.method, path)
                response = _error(500, "the service failed at this request; its log says why")
        metrics.request(path, response.status_code, time.monotonic() - began)
        return response


def _error(status: int, text: str, headers: Any = None) -> JSONResponse:
    # A lone surrogate in somebody's text must not break the answer about it.
    sentence = text.encode("utf-8", "replace").decode("utf-8")
    return JSONResponse({"error": sentence}, status, headers)
