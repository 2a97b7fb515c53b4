"""One POST of JSON, with what every chat service's answer has in common.

On `urllib` and not on `requests`: the addresses are the secrets here, and urllib3 writes each of
them to its debug log. Redirects are not followed: a webhook has none, a network's login page does.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn

from src.monitoring.alerts.channels.channel import DeliveryFailed

_LONGEST_ANSWER = 65_536
_LONGEST_QUOTE = 160
_TOO_MANY_REQUESTS = 429
_FIRST_SERVER_ERROR = 500
RATE_LIMIT_SECONDS = 60.0
"""Wait after "too many messages": the services count by the minute."""


@dataclass(frozen=True)
class Answer:
    """A JSON object that a service answered with."""

    status: int
    content: dict[str, Any]

    def refuse(self, code: object, text: object, *, rate_codes: tuple[int, ...] = ()) -> NoReturn:
        """Turns an error in the body into a failure; some codes mean "too many", the rest "no"."""
        quote = " ".join(f"{code} {text}".split())[:_LONGEST_QUOTE]
        if code in rate_codes or self.status == _TOO_MANY_REQUESTS:
            raise DeliveryFailed(f"too many messages ({quote})", wait_seconds=RATE_LIMIT_SECONDS)
        is_refusal = self.status < _FIRST_SERVER_ERROR
        raise DeliveryFailed(f"it answers: {quote}", is_refusal=is_refusal)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post_json(url: str, body: object, *, timeout_seconds: float) -> Answer:
    """Posts JSON and reads the answer, whatever its status.

    Raises:
        DeliveryFailed: Nothing answered, or not with a JSON object. Quotes no address.
    """
    request = urllib.request.Request(  # noqa: S310 - the schema admits http and https only
        url,
        json.dumps(body, ensure_ascii=False).encode("utf-8"),
        {"Content-Type": "application/json; charset=utf-8", "User-Agent": "LinguaBridge"},
    )
    opener = urllib.request.build_opener(_NoRedirects)
    # `from None` below: these errors carry the address, and tracebacks get pasted.
    try:
        try:
            with opener.open(request, timeout=timeout_seconds) as response:
                return _read(response.status, response.headers, response.read(_LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            with error:
                return _read(error.code, error.headers, error.read(_LONGEST_ANSWER))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryFailed(_explain(error)) from None


def _read(status: int, headers: Message, content: bytes) -> Answer:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return Answer(status, answer)
    wait = headers.get("Retry-After", "")
    raise DeliveryFailed(
        f"it answers HTTP {status} without a result",
        wait_seconds=float(wait) if wait.isdecimal() else None,
    )


def _explain(error: Exception) -> str:
    """An error in words that quote no part of the address."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({cause.verify_message})"
    if isinstance(cause, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(cause, http.client.HTTPException | ConnectionError):
        return "the connection broke"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return f"it cannot be asked ({type(cause).__name__})"
