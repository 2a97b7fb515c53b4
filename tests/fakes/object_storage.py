"""A local Alibaba Cloud OSS: real HTTP, both signatures verified, and the rules stores rely on.

Objects appear whole; the parts of an upload are invisible until it is completed and smaller than
100 KB only at the end; every object has its CRC64; x-oss-forbid-overwrite is obeyed, and ignored in
a bucket that keeps versions. A request this fake does not know is refused, never answered kindly.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime
from threading import RLock
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.fakes.local_server import QuietHandler, serving
from tests.fakes.object_storage_buckets import (
    XML,
    FakeBucket,
    Refused,
    StoredObject,
    crc64,
    encode,
    md5,
    render_listing,
    render_parts,
    render_uploads,
)
from tests.fakes.object_storage_signatures import SignedRequest

_LARGEST_SKEW_SECONDS = 900
_COPY_SOURCE = "x-oss-copy-source"
LARGEST_COPY = 1024**3  # of CopyObject; larger ones are copied in parts


@dataclass
class ObjectStorage:
    """The state of a fake service.

    Attributes:
        secrets: Access key id → secret.
        token: Security token that every request has to carry; empty: none.
        buckets: Name → bucket.
        clock_seconds: How far the service's clock is ahead of this machine's.
        requests: Method, bucket, key and query of every request, for tests to look at.
    """

    secrets: dict[str, str] = field(default_factory=lambda: {"key-id": "key-secret"})
    token: str = ""
    buckets: dict[str, FakeBucket] = field(default_factory=dict)
    clock_seconds: float = 0.0
    requests: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)

    def make_bucket(self, name: str, **settings) -> FakeBucket:
        self.buckets[name] = FakeBucket(name, **settings)
        return self.buckets[name]

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Address of the service while it runs."""
        handler = type("OssHandler", (_Handler,), {"storage": self})
        with serving(handler) as address:
            yield address


class _Handler(QuietHandler):
    storage: ObjectStorage
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _answer(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        bucket, _, key = unquote(address.path)[1:].partition("/")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.storage.lock:
            self.storage.requests.append((self.command, bucket, key, query))
            try:
                self._require_welcome(bucket, key, query, body)
                self._route(self._find_bucket(bucket), key, query, body)
            except Refused as refusal:
                self._refuse(refusal)

    def _require_welcome(self, bucket: str, key: str, query: Mapping[str, str], body: bytes):
        SignedRequest(self.command, bucket, key, query, self.headers.items()).require_valid(
            self.storage.secrets
        )
        if self.storage.token and self.headers.get("x-oss-security-token") != self.storage.token:
            raise Refused(403, "SecurityTokenExpired", "The security token has expired.")
        said = self.headers.get("x-oss-date")
        when = (
            datetime.strptime(said, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
            if said
            else parsedate_to_datetime(self.headers["Date"])
        )
        if abs(time.time() + self.storage.clock_seconds - when.timestamp()) > _LARGEST_SKEW_SECONDS:
            raise Refused(
                403, "RequestTimeTooSkewed", "The difference between the clocks is too large."
            )
        digest = self.headers.get("Content-MD5")
        if digest and base64.b64decode(digest).hex().upper() != md5(body):
            raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")

    def _find_bucket(self, name: str) -> FakeBucket:
        if name not in self.storage.buckets:
            raise Refused(
                404, "NoSuchBucket", "The specified bucket does not exist.", BucketName=name
            )
        bucket = self.storage.buckets[name]
        if bucket.endpoint:
            raise Refused(
                403,
                "AccessDenied",
                "The bucket you are attempting to access must be addressed using the specified "
                "endpoint. Please send all future requests to this endpoint.",
                Endpoint=bucket.endpoint,
            )
        return bucket

    def _route(self, bucket: FakeBucket, key: str, query: dict[str, str], body: bytes) -> None:  # noqa: C901  a table
        match (self.command, bool(key), set(query)):
            case ("GET", False, _) if query.get("list-type") == "2":
                self._send(200, render_listing(bucket, query))
            case ("GET", False, _) if "uploads" in query:
                self._send(200, render_uploads(bucket, query))
            case ("POST", False, _) if "delete" in query:
                self._delete_some(bucket, body, query)
            case ("POST", True, _) if "uploads" in query:
                self._begin(bucket, key, query)
            case ("PUT", True, _) if "uploadId" in query:
                self._take_part(bucket, query, body)
            case ("GET", True, _) if "uploadId" in query:
                self._send(200, render_parts(bucket, query["uploadId"], query))
            case ("POST", True, _) if "uploadId" in query:
                self._complete(bucket, key, query, body)
            case ("DELETE", True, _) if "uploadId" in query:
                bucket.upload(query["uploadId"])
                del bucket.uploads[query["uploadId"]]
                self._send(204)
            case ("DELETE", True, parameters) if not parameters:
                bucket.objects.pop(key, None)
                self._send(204)
            case ("PUT", True, parameters) if not parameters:
                self._put(bucket, key, body)
            case ("GET" | "HEAD", True, parameters) if not parameters:
                self._get(bucket.get(key))
            case _:
                raise Refused(501, "NotImplemented", f"{self.command} {self.path}")

    def _put(self, bucket: FakeBucket, key: str, body: bytes) -> None:
        if _COPY_SOURCE in self.headers:
            self._copy(bucket, key)
            return
        acl = self.headers.get("x-oss-object-acl", "default")
        item = StoredObject(body, f'"{md5(body)}"', "Normal", self._metadata(), acl=acl)
        bucket.put(key, item, may_replace=self._may_replace())
        self._send(200, headers={"ETag": item.etag, "x-oss-hash-crc64ecma": item.crc})

    def _copy(self, bucket: FakeBucket, key: str) -> None:
        original = self._copied()
        if len(original.content) > LARGEST_COPY:
            raise Refused(400, "InvalidArgument", "The source object is too large for CopyObject.")
        item = StoredObject(
            original.content, f'"{md5(original.content)}"', "Normal", original.metadata
        )
        bucket.put(key, item, may_replace=self._may_replace())
        self._send(
            200,
            f"{XML}<CopyObjectResult><ETag>{escape(item.etag)}</ETag></CopyObjectResult>",
            headers={"ETag": item.etag},
        )

    def _copied_span(self) -> bytes:
        content = self._copied().content
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["x-oss-copy-source-range"])
        if match is None or int(match[2]) >= len(content):
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
        return content[int(match[1]) : int(match[2]) + 1]

    def _copied(self) -> StoredObject:
        """The object that a copy is taken of, if it is as the request demands."""
        name, _, key = unquote(self.headers[_COPY_SOURCE])[1:].partition("/")
        original = self._find_bucket(name).get(key)
        wanted = self.headers.get("x-oss-copy-source-if-match", original.etag)
        if wanted.strip('"') != original.etag.strip('"'):
            raise Refused(412, "PreconditionFailed", "The source object has changed.")
        return original

    def _get(self, item: StoredObject) -> None:
        headers = {
            "ETag": item.etag,
            "Last-Modified": formatdate(item.modified, usegmt=True),
            "x-oss-hash-crc64ecma": item.crc,
            "x-oss-object-type": item.kind,
            **item.metadata,
        }
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            self._send(200, item.content, headers=headers)
            return
        first, size = int(match[1]), len(item.content)
        if first >= size:
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
        last = min(int(match[2] or size), size - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._send(206, item.content[first : last + 1], headers=headers)

    def _delete_some(self, bucket: FakeBucket, body: bytes, query: dict[str, str]) -> None:
        keys = [element.text or "" for element in _parse(body).iter("Key")]
        for key in map(unquote, keys):
            bucket.objects.pop(key, None)
        deleted = "".join(
            f"<Deleted><Key>{encode(unquote(key), query)}</Key></Deleted>" for key in keys
        )
        kind = query.get("encoding-type", "")
        self._send(
            200, f"{XML}<DeleteResult><EncodingType>{kind}</EncodingType>{deleted}</DeleteResult>"
        )

    def _begin(self, bucket: FakeBucket, key: str, query: dict[str, str]) -> None:
        upload_id = bucket.begin(key, self._metadata())
        self._send(
            200,
            f"{XML}<InitiateMultipartUploadResult><Bucket>{bucket.name}</Bucket>"
            f"<Key>{encode(key, query)}</Key><UploadId>{upload_id}</UploadId>"
            "</InitiateMultipartUploadResult>",
        )

    def _take_part(self, bucket: FakeBucket, query: dict[str, str], body: bytes) -> None:
        body = self._copied_span() if _COPY_SOURCE in self.headers else body
        etag = md5(body)
        bucket.upload(query["uploadId"]).parts[int(query["partNumber"])] = (body, etag)
        headers = {"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": str(crc64(body))}
        self._send(200, headers=headers)

    def _complete(self, bucket: FakeBucket, key: str, query: dict[str, str], body: bytes) -> None:
        parts = [
            (int(part.findtext("PartNumber", "0")), part.findtext("ETag", ""))
            for part in _parse(body).iter("Part")
        ]
        item = bucket.complete(query["uploadId"], parts, may_replace=self._may_replace())
        self._send(
            200,
            f"{XML}<CompleteMultipartUploadResult><Bucket>{bucket.name}</Bucket>"
            f"<Key>{quote(key, safe='')}</Key><ETag>{escape(item.etag)}</ETag>"
            "</CompleteMultipartUploadResult>",
            headers={"x-oss-hash-crc64ecma": item.crc},
        )

    def _metadata(self) -> dict[str, str]:
        return {
            name.lower(): value
            for name, value in self.headers.items()
            if name.lower().startswith("x-oss-meta-")
        }

    def _may_replace(self) -> bool:
        return self.headers.get("x-oss-forbid-overwrite", "").lower() != "true"

    def _refuse(self, refusal: Refused) -> None:
        details = "".join(
            f"<{name}>{escape(value)}</{name}>" for name, value in refusal.details.items()
        )
        document = (
            f"{XML}<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
            f"<RequestId>{uuid.uuid4().hex[:24].upper()}</RequestId>{details}</Error>"
        )
        headers = {}
        if self.command == "HEAD":  # has no body: the service says it in a header
            headers["x-oss-err"] = base64.b64encode(document.encode()).decode()
        self._send(refusal.status, document, headers=headers)

    def _send(
        self,
        status: int,
        body: bytes | str = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("x-oss-request-id", uuid.uuid4().hex[:24].upper())
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _parse(body: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(body)  # noqa: S314  written by the test's own client
