"""Who speaks to OSS: an access key from the environment, or the role of the instance.

A machine on Alibaba Cloud needs no key on its disk: with a role attached, the metadata service
hands out keys that last some hours. It is asked with a token, which both its normal and its
hardened mode accept; the SDK's own provider asks without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import requests
from oss2.credentials import Credentials, CredentialsProvider, StaticCredentialsProvider

from src.errors import ConfigError, StoreError

ROLE_VARIABLE = "ALIBABA_CLOUD_ECS_METADATA"
# Id, secret and token; the first pair that is set counts.
KEY_VARIABLES = (
    ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
    (
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ),
)
METADATA_URL = "http://100.100.100.200"
_TOKEN_SECONDS = 60
_TIMEOUT_SECONDS = 5.0
_RENEWED_BEFORE = timedelta(minutes=10)


def credentials_provider() -> CredentialsProvider:
    """The access key in the environment, else the instance's role.

    Raises:
        ConfigError: There is neither, or half a key.
    """
    for id_name, secret_name, token_name in KEY_VARIABLES:
        # A pasted key brings a space or a line end along, and the service then calls it wrong.
        key_id, secret, token = (
            os.environ.get(name, "").strip() for name in (id_name, secret_name, token_name)
        )
        if key_id and secret:
            return StaticCredentialsProvider(key_id, secret, token)
        if key_id or secret:
            present, missing = (id_name, secret_name) if key_id else (secret_name, id_name)
            raise ConfigError(f"{present} is set but {missing} is not; set both, or neither")
    role = os.environ.get(ROLE_VARIABLE, "").strip()
    if role:
        return RoleCredentials(role)
    id_name, secret_name, _ = KEY_VARIABLES[1]
    raise ConfigError(
        f"oss:// needs an access key: set {id_name} and {secret_name}, or on an instance with a "
        f"RAM role {ROLE_VARIABLE} to the role's name"
    )


class RoleCredentials(CredentialsProvider):  # type: ignore[misc]  # oss2 has no types
    """Keys of the role that is attached to this instance, renewed before they end."""

    def __init__(
        self,
        role: str,
        base_url: str = METADATA_URL,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._role = role
        self._base_url = base_url
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Credentials | None = None
        self._renew_at = clock()

    def get_credentials(self) -> Credentials:
        """Called by the SDK before every request.

        Raises:
            StoreError: The metadata service does not answer, or knows no such role.
        """
        with self._lock:
            if self._current is None or self._clock() >= self._renew_at:
                self._renew()
            return self._current

    def _renew(self) -> None:
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy has a role of its own, if any
                token = session.put(
                    f"{self._base_url}/latest/api/token",
                    headers={"X-aliyun-ecs-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)},
                    timeout=_TIMEOUT_SECONDS,
                )
                token.raise_for_status()
                answer = session.get(
                    f"{self._base_url}/latest/meta-data/ram/security-credentials/{self._role}",
                    headers={"X-aliyun-ecs-metadata-token": token.text.strip()},
                    timeout=_TIMEOUT_SECONDS,
                )
                answer.raise_for_status()
                content = answer.json()
            ends = datetime.fromisoformat(content["Expiration"].replace("Z", "+00:00"))
            self._current = Credentials(
                content["AccessKeyId"], content["AccessKeySecret"], content["SecurityToken"]
            )
            self._renew_at = ends - _RENEWED_BEFORE
        except (requests.RequestException, LookupError, TypeError, ValueError):
            # `from None`: what answered may hold a key.
            raise StoreError(
                f"this instance's metadata service gives no credentials of the RAM role "
                f"{self._role!r}",
                f"attach that role to the instance, or set {KEY_VARIABLES[1][0]} and "
                f"{KEY_VARIABLES[1][1]}",
                is_temporary=True,
            ) from None
