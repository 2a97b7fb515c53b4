"""From an address to a store; each scheme's library is imported when it is needed."""

from __future__ import annotations

from pathlib import Path

from src.checkpoint.stores.bucket import Bucket, Tuning
from src.checkpoint.stores.bucket_store import WRITERS, BucketStore
from src.checkpoint.stores.folder import FolderBucket
from src.checkpoint.stores.store import Store
from src.checkpoint.stores.url import StoreUrl, is_store_address, parse_store_url
from src.files import expand_home


def open_store(address: str | StoreUrl, tuning: Tuning | None = None) -> Store:
    """The store at an address, see `src.checkpoint.stores.url`; nothing is asked of it yet.

    Raises:
        ConfigError: The address is wrong, a package or credentials are missing.
    """
    url = parse_store_url(address) if isinstance(address, str) else address
    tuning = tuning or Tuning()
    if url.scheme == "hf":
        from src.checkpoint.stores.hub import HubStore

        return HubStore(url, tuning)
    return BucketStore(_open_bucket(url, tuning), url, tuning)


def names_store(text: str) -> bool:
    """Whether `text` is an address, or the path of a folder that a run has uploaded to."""
    return is_store_address(text) or (expand_home(text) / WRITERS).is_dir()


def _open_bucket(url: StoreUrl, tuning: Tuning) -> Bucket:
    if url.scheme == "oss":
        from src.checkpoint.stores.oss import OssBucket

        return OssBucket(url, tuning)
    if url.scheme == "s3":
        from src.checkpoint.stores.s3 import S3Bucket

        return S3Bucket(url, tuning)
    return FolderBucket(Path(url.prefix))
