"""Who may ask Alibaba Cloud's RPC services: key, time and signature (HMAC-SHA1, version 1.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from tests.fakes.ecs_refusal import Refusal

KEY_ID, SECRET = "LTAI-planted-id", "planted~secret+/= 钥"
"""A key that tests use; neither half may be shown anywhere."""
COMMON_PARAMETERS = frozenset(
    {
        "Action",
        "Version",
        "Format",
        "RegionId",
        "AccessKeyId",
        "SecurityToken",
        "SignatureMethod",
        "SignatureVersion",
        "SignatureType",
        "SignatureNonce",
        "Signature",
        "Timestamp",
    }
)
"""What every action takes besides its own parameters."""
_LARGEST_SKEW = timedelta(minutes=15)
_NO_TOKENS: Mapping[str, str] = {}


def require_known(
    method: str,
    parameters: Mapping[str, str],
    keys: Mapping[str, str],
    *,
    tokens: Mapping[str, str] = _NO_TOKENS,
    clock_offset: timedelta = timedelta(),
) -> None:
    """Lets a request pass whose sender holds a key of the service.

    Args:
        method: Of HTTP.
        parameters: All of the request.
        keys: Secret of each access key id.
        tokens: Security token that goes with a temporary key.
        clock_offset: How far the service's clock is ahead of this machine's.

    Raises:
        Refusal: As the real services refuse.
    """
    key_id = parameters["AccessKeyId"]
    secret = keys.get(key_id)
    if secret is None:
        raise Refusal(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if parameters.get("SecurityToken", "") != tokens.get(key_id, ""):
        raise Refusal(400, "InvalidSecurityToken.Malformed", "Specified token is malformed.")
    said = datetime.strptime(parameters["Timestamp"], "%Y-%m-%dT%H:%M:%S%z")
    if abs(datetime.now(timezone.utc) + clock_offset - said) > _LARGEST_SKEW:
        raise Refusal(400, "InvalidTimeStamp.Expired", "Specified time stamp is expired.")
    text = string_to_sign(method, parameters)
    if not hmac.compare_digest(sign(text, secret), parameters["Signature"]):
        raise Refusal(
            400,
            "SignatureDoesNotMatch",
            "Specified signature is not matched with our calculation. "
            f"server string to sign is:{text}",
        )


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
