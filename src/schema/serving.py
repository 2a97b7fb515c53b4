"""The section `serving:`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from src.schema.base import PositiveInt, Section

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0.0)]


class ServingConfig(Section):
    """`run.py serve`."""

    host: str = "127.0.0.1"
    """Address to listen on. "0.0.0.0" lets other machines in; put a proxy with TLS before it."""
    port: Port = 8000
    """Port to listen on. 0: a free one, which the log names."""
    max_characters: PositiveInt = 10_000
    """Longest request, all of its texts together, in characters; longer ones get status 413."""
    max_texts: PositiveInt = 64
    """Texts in one request to /translate/batch."""
    max_waiting: PositiveInt = 64
    """Requests that may wait for the model; the next one gets status 503 and is told when to come
    back."""
    requests_per_minute: PositiveInt | None = 240
    """Requests that one client address may make in a minute, in bursts of up to a quarter of them;
    more get status 429. null: no limit."""
    batch_milliseconds: Annotated[float, Field(ge=0.0)] = 5.0
    """How long the first request of a batch waits for others to share the model's work."""
    batch_texts: PositiveInt = 64
    """Texts that are translated together at most."""
    timeout_seconds: Seconds = 60.0
    """A request that has no answer by then gets status 503."""
    shutdown_seconds: Seconds = 20.0
    """After SIGTERM no request is taken any more; those under way have this long to finish."""
    beam_size: PositiveInt = 1
    """Hypotheses kept per sentence; 1 is greedy search, the fastest."""
