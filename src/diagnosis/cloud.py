"""Checks of Alibaba Cloud: the access key, if there is one, and the instance, if this is one.

No command needs the cloud, so nothing here is a problem, and most people see none of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from src.cloud.ecs import (
    DEFAULT_REGION,
    credentials_from_environment,
    list_regions,
    make_client,
)
from src.cloud.instance import describe_instance
from src.diagnosis.finding import Finding
from src.errors import CloudError, ConfigError
from src.metadata_service import is_alibaba_machine, metadata_url


def check_account(*, endpoint: str | None = None) -> Iterator[Finding]:
    """Whether the access key in the environment works; says nothing when there is none.

    Args:
        endpoint: See `make_client`.
    """
    try:
        credentials = credentials_from_environment()
        if credentials is None:
            return
        regions = list_regions(make_client(credentials, DEFAULT_REGION, endpoint=endpoint))
    except ConfigError as error:
        yield Finding("cloud account", "warning", str(error))
    except CloudError as error:
        yield Finding("cloud account", "warning", error.reason, error.remedy)
    else:
        count = f"{len(regions)} region{'s' if len(regions) != 1 else ''}"
        yield Finding("cloud account", "ok", f"the access key works, {count}")


def check_instance() -> Iterator[Finding]:
    """See `judge_instance`; asks and says nothing on a machine that is not Alibaba Cloud's."""
    if is_alibaba_machine():
        yield judge_instance(metadata_url())


def judge_instance(address: str) -> Finding:
    """Which instance this is, according to the metadata service at this address."""
    instance = describe_instance(address)
    if instance is None:
        return Finding(
            "cloud instance",
            "warning",
            f"an Alibaba Cloud machine whose metadata service ({address}) does not answer",
            "enable the metadata service of the instance; in a container, give it the host's "
            "network",
        )
    return Finding(
        "cloud instance",
        "ok",
        f"{instance.instance_id}, {instance.instance_type}, {instance.region_id}",
    )
