"""Secrets that people hand over by the environment, and keeping them out of everything shown.

A variable NAME holds the secret itself, or NAME_FILE the path of a file that holds it. The file is
the better way under Paddle's launcher, which writes the whole environment into its log folder, and
for services, whose environment other programs of the machine may see.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from src.errors import ConfigError

FILE_SUFFIX = "_FILE"
MASK = "***"
_SHORTEST_MASKED = 4  # masking "a" would make every text unreadable and hide nothing


@dataclass(frozen=True)
class Secret:
    """A secret and where it came from; only `reveal` shows it.

    Attributes:
        variable: Name of the environment variable.
    """

    variable: str
    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __str__(self) -> str:
        return f"${self.variable}"


def read_secret(variable: str) -> Secret:
    """The secret that the environment holds under this name.

    Raises:
        ConfigError: There is none, or its file may be read by others.
    """
    # A secret that was pasted brings a space or a line end along.
    value = os.environ.get(variable, "").strip()
    if value:
        return Secret(variable, value)
    name = os.environ.get(variable + FILE_SUFFIX, "").strip()
    if not name:
        raise ConfigError(
            f"the environment variable {variable} is not set; set it to the secret, or "
            f"{variable}{FILE_SUFFIX} to the path of a file that holds it"
        )
    return Secret(variable, _read_private_file(Path(name), variable))


def read_pair(first: str, second: str) -> tuple[str, str] | None:
    """Two variables that belong together, such as the two halves of an access key.

    Returns:
        Their values, or None when neither is set.

    Raises:
        ConfigError: Only one is set.
    """
    # A key that was pasted brings a space or a line end along, and the service then calls it wrong.
    values = os.environ.get(first, "").strip(), os.environ.get(second, "").strip()
    if all(values):
        return values
    if not any(values):
        return None
    present, missing = (first, second) if values[0] else (second, first)
    raise ConfigError(f"{present} is set but {missing} is not; set both, or neither")


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """The text without any of the secrets, also where they are percent-encoded for an address."""
    for secret in secrets:
        value = secret.reveal()
        for form in {value, quote(value, safe=""), quote(value), quote_plus(value)}:
            if len(form) >= _SHORTEST_MASKED:
                text = text.replace(form, MASK)
    return text


def _read_private_file(path: Path, variable: str) -> str:
    where = f"{variable}{FILE_SUFFIX}={path}"
    try:
        mode = path.stat().st_mode
        content = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"{where} cannot be read: {reason}; name a readable file") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{where} may be read by other users; run: chmod 600 {path}")
    if not content:
        raise ConfigError(f"{where} is empty; write the secret into it")
    return content
