"""Who speaks to OSS: an access key from the environment, or the role of the instance.

A machine on Alibaba Cloud needs no key on its disk: with a role attached, the metadata service
hands out keys that last some hours. It is asked with a token; the SDK's own provider asks without,
which a hardened instance refuses.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from oss2.credentials import Credentials, CredentialsProvider, StaticCredentialsProvider

from src.errors import ConfigError, StoreError
from src.metadata_service import MetadataService, MetadataUnavailable
from src.secret import read_pair

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
_TIMEOUT_SECONDS = 5.0
_RENEWED_BEFORE = timedelta(minutes=10)


def credentials_provider() -> CredentialsProvider:
    """The access key in the environment, else the instance's role.

    Raises:
        ConfigError: There is neither, or half a key.
    """
    for id_name, secret_name, token_name in KEY_VARIABLES:
        pair = read_pair(id_name, secret_name)
        if pair is not None:
            return StaticCredentialsProvider(*pair, os.environ.get(token_name, "").strip())
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
        base_url: str | None = None,
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
        item = f"ram/security-credentials/{self._role}"
        try:
            with MetadataService(self._base_url, timeout_seconds=_TIMEOUT_SECONDS) as service:
                content = json.loads(service.read(item) or "null")
            ends = datetime.fromisoformat(content["Expiration"].replace("Z", "+00:00"))
            self._current = Credentials(
                content["AccessKeyId"], content["AccessKeySecret"], content["SecurityToken"]
            )
            self._renew_at = ends - _RENEWED_BEFORE
        except (MetadataUnavailable, LookupError, TypeError, ValueError):
            # `from None`: what answered may hold a key.
            raise StoreError(
                f"this instance's metadata service gives no credentials of the RAM role "
                f"{self._role!r}",
                f"attach that role to the instance, or set {KEY_VARIABLES[1][0]} and "
                f"{KEY_VARIABLES[1][1]}",
                is_temporary=True,
            ) from None
