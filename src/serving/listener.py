"""The address that the service listens on.

Apart from the service, because `run.py doctor` asks for it, too, and must work where the packages
of the service are missing.
"""

from __future__ import annotations

import errno
import socket

from src.errors import ConfigError
from src.schema import ServingConfig


def open_listener(settings: ServingConfig) -> socket.socket:
    """A socket bound to the address of the service, which does not listen yet.

    Raises:
        ConfigError: If the address is taken, forbidden or does not exist.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        where = f"serving.host={settings.host} serving.port={settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"{where} is in use; choose another with --port") from error
        raise ConfigError(f"{where} cannot be used: {error.strerror or error}") from error
    return listener
