"""The signature of Alibaba Cloud's RPC services (HMAC-SHA1, version 1.0), as they check it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """What is signed of a request."""
    pairs = sorted(pair for pair in parameters.items() if pair[0] != "Signature")
    query = "&".join(f"{_escape(name)}={_escape(value)}" for name, value in pairs)
    return f"{method}&{_escape('/')}&{_escape(query)}"


def sign(text: str, secret: str) -> str:
    """The signature of a text."""
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")
