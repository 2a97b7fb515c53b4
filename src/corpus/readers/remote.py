"""Sources that are URLs: copied once to this machine, so that any part can be read at any time.

    folder/<hash of the URL>.json    which files are there whole, and how the server described them
    folder/<hash of the URL>/…       the files, under their own names

A killed run finds the files that were whole; one that has changed on the server is fetched again.
Without a connection the copy is used as it is.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec
from fsspec.callbacks import Callback
from fsspec.registry import known_implementations

from src.corpus.disk import explained_disk_errors
from src.corpus.readers.files import has_wildcards, is_remote, sides_of, source_names
from src.errors import DataError
from src.files import replaced_when_done, write_text
from src.schema.data import SourceConfig
from src.units import format_bytes

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_TO_CONNECT = 30
_SECONDS_WITHOUT_DATA = 120
_UNAUTHORIZED = 401
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # of this machine, not of the server
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "oss": "ossfs", "gs": "gcsfs", "http": "aiohttp"}
_PACKAGES |= {
    "gcs": "gcsfs",
    "https": "aiohttp",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
}
# What servers say about the version of a file, by fsspec's names for it.
_VERSION_KEYS = ("ETag", "etag", "Content-MD5", "md5", "Last-Modified", "LastModified", "mtime")


@dataclass(frozen=True)
class _RemoteFile:
    """One file of a server.

    Attributes:
        location: Its path, as the file system of its protocol wants it.
        name: Where it belongs below the folder of its source.
        size: Bytes; None where the server does not say.
        version: What the server says about its version; empty where it says nothing.
    """

    location: str
    name: str
    size: int | None
    version: str

    @property
    def is_described(self) -> bool:
        """Whether a change would show without fetching it again."""
        return self.size is not None or bool(self.version)


def fetch_sources(sources: Sequence[SourceConfig], folder: Path) -> tuple[SourceConfig, ...]:
    """Makes all sources files of this machine.

    Args:
        sources: Entries of `data.sources`, URLs and paths.
        folder: Where copies are kept; it may hold those of an earlier run.

    Returns:
        The same sources with local paths, under the names they had.

    Raises:
        DataError: If a file cannot be fetched, a package is missing, or the disk is full.
    """
    fetched = []
    for source, name in zip(sources, source_names(sources), strict=True):
        if source.path.startswith("file://"):
            path = _path_of_file_url(source.path)
            fetched.append(source.model_copy(update={"path": path, "name": name}))
        elif is_remote(source.path):
            path = str(_fetch(source.path, folder))
            fetched.append(source.model_copy(update={"path": path, "name": name}))
        else:
            fetched.append(source)
    return tuple(fetched)


@contextmanager
def named_by_url(sources: Sequence[SourceConfig], folder: Path) -> Iterator[None]:
    """Names the URL where a copy cannot be read, which says more than the name of the copy.

    Args:
        sources: As they were given to `fetch_sources`.
        folder: Where copies are kept.

    Raises:
        DataError: If the block does, with the URL, and the folder of the copy at the end.
    """
    try:
        yield
    except DataError as error:
        for source in sources:
            target = _folder_of(source.path, folder)
            if is_remote(source.path) and f"{target}/" in str(error):
                address = _shown(f"{_split(source.path)[0]}/")
                text = str(error).replace(f"{target}/", address)
                raise DataError(f"{text}; the copy of it is in {target}") from error
        raise


def _path_of_file_url(url: str) -> str:
    """The path in it, whose wildcards and number signs mean nothing to a URL's parser.

    Raises:
        DataError: If it names another machine, as a relative path seems to do.
    """
    host, slash, path = url.removeprefix("file://").partition("/")
    if host not in {"", "localhost"}:
        raise DataError(
            f"{url}: names the machine {host}; write an absolute path after file://, or the path "
            "alone"
        )
    return unquote(slash + path)


def _folder_of(url: str, folder: Path) -> Path:
    return folder / hashlib.sha256(url.encode("utf-8")).hexdigest()[:16]


def _fetch(url: str, folder: Path) -> Path:
    """Copies the files of a URL; returns their path, with its wildcards and braces."""
    target = _folder_of(url, folder)
    record = target.with_suffix(".json")
    known = _read_record(record)
    fixed, pattern = _split(url)
    try:
        files = _list_files(url, fixed)
    except DataError as error:
        if not known or not all((target / name).is_file() for name in known):
            raise
        logger.warning("%s; using the copy in %s", error, target)
        return target / pattern
    server = _file_system(url)
    for file in files:
        description = [file.size, file.version]
        is_known = file.is_described and known.get(file.name) == description
        if not is_known or not (target / file.name).is_file():
            _download(server, url, file, target / file.name)
            known[file.name] = description
            write_text(record, json.dumps(known, sort_keys=True) + "\n")
    _forget_others(target, {file.name for file in files})
    return target / pattern


def _read_record(record: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _forget_others(target: Path, names: set[str]) -> None:
    """Removes files that the URL does not name any more, which wildcards would find."""
    for path in target.rglob("*"):
        if path.is_file() and path.relative_to(target).as_posix() not in names:
            path.unlink()


def _split(url: str) -> tuple[str, str]:
    """The part of a URL before wildcards, and the rest, at least the name of the file."""
    path = url if not url.startswith("http") else url.partition("?")[0]
    parts = path.split("/")
    varies = [number for number, part in enumerate(parts) if has_wildcards(part) or sides_of(part)]
    first = min([*varies, len(parts) - 1])
    return "/".join(parts[:first]), "/".join(parts[first:])


def _list_files(url: str, fixed: str) -> list[_RemoteFile]:
    """All files of a URL with their descriptions.

    Raises:
        DataError: If the server does not answer, or has none.
    """
    sides = sides_of(url)
    server = _file_system(url)
    root = str(server._strip_protocol(fixed))
    files = []
    for pattern in sides.patterns if sides else (url,):
        try:
            is_many = has_wildcards(_split(pattern)[1])
            locations = (
                sorted(server.glob(pattern)) if is_many else [server._strip_protocol(pattern)]
            )
            descriptions = [server.info(location) for location in locations]
        except Exception as error:
            raise _unreachable(pattern, error) from error
        if not locations:
            raise DataError(f"{_shown(pattern)}: matches no file; check the path")
        for location, description in zip(locations, descriptions, strict=True):
            files.append(_describe(location, root, description))
    return files


def _describe(location: str, root: str, description: dict[str, Any]) -> _RemoteFile:
    name = location.removeprefix(root).lstrip("/")
    if urlsplit(location).scheme.startswith("http"):
        name = name.partition("?")[0]
    version = next((str(description[key]) for key in _VERSION_KEYS if description.get(key)), "")
    return _RemoteFile(location, PurePosixPath(name).as_posix(), description.get("size"), version)


def _file_system(url: str) -> Any:
    """The fsspec file system of a URL.

    Raises:
        DataError: If there is none, or a package is missing.
    """
    protocol = url.partition("://")[0]
    if protocol not in known_implementations:
        raise DataError(f"{_shown(url)}: nothing is known of {protocol}://; use https, s3 or oss")
    options: dict[str, Any] = {}
    try:
        if protocol in {"http", "https"}:
            from aiohttp import ClientTimeout

            timeout = ClientTimeout(
                total=None, sock_connect=_SECONDS_TO_CONNECT, sock_read=_SECONDS_WITHOUT_DATA
            )
            # Bytes as they lie there: some servers call a .gz file "encoded" and would have it
            # unpacked on the way. The environment knows passwords (NETRC) and proxies.
            options["client_kwargs"] = {
                "timeout": timeout,
                "auto_decompress": False,
                "trust_env": True,
            }
            options["headers"] = {"Accept-Encoding": "identity"}
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        remedy = f"pip install {package}" if package else str(error)
        raise DataError(
            f"{_shown(url)}: a package for {protocol}:// is missing; {remedy}"
        ) from error
    except Exception as error:
        raise _unreachable(url, error) from error


def _download(server: Any, url: str, file: _RemoteFile, path: Path) -> None:
    with (
        explained_disk_errors(path, file.size or 0),
        replaced_when_done(path) as partial,
    ):
        try:
            server.get_file(file.location, str(partial), callback=_Progress(path.name))
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                raise
            raise _unreachable(url, error) from error
        except Exception as error:
            raise _unreachable(url, error) from error
        size = partial.stat().st_size
        if file.size is not None and size != file.size:
            raise DataError(
                f"{_shown(file.location)}: the server sent {size:,} bytes of {file.size:,}; run "
                "again, files that are whole are kept"
            )
        if path.is_file() and filecmp.cmp(path, partial, shallow=False):
            # The older file is told from a new one by its time: what was made of it stays good.
            shutil.copystat(path, partial)
    logger.info("fetched %s, %s", path.name, format_bytes(size))


class _Progress(Callback):  # type: ignore[misc]  # fsspec has no types
    """Logs a line about every five seconds of a download."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._last_line = time.monotonic()

    def call(self, *_hook: object, **_details: object) -> None:
        """Notes that bytes have come; fsspec calls it."""
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            total = f" of {format_bytes(self.size)}" if self.size else ""
            logger.info("fetching %s: %s%s", self._name, format_bytes(self.value), total)


def _unreachable(url: str, error: Exception) -> DataError:
    # fsspec calls every failure of a web server a missing file; the cause tells more.
    cause = error.__cause__ or error
    status = getattr(cause, "status", None)
    reason = f"HTTP {status}" if status else " ".join(f"{type(cause).__name__}: {cause}".split())
    if isinstance(error, FileNotFoundError) and error.__cause__ is None:
        reason = "no such file"
    remedy = "check the address and the network"
    if status == _UNAUTHORIZED:
        remedy = "write `machine HOST login USER password PASSWORD` into ~/.netrc"
    return DataError(
        f"{_shown(url)}: cannot be fetched ({reason}); {remedy}, then run again: files that are "
        "whole are kept"
    )


def _shown(url: str) -> str:
    """A URL without what may be secret in it: user, password, signature."""
    protocol, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{protocol}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
