"""Calls to Alibaba Cloud's ECS service, with the defaults of the official SDK that hurt replaced.

The SDK speaks plain http, repeats calls whose answer was lost (a repeated RunInstances is a second
paid machine), ignores NO_PROXY, and logs signed addresses. `make_client` is the one place where
that is put right; `list_regions` shows how an SDK error becomes one sentence.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkecs.endpoint import endpoint_data
from aliyunsdkecs.request.v20140526.DescribeRegionsRequest import DescribeRegionsRequest
from requests.utils import get_environ_proxies

from src.errors import CloudError, ConfigError

KEY_ID_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_ID"
KEY_SECRET_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"  # noqa: S105 - a name, not a secret
DEFAULT_REGION = "cn-hangzhou"  # DescribeRegions answers the same everywhere
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
_LONGEST_QUOTE = 200
_UNREACHABLE = "SDK.HttpError"

# What the service's error codes mean, and what to do.
_WRONG_CLOCK = (
    "Alibaba Cloud refuses the time of the request: this machine's clock is 15 minutes off or more",
    "set the clock: timedatectl set-ntp true",
)
_MEANINGS: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId.NotFound": (
        "Alibaba Cloud does not know this access key",
        f"check {KEY_ID_VARIABLE} against the list of keys in the RAM console",
    ),
    "InvalidAccessKeyId.Inactive": (
        "this access key is disabled",
        "enable it in the RAM console, or use another one",
    ),
    "InvalidAccessKeySecret": (
        "the secret does not belong to this access key",
        f"set {KEY_SECRET_VARIABLE} to the secret that was shown when the key was made",
    ),
    "SignatureDoesNotMatch": (
        "the signature is wrong although it was made as Alibaba Cloud demands",
        f"set {KEY_SECRET_VARIABLE} anew; if that changes nothing, a proxy alters the requests",
    ),
    "IllegalTimestamp": _WRONG_CLOCK,
    "InvalidTimeStamp.Expired": _WRONG_CLOCK,
    "Forbidden.RAM": (
        "this access key may not look at ECS",
        "grant its RAM user AliyunECSReadOnlyAccess",
    ),
}


@dataclass(frozen=True)
class Credentials:
    """An access key. Neither half is shown: people do put the secret where the id belongs."""

    key_id: str = field(repr=False)
    key_secret: str = field(repr=False)


def credentials_from_environment() -> Credentials | None:
    """The access key in the environment; None when neither of its halves is set.

    Raises:
        ConfigError: Only one half is set.
    """
    # A key that was pasted brings a space or a line end along, and the service then calls it wrong.
    key_id = os.environ.get(KEY_ID_VARIABLE, "").strip()
    key_secret = os.environ.get(KEY_SECRET_VARIABLE, "").strip()
    if key_id and key_secret:
        return Credentials(key_id, key_secret)
    if not key_id and not key_secret:
        return None
    present, missing = KEY_ID_VARIABLE, KEY_SECRET_VARIABLE
    if key_secret:
        present, missing = missing, present
    raise ConfigError(f"{present} is set but {missing} is not; set both, or neither")


def make_client(
    credentials: Credentials, region_id: str, *, endpoint: str | None = None
) -> AcsClient:
    """A client for ECS in one region: https, bounded waiting, nothing sent twice.

    The SDK cannot tell which calls may be repeated, so it repeats none; a caller that can, does.

    Args:
        credentials: Signs every request; the secret itself is never sent.
        region_id: E.g. "cn-hangzhou".
        endpoint: Address with scheme, e.g. "http://127.0.0.1:8800"; by default the region's own.
    """
    host = endpoint_data.getEndpointMap().get(region_id, f"ecs.{region_id}.aliyuncs.com")
    address = endpoint or f"https://{host}"
    client = AcsClient(
        credentials.key_id,
        credentials.key_secret,
        region_id,
        auto_retry=False,
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        timeout=READ_TIMEOUT_SECONDS,
        # Empty, the SDK would read HTTPS_PROXY itself, and forget NO_PROXY.
        proxy=get_environ_proxies(address) or {"http": "", "https": ""},
    )
    # An address with its scheme outranks the http that every request class is born with, and spares
    # the SDK from asking its location service, which it would do over http.
    client.add_endpoint(region_id, "Ecs", address)
    # It logs each error, with the signed address, before raising it.
    logging.getLogger("aliyunsdkcore").setLevel(logging.CRITICAL)
    return client


def list_regions(client: AcsClient) -> list[str]:
    """Names of the regions this account may use, in the service's order.

    Raises:
        CloudError: The service cannot be reached, refuses the key, or answers something else.
    """
    # `from None` below: the SDK's errors quote the signed request, and tracebacks get pasted.
    try:
        answer = json.loads(client.do_action_with_exception(DescribeRegionsRequest()))
        return [str(region["RegionId"]) for region in answer["Regions"]["Region"]]
    except (ClientException, ServerException) as error:
        raise _explain(error, client) from None
    except (LookupError, TypeError, ValueError):
        # LookupError also comes from inside the SDK, for a refusal without a colon in its text.
        raise CloudError(
            "what answered is not Alibaba Cloud's ECS service",
            "check whether a proxy or a login page of the network stands in between",
        ) from None


def _explain(error: ClientException | ServerException, client: AcsClient) -> CloudError:
    """The sentence for an SDK error; quotes the service only where the code is unknown."""
    code = str(error.error_code)
    if code == _UNREACHABLE:
        return CloudError(
            f"Alibaba Cloud's ECS service in {client.get_region_id()} cannot be reached",
            "check the network, and HTTPS_PROXY and NO_PROXY if you use them",
            code,
        )
    if code in _MEANINGS:
        return CloudError(*_MEANINGS[code], code)
    quote = " ".join(f"{code}: {error.message}".split())
    # Either half may have been echoed when the two were swapped.
    for part in (client.get_access_secret(), client.get_access_key()):
        quote = quote.replace(part, "***")
    return CloudError(
        f"Alibaba Cloud refuses: {quote[:_LONGEST_QUOTE]}",
        "look the code up at https://api.aliyun.com/troubleshoot",
        code,
    )
