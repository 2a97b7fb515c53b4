"""Addresses of stores, as they stand in `checkpoint_store` and `resume_from_checkpoint`.

    file:///mnt/nas/run  or  /mnt/nas/run     a folder, for example on a mounted drive
    oss://bucket/run?network=internal         Alibaba Cloud OSS
    s3://bucket/run                           Amazon S3 and what speaks its protocol
    hf://user/model@revision?every=5000       a model repository of the Hugging Face Hub

An address never carries credentials: those come from the environment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from src.errors import ConfigError
from src.files import expand_home

# Options per scheme, with what each may hold.
_OPTIONS: dict[str, dict[str, str]] = {
    "file": {},
    "oss": {
        "region": r"[a-z0-9-]+",
        "network": "internal|public",
        "endpoint": r"https?://[A-Za-z0-9.:-]+|[A-Za-z0-9.:-]+",
    },
    "s3": {"region": r"[a-z0-9-]+", "endpoint": r"https?://[A-Za-z0-9.:-]+"},
    "hf": {"every": r"[1-9][0-9]*"},
}
SCHEMES = tuple(_OPTIONS)

# Two slashes are one where an address went through a Path.
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*):/{1,2}(?P<rest>.*)", re.DOTALL)
_HUB_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?P<rest>/.*)?")


@dataclass(frozen=True)
class StoreUrl:
    """A parsed address.

    Attributes:
        scheme: One of `SCHEMES`.
        bucket: Bucket, or "user/model"; empty for a folder.
        prefix: Where in the bucket, without slashes around it; the whole path of a folder.
        revision: Branch of a Hub repository; empty for its main one.
        options: What stands behind the question mark.
    """

    scheme: str
    bucket: str
    prefix: str
    revision: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The address without its options."""
        if self.scheme == "file":
            return self.prefix
        revision = f"@{self.revision}" if self.revision else ""
        prefix = f"/{self.prefix}" if self.prefix else ""
        return f"{self.scheme}://{self.bucket}{revision}{prefix}"

    @property
    def address(self) -> str:
        """The whole address; `parse_store_url` gives this object for it."""
        options = urlencode(self.options, safe=":/")
        return f"{self}?{options}" if options else str(self)

    def key(self, name: str) -> str:
        """The key of `name` below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def parent(self) -> StoreUrl:
        """The same address without the last part of its prefix."""
        prefix = self.prefix.rpartition("/")[0]
        return StoreUrl(self.scheme, self.bucket, prefix, self.revision, self.options)


def is_store_address(text: str) -> bool:
    """Whether `text` names a store by scheme, also one that does not exist."""
    return _ADDRESS.fullmatch(text) is not None


def parse_store_url(text: str) -> StoreUrl:
    """Reads an address; a plain path is a folder.

    Raises:
        ConfigError: Unknown scheme or option, no bucket or folder, or credentials in it.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return _folder_url(text, str(expand_home(text)))
    scheme = match["scheme"]
    if scheme not in _OPTIONS:
        raise ConfigError(
            f"there is no checkpoint store {scheme}://; use {'://, '.join(SCHEMES)}:// or the "
            "path of a folder"
        )
    if scheme == "file":
        return _folder_url(text, "/" + unquote(match["rest"]).strip("/"))
    parts = urlsplit(f"{scheme}://{match['rest']}")
    options = _parse_options(scheme, parts.query)
    if scheme == "hf":
        return _parse_hub(parts.netloc + parts.path, options)
    if "@" in parts.netloc or ":" in parts.netloc:
        # Not quoted: what stands before the @ may be a secret.
        raise ConfigError(
            f"a {scheme}:// address holds a bucket and a folder, never credentials or a port; "
            "set credentials in the environment"
        )
    if not parts.netloc:
        raise ConfigError(f"{text!r} names no bucket; write {scheme}://BUCKET/FOLDER")
    return StoreUrl(scheme, parts.netloc, parts.path.strip("/"), options=options)


def _folder_url(text: str, path: str) -> StoreUrl:
    if path == "/":
        raise ConfigError(f"{text!r} names no folder; write file:///DRIVE/FOLDER")
    return StoreUrl("file", "", path)


def _parse_hub(path: str, options: Mapping[str, str]) -> StoreUrl:
    match = _HUB_NAME.fullmatch(path.rstrip("/"))
    if match is None:
        raise ConfigError("an hf:// address is hf://USER/MODEL, with @REVISION where needed")
    return StoreUrl(
        "hf", match["name"], (match["rest"] or "").strip("/"), match["revision"] or "", options
    )


def _parse_options(scheme: str, query: str) -> dict[str, str]:
    known = _OPTIONS[scheme]
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            choice = ", ".join(known)
            raise ConfigError(f"a {scheme}:// address has no option {name!r}; there are: {choice}")
        if re.fullmatch(known[name], value) is None:
            raise ConfigError(f"{name}={value!r} in a {scheme}:// address; it is {known[name]}")
    return options
