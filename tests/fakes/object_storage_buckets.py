"""What a fake OSS keeps: buckets with objects, and uploads whose parts nobody sees yet."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from dataclasses import dataclass, field
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

import crcmod

crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF, rev=True)
XML = '<?xml version="1.0" encoding="UTF-8"?>'
SMALLEST_PART = 100 * 1024


class Refused(Exception):
    """An error answer of the service."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.details = status, code, message, details


@dataclass(frozen=True)
class StoredObject:
    """An object: its bytes, its ETag in quotes, its metadata headers, and who may read it."""

    content: bytes
    etag: str
    kind: str
    metadata: dict[str, str]
    modified: float = field(default_factory=time.time)
    acl: str = "default"

    @property
    def crc(self) -> str:
        return str(crc64(self.content))


@dataclass
class Upload:
    """A begun upload: part number → content and ETag."""

    key: str
    metadata: dict[str, str]
    begun: float = field(default_factory=time.time)
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


@dataclass
class FakeBucket:
    """One bucket.

    Attributes:
        endpoint: The only one it may be addressed by; empty: any.
        keeps_versions: Then the header against overwriting is ignored, as the service does.
    """

    name: str
    endpoint: str = ""
    keeps_versions: bool = False
    objects: dict[str, StoredObject] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def put(self, key: str, item: StoredObject, *, may_replace: bool) -> StoredObject:
        if key in self.objects and not may_replace and not self.keeps_versions:
            raise Refused(
                409,
                "FileAlreadyExists",
                "The object you specified already exists and can not be overwritten.",
            )
        self.objects[key] = item
        return item

    def get(self, key: str) -> StoredObject:
        if key not in self.objects:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=key)
        return self.objects[key]

    def begin(self, key: str, metadata: dict[str, str]) -> str:
        upload_id = uuid.uuid4().hex.upper()
        self.uploads[upload_id] = Upload(key, metadata)
        return upload_id

    def upload(self, upload_id: str) -> Upload:
        if upload_id not in self.uploads:
            raise Refused(
                404, "NoSuchUpload", "The specified upload does not exist.", UploadId=upload_id
            )
        return self.uploads[upload_id]

    def complete(
        self, upload_id: str, wanted: list[tuple[int, str]], *, may_replace: bool
    ) -> StoredObject:
        upload = self.upload(upload_id)
        numbers = [number for number, _ in wanted]
        if numbers != sorted(numbers):
            raise Refused(400, "InvalidPartOrder", "The parts are not in ascending order.")
        for number, etag in wanted:
            if number not in upload.parts or upload.parts[number][1] != etag.strip('"').upper():
                raise Refused(400, "InvalidPart", "A part could not be found, or differs.")
        for number in numbers[:-1]:
            if len(upload.parts[number][0]) < SMALLEST_PART:
                raise Refused(400, "EntityTooSmall", "A part is smaller than allowed.")
        content = b"".join(upload.parts[number][0] for number in numbers)
        digests = b"".join(bytes.fromhex(upload.parts[number][1]) for number in numbers)
        etag = f'"{md5(digests)}-{len(numbers)}"'
        item = StoredObject(content, etag, "Multipart", upload.metadata)
        self.put(upload.key, item, may_replace=may_replace)
        del self.uploads[upload_id]
        return item


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest().upper()


def iso_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def render_listing(bucket: FakeBucket, query: dict[str, str]) -> str:
    """A page of ListObjectsV2, without delimiter: nothing here asks for one."""
    prefix, limit = query.get("prefix", ""), int(query.get("max-keys", "100"))
    token = query.get("continuation-token", "")
    after = unquote(base64.b64decode(token).decode()) if token else query.get("start-after", "")
    keys = [key for key in sorted(bucket.objects) if key.startswith(prefix) and key > after]
    page, is_truncated = keys[:limit], len(keys) > limit
    following = base64.b64encode(quote(page[-1]).encode()).decode() if is_truncated else ""
    contents = "".join(
        f"<Contents><Key>{encode(key, query)}</Key>"
        f"<LastModified>{iso_time(bucket.objects[key].modified)}</LastModified>"
        f"<ETag>{escape(bucket.objects[key].etag)}</ETag><Type>{bucket.objects[key].kind}</Type>"
        f"<Size>{len(bucket.objects[key].content)}</Size><StorageClass>Standard</StorageClass>"
        "</Contents>"
        for key in page
    )
    return (
        f"{XML}<ListBucketResult><Name>{bucket.name}</Name><Prefix>{encode(prefix, query)}</Prefix>"
        f"<MaxKeys>{limit}</MaxKeys><EncodingType>{query.get('encoding-type', '')}</EncodingType>"
        f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
        f"<NextContinuationToken>{following}</NextContinuationToken>{contents}"
        f"<KeyCount>{len(page)}</KeyCount></ListBucketResult>"
    )


def render_uploads(bucket: FakeBucket, query: dict[str, str]) -> str:
    """All begun uploads below a prefix, on one page."""
    uploads = "".join(
        f"<Upload><Key>{encode(upload.key, query)}</Key><UploadId>{upload_id}</UploadId>"
        f"<Initiated>{iso_time(upload.begun)}</Initiated></Upload>"
        for upload_id, upload in bucket.uploads.items()
        if upload.key.startswith(query.get("prefix", ""))
    )
    return (
        f"{XML}<ListMultipartUploadsResult><Bucket>{bucket.name}</Bucket>"
        f"<EncodingType>{query.get('encoding-type', '')}</EncodingType><KeyMarker/>"
        "<UploadIdMarker/><NextKeyMarker/><NextUploadIdMarker/><MaxUploads>1000</MaxUploads>"
        f"<IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
    )


def render_parts(bucket: FakeBucket, upload_id: str, query: dict[str, str]) -> str:
    """The parts of an upload, on pages of `max-parts`."""
    upload = bucket.upload(upload_id)
    marker, limit = int(query.get("part-number-marker") or 0), int(query.get("max-parts", "1000"))
    numbers = [number for number in sorted(upload.parts) if number > marker]
    page = numbers[:limit]
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber>"
        f"<LastModified>{iso_time(upload.begun)}</LastModified>"
        f"<ETag>&quot;{upload.parts[number][1]}&quot;</ETag>"
        f"<Size>{len(upload.parts[number][0])}</Size>"
        f"<HashCrc64ecma>{crc64(upload.parts[number][0])}</HashCrc64ecma></Part>"
        for number in page
    )
    return (
        f"{XML}<ListPartsResult><Bucket>{bucket.name}</Bucket>"
        f"<Key>{encode(upload.key, query)}</Key><UploadId>{upload_id}</UploadId>"
        f"<NextPartNumberMarker>{page[-1] if page else 0}</NextPartNumberMarker>"
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(len(numbers) > limit).lower()}"
        f"</IsTruncated>{parts}</ListPartsResult>"
    )


def encode(key: str, query: dict[str, str]) -> str:
    return quote(key, safe="") if query.get("encoding-type") == "url" else escape(key)
