"""The service that tells an ECS instance of Alibaba Cloud what it is, its keys, and its end.

It is asked with a token, so that both its normal and its hardened mode answer, and never through a
proxy, which would describe the proxy's machine. `src/cloud/bucket.py` asks on its own: it runs
before any package is installed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import requests

URL_VARIABLE = "LINGUABRIDGE_METADATA_URL"
METADATA_URL = "http://100.100.100.200"
"""A link-local address that is the same in every region."""
_VENDOR_FILE = Path("/sys/class/dmi/id/sys_vendor")
_VENDOR = "Alibaba Cloud"
_TOKEN_SECONDS = 3600  # of at most 21,600; a new one is asked for in the last minute
_TOKEN_MARGIN_SECONDS = 60
_TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 - the name of a header


class MetadataUnavailable(Exception):
    """The metadata service does not answer, or not as it should.

    Attributes:
        reason: What happened instead.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MetadataService:
    """Reads items of the metadata service; a context manager that closes the connection.

    Args:
        base_url: Where the service is; None: where `metadata_url` says.
        timeout_seconds: Longest wait for each small request.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url or metadata_url()
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._token: str | None = None
        self._token_until = 0.0
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy

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


def metadata_url() -> str:
    """Address of the service: what the environment says, or the cloud's own."""
    return os.environ.get(URL_VARIABLE, "").strip() or METADATA_URL


def is_alibaba_machine(vendor_file: Path = _VENDOR_FILE) -> bool:
    """Whether the firmware names Alibaba Cloud; elsewhere the metadata service is not asked."""
    try:
        return vendor_file.read_text(encoding="utf-8", errors="replace").strip() == _VENDOR
    except OSError:
        return False


def _text_of(response: requests.Response) -> str:
    """Text of a successful answer; any other status is a `MetadataUnavailable`."""
    if response.status_code != HTTPStatus.OK:
        raise MetadataUnavailable(f"it answers HTTP {response.status_code}")
    return response.text.strip()
