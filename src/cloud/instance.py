"""The ECS instance this process runs on, as its metadata service tells it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import requests

METADATA_URL = "http://100.100.100.200"
_VENDOR_FILE = Path("/sys/class/dmi/id/sys_vendor")
_VENDOR = "Alibaba Cloud"
_TOKEN_SECONDS = 3600  # of at most 21,600; a new one is asked for in the last minute
_TOKEN_MARGIN_SECONDS = 60
_TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 - the name of a header
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class MetadataUnavailable(Exception):
    """The metadata service does not answer, or not as it should.

    Attributes:
        reason: What happened instead.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MetadataService:
    """Reads items of the metadata service, with a token: so both its modes answer.

    Args:
        base_url: Where the service is; a link-local address that is the same in every region.
        timeout_seconds: Longest wait for each small request.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        base_url: str = METADATA_URL,
        *,
        timeout_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._token: str | None = None
        self._token_until = 0.0
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy would describe the proxy's machine, if any

    def __enter__(self) -> MetadataService:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def read(self, item: str) -> str | None:
        """An item below /latest/meta-data/, or None where the service has none.

        Raises:
            MetadataUnavailable: See there.
        """
        response = self._get(item)
        if response.status_code == HTTPStatus.UNAUTHORIZED:  # the token has gone stale
            self._token = None
            response = self._get(item)
        # Not found is an answer like any other; its body is not the item's text.
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        return _text_of(response)

    def _get(self, item: str) -> requests.Response:
        if self._token is None or self._clock() > self._token_until:
            lifetime = {f"{_TOKEN_HEADER}-ttl-seconds": str(_TOKEN_SECONDS)}
            self._token = _text_of(self._ask("PUT", "api/token", lifetime))
            self._token_until = self._clock() + _TOKEN_SECONDS - _TOKEN_MARGIN_SECONDS
        return self._ask("GET", f"meta-data/{item}", {_TOKEN_HEADER: self._token})

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.request(
                method,
                f"{self._base_url}/latest/{path}",
                headers=headers,
                timeout=self._timeout_seconds,
                allow_redirects=False,
            )
        except requests.Timeout:
            raise MetadataUnavailable("no answer in time") from None
        except (requests.RequestException, ValueError):
            # ValueError: what answers is not the service, and its "token" cannot be sent back.
            raise MetadataUnavailable("it cannot be reached") from None


@dataclass(frozen=True)
class Instance:
    """An ECS instance: e.g. "i-bp1…", "ecs.gn7i-c16g1.4xlarge", "cn-hangzhou"."""

    instance_id: str
    instance_type: str
    region_id: str


def is_alibaba_machine(vendor_file: Path = _VENDOR_FILE) -> bool:
    """Whether the firmware names Alibaba Cloud; elsewhere the metadata service is not asked."""
    try:
        return vendor_file.read_text(encoding="utf-8", errors="replace").strip() == _VENDOR
    except OSError:
        return False


def describe_instance(
    base_url: str = METADATA_URL, *, timeout_seconds: float = 1.0
) -> Instance | None:
    """The instance this process runs on; None when no metadata service answers as it should.

    Args:
        base_url: See `MetadataService`.
        timeout_seconds: Longest wait for each of four small requests.
    """
    with MetadataService(base_url, timeout_seconds=timeout_seconds) as service:
        try:
            values = [
                service.read(item) or ""
                for item in ("instance-id", "instance/instance-type", "region-id")
            ]
        except MetadataUnavailable:
            return None
    # A login page of the network also answers 200, but not with a name.
    if not all(_NAME.fullmatch(value) for value in values):
        return None
    return Instance(*values)


def _text_of(response: requests.Response) -> str:
    """Text of a successful answer; any other status is a `MetadataUnavailable`."""
    if response.status_code != HTTPStatus.OK:
        raise MetadataUnavailable(f"it answers HTTP {response.status_code}")
    return response.text.strip()
