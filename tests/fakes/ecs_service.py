"""A stand-in for Alibaba Cloud's ECS service that checks what the real one checks.

It knows one action, DescribeRegions, and verifies key, timestamp and signature (HMAC-SHA1, version
1.0 of the RPC style) before it answers; refusals carry the real codes and texts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote, urlsplit

from tests.fakes.local_server import QuietHandler, serving

REGIONS = ["cn-qingdao", "cn-beijing", "cn-hangzhou", "ap-southeast-1"]
_LARGEST_SKEW = timedelta(minutes=15)


@dataclass
class EcsService:
    """What a test sets up and looks at.

    Attributes:
        keys: Secret of each access key id the service knows.
        clock_offset: How far the service's clock is ahead of this machine's.
        fault: Status and body to answer with, whatever is asked.
        requests: Parameters of every request that arrived.
    """

    url: str
    keys: dict[str, str]
    clock_offset: timedelta = timedelta()
    fault: tuple[int, str] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)

    def answer(self, method: str, parameters: dict[str, str]) -> tuple[int, str]:
        """Status and body for one request."""
        self.requests.append(parameters)
        if self.fault:
            return self.fault
        secret = self.keys.get(parameters["AccessKeyId"])
        if secret is None:
            return _refuse(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        if abs(self._now() - _parse_time(parameters["Timestamp"])) > _LARGEST_SKEW:
            return _refuse(400, "InvalidTimeStamp.Expired", "Specified time stamp is expired.")
        to_sign = _string_to_sign(method, parameters)
        if not hmac.compare_digest(_sign(to_sign, secret), parameters["Signature"]):
            return _refuse(
                400,
                "SignatureDoesNotMatch",
                "Specified signature is not matched with our calculation. "
                f"server string to sign is:{to_sign}",
            )
        if parameters["Action"] != "DescribeRegions":
            return _refuse(404, "InvalidAction.NotFound", "Specified api is not found.")
        regions = [{"RegionId": name, "LocalName": name} for name in REGIONS]
        return 200, json.dumps({"RequestId": "R-1", "Regions": {"Region": regions}})

    def _now(self) -> datetime:
        return datetime.now(timezone.utc) + self.clock_offset


@contextmanager
def ecs_service(keys: dict[str, str]) -> Iterator[EcsService]:
    """The service, listening on loopback."""
    service = EcsService("", keys)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            # The SDK sends every parameter in the address and leaves the body empty.
            parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            self.reply(*service.answer("POST", parameters), "application/json")

    with serving(Handler) as service.url:
        yield service


def _refuse(status: int, code: str, message: str) -> tuple[int, str]:
    return status, json.dumps({"RequestId": "R-1", "Code": code, "Message": message})


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _string_to_sign(method: str, parameters: dict[str, str]) -> str:
    pairs = sorted(pair for pair in parameters.items() if pair[0] != "Signature")
    query = "&".join(f"{_escape(name)}={_escape(value)}" for name, value in pairs)
    return f"{method}&{_escape('/')}&{_escape(query)}"


def _sign(text: str, secret: str) -> str:
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")
