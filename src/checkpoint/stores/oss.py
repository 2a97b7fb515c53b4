"""Alibaba Cloud OSS through its SDK, oss2.

The SDK checks the CRC64 of everything it sends and receives, but tries nothing again, and its own
resumable upload completes a part that was damaged on its way once it is retried: parts are
therefore compared by MD5 (`src.checkpoint.stores.multipart`).
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import oss2
import requests
from oss2.models import PartInfo

from src.checkpoint.manifest import FileRecord
from src.checkpoint.stores.bucket import ObjectMissing, Report, Tuning
from src.checkpoint.stores.copies import Held, copy_within
from src.checkpoint.stores.multipart import Part, check_content, upload_in_parts
from src.checkpoint.stores.oss_credentials import credentials_provider
from src.checkpoint.stores.oss_errors import explain
from src.checkpoint.stores.url import StoreUrl
from src.errors import ConfigError

ENDPOINT_VARIABLE = "OSS_ENDPOINT"
REGION_VARIABLE = "OSS_REGION"

_FAST_CRC = "crcmod._crcfunext"
_SHA256_HEADER = "x-oss-meta-sha256"
_COPY_CONDITION = "x-oss-copy-source-if-match"
_CREATE_ONLY = {"x-oss-forbid-overwrite": "true"}
_PRIVATE = {"x-oss-object-acl": "private", "x-oss-server-side-encryption": "AES256"}
_CHUNK_BYTES = 1024 * 1024
_MOST_KEYS_PER_REQUEST = 1000
# oss-cn-hangzhou.aliyuncs.com, oss-cn-hangzhou-internal.aliyuncs.com
_REGION_IN_ENDPOINT = re.compile(r"oss-([a-z0-9-]+?)(-internal)?\.aliyuncs\.com")

# What the SDK raises; OSError is the network's, between the SDK's own nets.
_FAULTS = (oss2.exceptions.OssError, requests.RequestException, OSError)

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class OssBucket:
    """A bucket, spoken to with bounded waiting and retries.

    Args:
        url: An oss:// address.
        tuning: Sizes and patience.

    Raises:
        ConfigError: No endpoint, no credentials, or a bucket that cannot be.
    """

    def __init__(self, url: StoreUrl, tuning: Tuning) -> None:
        # At INFO and DEBUG it logs whole requests, signature and token included.
        logging.getLogger("oss2").setLevel(logging.CRITICAL)
        endpoint, region = find_endpoint(url)
        if not oss2.is_valid_bucket_name(url.bucket):
            raise ConfigError(
                f"{url.bucket!r} cannot be the name of a bucket, which has 3 to 63 lower-case "
                f"letters, digits and hyphens; correct the address {url}"
            )
        if not oss2.is_valid_endpoint(endpoint.rstrip("/")):
            raise ConfigError(
                f"{endpoint!r} cannot be the address of OSS; write {ENDPOINT_VARIABLE} as "
                "https://oss-cn-hangzhou.aliyuncs.com, or set the region alone"
            )
        provider = credentials_provider()
        self._tuning = tuning
        self._name = url.bucket
        self._bucket = oss2.Bucket(
            oss2.ProviderAuthV4(provider) if region else oss2.ProviderAuth(provider),
            endpoint,
            url.bucket,
            connect_timeout=(tuning.connect_seconds, tuning.read_seconds),
            region=region,
            is_path_style=_is_loopback(endpoint),
        )
        if importlib.util.find_spec(_FAST_CRC) is None:
            logger.warning(
                "crcmod runs without its C extension: uploads to OSS are limited to about 12 MiB/s "
                "by CRC64; install a C compiler and reinstall crcmod"
            )

    def list(self, prefix: str) -> Mapping[str, int]:
        """Key → bytes of the objects whose keys start so."""
        found: dict[str, int] = {}
        token, is_last = "", False
        while not is_last:
            page = self._try(partial(self._page, prefix, token))
            found.update((each.key, each.size) for each in page.object_list)
            token, is_last = page.next_continuation_token, not page.is_truncated
        return found

    def read(self, key: str) -> bytes:
        """A small object."""
        return self._try(lambda: b"".join(self._chunks(key, 0)))

    def stream(self, key: str, start: int) -> Iterator[bytes]:
        """A large object from byte `start` on, not tried again when it breaks off."""
        try:
            yield from self._chunks(key, start)
        except _FAULTS as error:
            raise self._explain(error) from None

    def create(self, key: str, content: bytes) -> None:
        """Puts a small object where there is none."""
        self._put(key, content, _CREATE_ONLY)

    def put(self, key: str, content: bytes) -> None:
        """Puts a small object, replacing an older one."""
        self._put(key, content, {})

    def put_private(self, key: str, content: bytes) -> None:
        """Puts a small object, encrypted at rest, that a public bucket does not show, either."""
        self._put(key, content, _PRIVATE)

    def upload(self, source: Path, key: str, expected: FileRecord, report: Report) -> None:
        """Puts a file, in parts when it is large."""
        service = self._parts(expected.sha256)
        held = service.held(key)
        if held is not None and held.record.sha256 == expected.sha256:
            report(expected.bytes)
            return
        if expected.bytes > self._tuning.part_bytes:
            upload_in_parts(
                service, source, key, expected=expected, tuning=self._tuning, report=report
            )
            return
        content = source.read_bytes()
        found = FileRecord(len(content), hashlib.sha256(content).hexdigest())
        check_content(source, found, expected)
        self._put(key, content, {_SHA256_HEADER: expected.sha256})
        report(expected.bytes)

    def copy(self, source: str, key: str, expected: FileRecord, report: Report) -> bool:
        """Makes `key` a copy of `source` without sending bytes."""
        service = self._parts(expected.sha256)
        return copy_within(
            service, source, key, expected=expected, tuning=self._tuning, report=report
        )

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects."""
        for start in range(0, len(keys), _MOST_KEYS_PER_REQUEST):
            some = list(keys[start : start + _MOST_KEYS_PER_REQUEST])
            self._try(partial(self._bucket.batch_delete_objects, some))

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of begun uploads, oldest first."""
        return self._parts("").pending(prefix)

    def give_up(self, key: str, upload_id: str) -> None:
        """Removes what a begun upload has sent so far."""

        def abort() -> None:
            try:
                self._bucket.abort_multipart_upload(key, upload_id)
            except oss2.exceptions.NoSuchUpload:
                return  # an attempt before this one got through

        self._try(abort)

    def _page(self, prefix: str, token: str) -> Any:
        return self._bucket.list_objects_v2(
            prefix=prefix, continuation_token=token, max_keys=_MOST_KEYS_PER_REQUEST
        )

    def _chunks(self, key: str, start: int) -> Iterator[bytes]:
        byte_range = (start, None) if start else None
        answer = self._bucket.get_object(key, byte_range=byte_range)
        while chunk := answer.read(_CHUNK_BYTES):
            yield chunk
        if not start:  # the CRC64 is that of the whole object
            oss2.utils.check_crc("download", answer.client_crc, answer.server_crc, "")

    def _put(self, key: str, content: bytes, headers: Mapping[str, str]) -> None:
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        headers = {**headers, "Content-MD5": base64.b64encode(md5).decode()}
        self._try(lambda: self._bucket.put_object(key, content, headers=headers))

    def _parts(self, sha256: str) -> OssParts:
        return OssParts(self._bucket, self._try, {_SHA256_HEADER: sha256})

    def _try(self, request: Callable[[], Result]) -> Result:
        def once() -> Result:
            try:
                return request()
            except _FAULTS as error:
                raise self._explain(error) from None  # the SDK's errors quote the request

        return self._tuning.retry.call(once)

    def _explain(self, error: Exception) -> Exception:
        return explain(error, self._name, self._bucket.endpoint)


class OssParts:
    """The requests of an upload in parts and of a copy, see `.multipart` and `.copies`."""

    def __init__(
        self,
        bucket: oss2.Bucket,
        attempt: Callable[[Callable[[], Any]], Any],
        headers: Mapping[str, str],
    ) -> None:
        self._bucket = bucket
        self._try = attempt
        self._headers = headers

    def held(self, key: str) -> Held | None:
        """What there is under a key, with the service's CRC64 of it."""
        try:
            found = self._try(lambda: self._bucket.head_object(key))
        except ObjectMissing:
            return None
        record = FileRecord(found.content_length or 0, str(found.headers.get(_SHA256_HEADER, "")))
        return Held(record, str(found.etag), str(found.server_crc or ""))

    def copy_whole(self, source: str, etag: str, key: str) -> None:
        """Copies an object; the service takes its metadata along."""
        name, condition = self._bucket.bucket_name, {_COPY_CONDITION: etag}
        self._try(lambda: self._bucket.copy_object(name, source, key, headers=condition))

    def remove(self, key: str) -> None:
        """Deletes an object."""
        self._try(lambda: self._bucket.delete_object(key))

    def copy_part(
        self, source: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int]
    ) -> Part:
        """Makes some bytes of an object a part."""
        name, condition = self._bucket.bucket_name, {_COPY_CONDITION: etag}
        copied = self._try(
            lambda: self._bucket.upload_part_copy(
                name, source, span, key, upload_id, number, headers=condition
            )
        )
        return Part(span[1] - span[0] + 1, str(copied.etag))

    def begin(self, key: str) -> str:
        """Begins an upload; a repeated request leaves an empty one, which rotation gives up."""
        begun = self._try(lambda: self._bucket.init_multipart_upload(key, headers=self._headers))
        return str(begun.upload_id)

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of begun uploads, oldest first."""

        def ask() -> list[tuple[int, str, str]]:
            uploads = oss2.MultipartUploadIterator(self._bucket, prefix=prefix)
            return [(each.initiation_date, each.key, each.upload_id) for each in uploads]

        return [(key, upload_id) for _, key, upload_id in sorted(self._try(ask))]

    def parts(self, key: str, upload_id: str) -> Mapping[int, Part]:
        """Number → part of what has arrived."""

        def ask() -> dict[int, Part]:
            parts = oss2.PartIterator(self._bucket, key, upload_id)
            return {each.part_number: Part(each.size, each.etag) for each in parts}

        found: dict[int, Part] = self._try(ask)
        return found

    def send_part(self, key: str, upload_id: str, number: int, data: bytes, md5: bytes) -> str:
        """Sends one part; the service checks its MD5, the SDK its CRC64."""
        headers = {"Content-MD5": base64.b64encode(md5).decode()}
        sent = self._try(
            lambda: self._bucket.upload_part(key, upload_id, number, data, headers=headers)
        )
        return str(sent.etag)

    def complete(self, key: str, upload_id: str, parts: Mapping[int, Part]) -> None:
        """Makes the object appear."""
        infos = [PartInfo(number, part.etag) for number, part in parts.items()]
        size = sum(part.size for part in parts.values())

        def finish() -> None:
            try:
                self._bucket.complete_multipart_upload(key, upload_id, infos)
            except oss2.exceptions.NoSuchUpload:
                # The answer to an earlier attempt got lost, or somebody gave the upload up.
                if self._bucket.head_object(key).content_length != size:
                    raise

        self._try(finish)


def find_endpoint(url: StoreUrl) -> tuple[str, str | None]:
    """Address and region of the service; the region decides which signature is used.

    The address's options come first, then the environment. The internal network of a region is
    free of charge and reached from its own machines only.

    Raises:
        ConfigError: If neither says where the bucket is.
    """
    endpoint = url.options.get("endpoint") or os.environ.get(ENDPOINT_VARIABLE, "").strip()
    region = url.options.get("region") or os.environ.get(REGION_VARIABLE, "").strip() or None
    if "region" in url.options and "endpoint" not in url.options:
        endpoint = ""  # the environment's may be another region's
    if endpoint:
        match = _REGION_IN_ENDPOINT.search(endpoint)
        region = match[1] if match else region
    elif region is None:
        raise ConfigError(
            f"{url}: in which region is the bucket? Set {REGION_VARIABLE}, for example to "
            f"cn-hangzhou, or {ENDPOINT_VARIABLE}, or write oss://{url.bucket}/…?region=cn-hangzhou"
        )
    network = url.options.get("network")
    if region and (not endpoint or (network and _REGION_IN_ENDPOINT.search(endpoint))):
        suffix = "-internal" if network == "internal" else ""
        endpoint = f"https://oss-{region}{suffix}.aliyuncs.com"
    return endpoint if "://" in endpoint else f"https://{endpoint}", region


def _is_loopback(endpoint: str) -> bool:
    """A service on this machine has no name per bucket."""
    return re.match(r"https?://(127\.|localhost)", endpoint) is not None
