"""Amazon S3, and what speaks its protocol, through s3fs and the botocore below it.

s3fs is asked for single requests: its own writer cannot go on after a kill. Checksums in trailers,
which botocore sends since 1.36 and other services refuse, are switched off: an MD5 goes along with
every body instead. On Alibaba Cloud's S3 interface buckets must be part of the host name.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from src.checkpoint.manifest import FileRecord
from src.checkpoint.stores.bucket import ObjectMissing, Report, Tuning
from src.checkpoint.stores.copies import Held, copy_within
from src.checkpoint.stores.multipart import Part, check_content, upload_in_parts
from src.checkpoint.stores.url import StoreUrl
from src.errors import ConfigError, StoreError

_CHUNK_BYTES = 8 * 1024 * 1024
_SHA256_KEY = "sha256"
_REQUEST_LOGGERS = ("s3fs", "botocore", "aiobotocore")

Result = TypeVar("Result")
Request = Callable[..., Any]


class S3Bucket:
    """A bucket, spoken to with bounded waiting and retries.

    Args:
        url: An s3:// address. Credentials, region and AWS_ENDPOINT_URL_S3 come from where botocore
            looks for them.
        tuning: Sizes and patience.

    Raises:
        ConfigError: s3fs is not installed.
    """

    def __init__(self, url: StoreUrl, tuning: Tuning) -> None:
        try:
            s3fs = importlib.import_module("s3fs")
            self._errors = importlib.import_module("src.checkpoint.stores.s3_errors")
        except ImportError:
            raise ConfigError(
                "s3:// needs the package s3fs, which is not installed; run: pip install s3fs"
            ) from None
        for name in _REQUEST_LOGGERS:  # at DEBUG they log whole requests, signature included
            logging.getLogger(name).setLevel(logging.WARNING)
        self._tuning = tuning
        self._name = url.bucket
        endpoint = url.options.get("endpoint")
        is_alibaba = "aliyuncs.com" in (endpoint or "")
        self._files = s3fs.S3FileSystem(
            endpoint_url=endpoint,
            client_kwargs={"region_name": url.options["region"]} if "region" in url.options else {},
            config_kwargs={
                "connect_timeout": tuning.connect_seconds,
                "read_timeout": tuning.read_seconds,
                "retries": {"total_max_attempts": 1},  # ours are enough, and bounded
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "virtual" if is_alibaba else "auto"},
            },
            skip_instance_cache=True,
        )
        self._files.retries = 1

    def list(self, prefix: str) -> Mapping[str, int]:
        """Key → bytes of the objects whose keys start so."""
        pages = self._pages("list_objects_v2", "ContinuationToken", Prefix=prefix)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        """A small object."""
        return b"".join(self.stream(key, 0))

    def stream(self, key: str, start: int) -> Iterator[bytes]:
        """A large object from byte `start` on."""
        size = int(self._ask("head_object", Key=key)["ContentLength"])
        path = f"{self._name}/{key}"
        for begin in range(start, size, _CHUNK_BYTES):
            end = min(begin + _CHUNK_BYTES, size)
            yield self._try(partial(self._files.cat_file, path, start=begin, end=end))

    def create(self, key: str, content: bytes) -> None:
        """Puts a small object where there is none."""
        self._put(key, content, IfNoneMatch="*")

    def put(self, key: str, content: bytes) -> None:
        """Puts a small object, replacing an older one."""
        self._put(key, content)

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
        self._put(key, content, Metadata={_SHA256_KEY: expected.sha256})
        report(expected.bytes)

    def copy(self, source: str, key: str, expected: FileRecord, report: Report) -> bool:
        """Makes `key` a copy of `source` without sending bytes."""
        service = self._parts(expected.sha256)
        return copy_within(
            service, source, key, expected=expected, tuning=self._tuning, report=report
        )

    def delete(self, keys: Sequence[str]) -> None:
        """Removes objects, one request each: the bulk request needs a checksum OSS refuses."""
        for key in keys:
            self._ask("delete_object", Key=key)

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of begun uploads, oldest first."""
        return self._parts("").pending(prefix)

    def give_up(self, key: str, upload_id: str) -> None:
        """Removes what a begun upload has sent so far."""
        try:
            self._ask("abort_multipart_upload", Key=key, UploadId=upload_id)
        except ObjectMissing:
            return  # an attempt before this one got through

    def _put(self, key: str, content: bytes, **extra: Any) -> None:
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        self._send("put_object", md5, Key=key, Body=content, **extra)

    def _parts(self, sha256: str) -> S3Parts:
        return S3Parts(self._name, self._ask, self._pages, self._send, {_SHA256_KEY: sha256})

    def _pages(self, method: str, token: str, **details: Any) -> Iterator[Mapping[str, Any]]:
        """All pages of an answer; `token` is what the next page is asked for with."""
        more: dict[str, Any] = {}
        while True:
            page = self._ask(method, **details, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more = {token: page[f"Next{token}"]}
            if token == "KeyMarker":  # noqa: S105  a marker, no secret
                more["UploadIdMarker"] = page["NextUploadIdMarker"]

    def _ask(self, method: str, **details: Any) -> Any:
        return self._try(lambda: self._files.call_s3(method, Bucket=self._name, **details))

    def _send(self, method: str, md5: bytes, **details: Any) -> str:
        """Sends a body with its MD5, again if something else has arrived; returns its ETag.

        Amazon compares the MD5; of other services the ETag tells, unless they encrypt with keys
        of the user.
        """

        def once() -> str:
            answer = self._files.call_s3(
                method, Bucket=self._name, ContentMD5=base64.b64encode(md5).decode(), **details
            )
            etag = str(answer["ETag"])
            is_md5 = not str(answer.get("ServerSideEncryption", "")).startswith("aws:kms")
            if is_md5 and etag.strip('"').lower() != md5.hex():
                raise damaged(self._name)
            return etag

        return self._try(once)

    def _try(self, request: Callable[[], Result]) -> Result:
        def once() -> Result:
            try:
                return request()
            except self._errors.FAULTS as error:
                raise self._errors.explain(error, self._name) from None

        return self._tuning.retry.call(once)


class S3Parts:
    """The requests of an upload in parts and of a copy, see `.multipart` and `.copies`."""

    def __init__(
        self,
        bucket: str,
        ask: Request,
        pages: Request,
        send: Callable[..., str],
        metadata: Mapping[str, str],
    ) -> None:
        self._bucket = bucket
        self._ask = ask
        self._pages = pages
        self._send = send
        self._metadata = dict(metadata)

    def held(self, key: str) -> Held | None:
        """What there is under a key."""
        try:
            found = self._ask("head_object", Key=key)
        except ObjectMissing:
            return None
        sha256 = str(found.get("Metadata", {}).get(_SHA256_KEY, ""))
        return Held(FileRecord(int(found["ContentLength"]), sha256), str(found["ETag"]))

    def copy_whole(self, source: str, etag: str, key: str) -> None:
        """Copies an object; the service takes its metadata along."""
        original = {"Bucket": self._bucket, "Key": source}
        self._ask("copy_object", Key=key, CopySource=original, CopySourceIfMatch=etag)

    def remove(self, key: str) -> None:
        """Deletes an object."""
        self._ask("delete_object", Key=key)

    def copy_part(
        self, source: str, etag: str, key: str, upload_id: str, number: int, span: tuple[int, int]
    ) -> Part:
        """Makes some bytes of an object a part."""
        copied = self._ask(
            "upload_part_copy",
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySource={"Bucket": self._bucket, "Key": source},
            CopySourceIfMatch=etag,
            CopySourceRange=f"bytes={span[0]}-{span[1]}",
        )
        return Part(span[1] - span[0] + 1, str(copied["CopyPartResult"]["ETag"]))

    def begin(self, key: str) -> str:
        """Begins an upload; a repeated request leaves an empty one, which rotation gives up."""
        begun = self._ask("create_multipart_upload", Key=key, Metadata=self._metadata)
        return str(begun["UploadId"])

    def pending(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and id of begun uploads, oldest first."""
        uploads = [
            (each["Initiated"], each["Key"], each["UploadId"])
            for page in self._pages("list_multipart_uploads", "KeyMarker", Prefix=prefix)
            for each in page.get("Uploads", ())
            if each["Key"].startswith(prefix)
        ]
        return [(key, upload_id) for _, key, upload_id in sorted(uploads)]

    def parts(self, key: str, upload_id: str) -> Mapping[int, Part]:
        """Number → part of what has arrived."""
        pages = self._pages("list_parts", "PartNumberMarker", Key=key, UploadId=upload_id)
        return {
            each["PartNumber"]: Part(each["Size"], each["ETag"])
            for page in pages
            for each in page.get("Parts", ())
        }

    def send_part(self, key: str, upload_id: str, number: int, data: bytes, md5: bytes) -> str:
        """Sends one part; the service checks its MD5."""
        return self._send(
            "upload_part", md5, Key=key, UploadId=upload_id, PartNumber=number, Body=data
        )

    def complete(self, key: str, upload_id: str, parts: Mapping[int, Part]) -> None:
        """Makes the object appear."""
        listed = [{"PartNumber": number, "ETag": part.etag} for number, part in parts.items()]
        try:
            self._ask(
                "complete_multipart_upload",
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": listed},
            )
        except ObjectMissing:
            # The answer to an earlier attempt got lost, or somebody gave the upload up.
            size = sum(part.size for part in parts.values())
            if self._ask("head_object", Key=key)["ContentLength"] != size:
                raise


def damaged(bucket: str) -> StoreError:
    """Something else has arrived than what was sent."""
    return StoreError(
        f"bytes on their way to bucket {bucket} were damaged",
        "check the network if this lasts",
        is_temporary=True,
    )
