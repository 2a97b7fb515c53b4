"""Checks the two signatures of OSS, written from the service's description, not from its SDK."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from tests.fakes.object_storage_buckets import Refused

# Query parameters that version 1 signs.
_SIGNED_PARAMETERS = {
    "acl",
    "bucketInfo",
    "continuation-token",
    "delete",
    "partNumber",
    "uploadId",
    "uploads",
    "versioning",
}


class SignedRequest:
    """What goes into a signature; header names in lower case."""

    def __init__(
        self,
        method: str,
        bucket: str,
        key: str,
        query: Mapping[str, str],
        headers: Iterable[tuple[str, str]],
    ) -> None:
        self.method, self.bucket, self.key, self.query = method, bucket, key, query
        self.headers = {name.lower(): value.strip() for name, value in headers}

    def require_valid(self, secrets: Mapping[str, str]) -> None:
        """Raises Refused unless one of the secrets has signed this request."""
        text = self.headers.get("authorization", "")
        if text.startswith("OSS4-HMAC-SHA256 "):
            parts = (item.strip().split("=", 1) for item in text.split(" ", 1)[1].split(","))
            fields = dict(parts)
            key_id = fields["Credential"].split("/")[0]
            given, compute = fields["Signature"], lambda secret: self._version_4(secret, fields)
        elif match := re.fullmatch(r"OSS ([^:]+):(.+)", text):
            key_id, given, compute = match[1], match[2], self._version_1
        else:
            raise Refused(403, "AccessDenied", "You have no right to access this object.")
        if key_id not in secrets:
            raise Refused(
                403,
                "InvalidAccessKeyId",
                "The OSS Access Key Id you provided does not exist in our records.",
                OSSAccessKeyId=key_id,
            )
        expected, signed = compute(secrets[key_id])
        if not hmac.compare_digest(expected, given):
            raise Refused(
                403,
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.",
                StringToSign=signed,
                SignatureProvided=given,
                OSSAccessKeyId=key_id,
            )

    def _version_1(self, secret: str) -> tuple[str, str]:
        names = sorted(name for name in self.headers if name.startswith("x-oss-"))
        parameters = "&".join(
            f"{name}={value}" if value else name
            for name, value in sorted(self.query.items())
            if name in _SIGNED_PARAMETERS
        )
        resource = f"/{self.bucket}/{self.key}" + (f"?{parameters}" if parameters else "")
        signed = "\n".join(
            [
                self.method,
                self.headers.get("content-md5", ""),
                self.headers.get("content-type", ""),
                self.headers.get("date", ""),
                *(f"{name}:{self.headers[name]}" for name in names),
                resource,
            ]
        )
        digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha1).digest()
        return base64.b64encode(digest).decode(), signed

    def _version_4(self, secret: str, fields: Mapping[str, str]) -> tuple[str, str]:
        _, date, region, product, ending = fields["Credential"].split("/")
        additional = [name for name in fields.get("AdditionalHeaders", "").split(";") if name]
        names = sorted(
            name
            for name in self.headers
            if name.startswith("x-oss-")
            or name in ("content-type", "content-md5")
            or name in additional
        )
        canonical = "\n".join(
            [
                self.method,
                quote(f"/{self.bucket}/{self.key}", safe="/-_.~"),
                "&".join(
                    _escape(name) + (f"={_escape(value)}" if value else "")
                    for name, value in sorted(self.query.items())
                ),
                "".join(f"{name}:{self.headers[name]}\n" for name in names),
                ";".join(additional),
                self.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
            ]
        )
        signed = "\n".join(
            [
                "OSS4-HMAC-SHA256",
                self.headers.get("x-oss-date", ""),
                f"{date}/{region}/{product}/{ending}",
                hashlib.sha256(canonical.encode()).hexdigest(),
            ]
        )
        key = f"aliyun_v4{secret}".encode()
        for part in (date, region, product, ending):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest(), signed


def _escape(text: str) -> str:
    return quote(text, safe="-_.~")
