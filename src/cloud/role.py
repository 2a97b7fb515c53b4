"""Who speaks to Alibaba Cloud: the access key in the environment, or the RAM role of this machine.

The SDK's own provider for roles asks the metadata service without a token, which hardened instances
refuse, and without a time limit; the one of the checkpoint stores does neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from src.checkpoint.stores.oss_credentials import ROLE_VARIABLE, RoleCredentials
from src.cloud.ecs import Credentials, credentials_from_environment
from src.cloud.refusals import KEY_ID_VARIABLE, KEY_SECRET_VARIABLE
from src.errors import CloudError, ConfigError, StoreError


def credentials_source(base_url: str | None = None) -> Callable[[], Credentials]:
    """Gives a key that is valid now; ask it before every call.

    Raises:
        ConfigError: There is neither a key nor a role.
    """
    fixed = credentials_from_environment()
    if fixed is not None:
        return lambda: fixed
    role = os.environ.get(ROLE_VARIABLE, "").strip()
    if role:
        return role_credentials(role, base_url)
    raise ConfigError(
        f"there is no access key: set {KEY_ID_VARIABLE} and {KEY_SECRET_VARIABLE} to one of a RAM "
        f"user, or on an ECS instance set {ROLE_VARIABLE} to the name of its RAM role"
    )


def role_credentials(role: str, base_url: str | None = None) -> Callable[[], Credentials]:
    """Keys of the role that is attached to this instance, renewed before they end."""
    provider = RoleCredentials(role, base_url)

    def current() -> Credentials:
        try:
            key = provider.get_credentials()
        except StoreError as error:
            raise CloudError(error.reason, error.remedy) from None
        return Credentials(key.access_key_id, key.access_key_secret, key.security_token)

    return current
