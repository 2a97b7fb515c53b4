"""The ECS instance this process runs on, as its metadata service tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import requests

METADATA_URL = "http://100.100.100.200"
_VENDOR_FILE = Path("/sys/class/dmi/id/sys_vendor")
_VENDOR = "Alibaba Cloud"
_TOKEN_SECONDS = 60
_NAME = re.compile(r"[A-Za-z0-9._-]+")


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
        base_url: Where the service is; a link-local address that is the same in every region.
        timeout_seconds: Longest wait for each of four small requests.
    """
    with requests.Session() as session:
        session.trust_env = False  # a proxy would describe the proxy's machine, if any
        try:
            # With a token, both the normal and the hardened mode answer.
            session.headers["X-aliyun-ecs-metadata-token"] = _ask(
                session,
                "PUT",
                f"{base_url}/latest/api/token",
                timeout_seconds,
                {"X-aliyun-ecs-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)},
            )
            values = [
                _ask(session, "GET", f"{base_url}/latest/meta-data/{item}", timeout_seconds)
                for item in ("instance-id", "instance/instance-type", "region-id")
            ]
        except requests.RequestException:
            return None
    # A login page of the network also answers 200, but not with a name.
    if not all(_NAME.fullmatch(value) for value in values):
        return None
    return Instance(*values)


def _ask(
    session: requests.Session,
    method: str,
    url: str,
    timeout_seconds: float,
    headers: dict[str, str] | None = None,
) -> str:
    """Text of a successful answer; any other status is a `requests.HTTPError`."""
    response = session.request(
        method, url, headers=headers, timeout=timeout_seconds, allow_redirects=False
    )
    response.raise_for_status()
    return response.text.strip()
