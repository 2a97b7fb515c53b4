"""The ECS instance this process runs on, as its metadata service tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from src.metadata_service import MetadataService, MetadataUnavailable

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Instance:
    """An ECS instance: e.g. "i-bp1…", "ecs.gn7i-c16g1.4xlarge", "cn-hangzhou"."""

    instance_id: str
    instance_type: str
    region_id: str


def describe_instance(
    base_url: str | None = None, *, timeout_seconds: float = 1.0
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
