"""What OSS's errors mean, in one sentence each; never a word of the request itself."""

from __future__ import annotations

import re

import oss2

from src.checkpoint.stores.bucket import ObjectExists, ObjectMissing
from src.errors import StoreError

_SERVER_FAULTS = frozenset(range(500, 600)) - {501}  # what is not implemented stays so
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_LONGEST_QUOTE = 160
_CLOCK = (
    "OSS refuses the time of the request: this machine's clock is 15 minutes off or more",
    "set the clock: timedatectl set-ntp true",
)
_EXPIRED = (
    "OSS refuses the security token: it has expired, or belongs to another key",
    "set a new key and token in the environment and start again",
)
# Error code → what happened, what to do; {bucket} and {endpoint} are filled in.
_MEANINGS: dict[str, tuple[str, str]] = {
    "NoSuchBucket": (
        "there is no bucket {bucket} at {endpoint}",
        "make it, or correct the address",
    ),
    "InvalidAccessKeyId": (
        "OSS does not know this access key",
        "check the access key in the environment against the list of keys in the RAM console",
    ),
    "SignatureDoesNotMatch": (
        "the secret does not belong to this access key",
        "set the secret that was shown when the key was made",
    ),
    "UserDisable": ("this account is disabled or in arrears", "settle it in the console"),
    "SecurityTokenExpired": _EXPIRED,
    "InvalidSecurityToken": _EXPIRED,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "InvalidBucketName": ("{bucket!r} cannot be the name of a bucket", "correct the address"),
}
# These pass by themselves; a wrong digest means that bytes were changed on their way.
_TEMPORARY = {"InvalidDigest", "RequestTimeout", "NoSuchUpload", "IncompleteBody", "InvalidPart"}


def explain(error: Exception, bucket: str, endpoint: str) -> Exception:  # noqa: PLR0911  a table with conditions
    """The project's error for one of the SDK's."""
    if isinstance(error, oss2.exceptions.InconsistentError):
        return _temporary(f"bytes on their way to or from bucket {bucket} were damaged")
    if not isinstance(error, oss2.exceptions.ServerError):
        return _temporary(f"OSS at {endpoint} cannot be reached")
    code = str(error.code or "")
    if code == "FileAlreadyExists":
        return ObjectExists(bucket)
    if code in _MEANINGS:
        reason, remedy = _MEANINGS[code]
        names = {"bucket": bucket, "endpoint": endpoint}
        return StoreError(reason.format(**names), remedy)
    if code == "NoSuchKey" or (error.status == _NOT_FOUND and not code):
        return ObjectMissing(bucket)
    if (
        error.status in _SERVER_FAULTS
        or error.status == _TOO_MANY_REQUESTS
        or code in _TEMPORARY
        or code.endswith("LimitExceeded")
    ):
        return _temporary(f"OSS is busy or failing ({error.status} {code or 'without a code'})")
    if code == "AccessDenied":
        return _explain_denial(error, bucket, endpoint)
    return StoreError(
        f"OSS refuses a request to bucket {bucket}: {error.status} {code[:_LONGEST_QUOTE]}",
        "look the code up at https://api.aliyun.com/troubleshoot",
    )


def _explain_denial(error: oss2.exceptions.ServerError, bucket: str, endpoint: str) -> StoreError:
    right_place = str(error.details.get("Endpoint") or "")
    if "specified endpoint" in str(error.message):
        place = f" but at {right_place}" if re.fullmatch(r"[a-z0-9.-]+", right_place) else ""
        return StoreError(
            f"bucket {bucket} is not at {endpoint}{place}: it is in another region",
            f"set OSS_ENDPOINT to {right_place or 'the one the console shows for the bucket'}",
        )
    return StoreError(
        f"this access key may not do that in bucket {bucket}",
        "grant it oss:GetObject, PutObject, DeleteObject, ListObjects, ListParts, "
        "AbortMultipartUpload and ListMultipartUploads there",
    )


def _temporary(reason: str) -> StoreError:
    return StoreError(
        reason, "check the network if this lasts, and HTTPS_PROXY if you use it", is_temporary=True
    )
