"""Clients of Alibaba Cloud's services, with the defaults of the official SDK that hurt replaced.

The SDK speaks plain http, repeats calls whose answer was lost (a repeated RunInstances is a second
paid machine), ignores NO_PROXY, and logs signed addresses. `make_client` is the one place where
that is put right; `ask` is the one way to call, and turns an SDK error into one sentence.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import AcsRequest
from aliyunsdkecs.endpoint import endpoint_data
from aliyunsdkecs.request.v20140526.DescribeRegionsRequest import DescribeRegionsRequest
from requests.utils import get_environ_proxies

from src.cloud.refusals import KEY_ID_VARIABLE, KEY_SECRET_VARIABLE, explain, may_pass
from src.errors import CloudError, LinguaBridgeError
from src.retry import Retry
from src.secret import read_pair

DEFAULT_REGION = "cn-hangzhou"  # DescribeRegions answers the same everywhere
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10
ATTEMPTS = 6

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """An access key. No part is shown: people do put the secret where the id belongs.

    Attributes:
        key_id: Names the key.
        key_secret: Signs; is never sent.
        token: Goes with a temporary key; empty with one that lasts.
    """

    key_id: str = field(repr=False)
    key_secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def credentials_from_environment() -> Credentials | None:
    """The access key in the environment; None when neither of its halves is set.

    Raises:
        ConfigError: Only one half is set.
    """
    pair = read_pair(KEY_ID_VARIABLE, KEY_SECRET_VARIABLE)
    return None if pair is None else Credentials(*pair)


def _note_attempt(error: LinguaBridgeError, attempt: int) -> None:
    logger.debug("%s, attempt %d", error, attempt)


CLOUD_RETRY = Retry(
    attempts=ATTEMPTS,
    first_wait_seconds=1.0,
    longest_wait_seconds=20.0,
    may_pass=may_pass,
    tell=_note_attempt,
)
"""How a call is repeated that may be; throttling, which the SDK never repeats, is a reason, too."""


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
    # The SDK's own credentials for RAM roles ask the metadata service without a token, which fails
    # on hardened instances: temporary keys are fetched elsewhere, and only used here.
    temporary = (
        StsTokenCredential(credentials.key_id, credentials.key_secret, credentials.token)
        if credentials.token
        else None
    )
    client = AcsClient(
        None if temporary else credentials.key_id,
        None if temporary else credentials.key_secret,
        region_id,
        credential=temporary,
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


def ask(
    client: AcsClient, request: AcsRequest, credentials: Credentials | None, service: str
) -> Any:
    """The service's answer to one request, sent once.

    Args:
        client: See `make_client`.
        request: Of the SDK.
        credentials: What the client signs with, to keep it out of messages.
        service: For messages, e.g. "ECS service in cn-hangzhou".

    Raises:
        CloudError: The service cannot be reached, refuses, or something else answers.
    """
    secrets = (
        (credentials.key_secret, credentials.token, credentials.key_id)
        if credentials
        else (client.get_access_secret() or "", client.get_access_key() or "")
    )
    # `from None` below: the SDK's errors quote the signed request, and tracebacks get pasted.
    try:
        answer = json.loads(client.do_action_with_exception(request))
    except (ClientException, ServerException) as error:
        raise explain(error, service=service, secrets=secrets) from None
    except (LookupError, TypeError, ValueError):
        # LookupError comes from inside the SDK, for a refusal without a colon in its text.
        raise not_the_service(service) from None
    if not isinstance(answer, dict):
        raise not_the_service(service)
    return answer


def not_the_service(service: str) -> CloudError:
    """For an answer that the service would never give."""
    name = service.partition(" in ")[0]
    return CloudError(
        f"what answered is not Alibaba Cloud's {name}",
        "check whether a proxy or a login page of the network stands in between",
    )


def list_regions(client: AcsClient) -> list[str]:
    """Names of the regions this account may use, in the service's order.

    Raises:
        CloudError: The service cannot be reached, refuses the key, or answers something else.
    """
    service = f"ECS service in {client.get_region_id()}"
    answer = ask(client, DescribeRegionsRequest(), None, service)
    try:
        return [str(region["RegionId"]) for region in answer["Regions"]["Region"]]
    except (LookupError, TypeError):
        raise not_the_service(service) from None
