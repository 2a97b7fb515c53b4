"""Small objects below one place in a bucket or shared folder: how controller and instances talk.

What is behind is the bucket of the checkpoint stores, with its time limits and repeats; here are
the prefix, "there is none" as a value, and the one primitive that settles who was first.
"""

from __future__ import annotations

from pathlib import Path

from src.checkpoint.format import hash_file
from src.checkpoint.stores.bucket import ObjectExists, ObjectMissing, Tuning
from src.checkpoint.stores.folder import FolderBucket
from src.checkpoint.stores.oss import OssBucket, find_endpoint
from src.checkpoint.stores.url import StoreUrl, parse_store_url
from src.errors import ConfigError
from src.files import replaced_when_done


class Objects:
    """Objects below an address; keys are relative to it.

    Args:
        address: oss://bucket/prefix?region=… or file:///folder.

    Raises:
        ConfigError: Another kind of address, or no key for it.
    """

    def __init__(self, address: str) -> None:
        url = parse_store_url(address)
        self._bucket: FolderBucket | OssBucket
        if url.scheme == "file":
            self._bucket, self._prefix = FolderBucket(Path(url.prefix)), ""
        elif url.scheme == "oss":
            self._bucket = OssBucket(url, Tuning())
            self._prefix = f"{url.prefix}/" if url.prefix else ""
        else:
            raise ConfigError(
                f"cloud.bucket is {url}; machines of Alibaba Cloud use oss://… or a mounted folder"
            )

    def get(self, key: str) -> bytes | None:
        """Content, or None when there is no such object."""
        try:
            return self._bucket.read(self._prefix + key)
        except ObjectMissing:
            return None

    def put(self, key: str, content: bytes) -> None:
        """Makes or replaces an object."""
        self._bucket.put(self._prefix + key, content)

    def put_private(self, key: str, content: bytes) -> None:
        """Makes or replaces an object that nobody else may read, whatever the bucket allows."""
        self._bucket.put_private(self._prefix + key, content)

    def put_new(self, key: str, content: bytes) -> bool:
        """Makes an object; False, and nothing done, when the name is taken."""
        try:
            self._bucket.create(self._prefix + key, content)
        except ObjectExists:
            # A repeat after a lost answer finds its own object: that one was first, too.
            return self.get(key) == content
        return True

    def list(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`, sorted."""
        found = self._bucket.list(self._prefix + prefix)
        return sorted(key.removeprefix(self._prefix) for key in found)

    def delete(self, key: str) -> None:
        """Removes an object, if it is there."""
        self._bucket.delete([self._prefix + key])

    def put_file(self, key: str, path: Path, *, originals: str | None = None) -> None:
        """Makes or replaces an object with the content of a file of any size.

        Args:
            key: Of the object.
            path: Of the file.
            originals: Where the bucket may have a file of this name and content already, in folders
                whose keys begin so: then it is copied there, and nothing is sent.
        """
        target, expected = self._prefix + key, hash_file(path)
        held = self._bucket.list(self._prefix + originals) if originals else ()
        sources = [source for source in held if source.endswith(f"/{path.name}")]
        if not any(self._bucket.copy(each, target, expected, _say_nothing) for each in sources):
            self._bucket.upload(path, target, expected, _say_nothing)

    def get_file(self, key: str, path: Path) -> None:
        """Writes an object of any size to a file, which appears when it is whole."""
        with replaced_when_done(path) as partial, partial.open("wb") as file:
            for chunk in self._bucket.stream(self._prefix + key, 0):
                file.write(chunk)


def _say_nothing(_count: int) -> None:
    """Where nobody follows how many bytes are there."""


def machine_address(address: str) -> tuple[str, str]:
    """Address without options, and endpoint, as the start script of an instance wants them.

    Raises:
        ConfigError: The address does not say where the bucket is.
    """
    url = parse_store_url(address)
    if url.scheme == "file":
        return f"file://{url.prefix}", ""
    return str(url), find_endpoint(url)[0]


def below(address: str, name: str) -> str:
    """The address of a folder in a bucket, options kept."""
    url = parse_store_url(address)
    if url.scheme == "file":
        return f"file://{url.prefix}/{name}"
    options = "&".join(f"{key}={value}" for key, value in url.options.items())
    inner = StoreUrl(url.scheme, url.bucket, url.key(name), options=url.options)
    return f"{inner}?{options}" if options else str(inner)
