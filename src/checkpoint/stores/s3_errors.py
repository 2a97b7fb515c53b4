"""What S3's errors mean, in one sentence each; never a word of the request itself."""

from __future__ import annotations

from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from src.checkpoint.stores.bucket import ObjectExists, ObjectMissing
from src.errors import StoreError

FAULTS = (OSError, BotoCoreError, ClientError, HttpError)

_SERVER_FAULTS = frozenset(range(500, 600)) - {501}  # what is not implemented stays so
_CREDENTIALS = (
    "s3:// needs an access key",
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or attach a role to this machine",
)
_REGION = (
    "bucket {bucket} is in another region than the one asked",
    "set AWS_DEFAULT_REGION to the bucket's region, or write s3://{bucket}/…?region=REGION",
)
_EXPIRED = (
    "S3 refuses the session token: it has expired, or belongs to another key",
    "set a new key and token in the environment and start again",
)
# What botocore refuses by itself → what happened, what to do.
_BEFORE_ASKING: dict[type[BotoCoreError], tuple[str, str]] = {
    NoCredentialsError: _CREDENTIALS,
    PartialCredentialsError: _CREDENTIALS,
    NoRegionError: _REGION,
    ParamValidationError: (
        "{bucket!r} cannot be the name of a bucket, which has 3 to 63 lower-case letters, digits "
        "and hyphens",
        "correct the address of the store",
    ),
    ProfileNotFound: (
        "AWS_PROFILE names a profile that ~/.aws/config does not hold",
        "correct AWS_PROFILE, or unset it",
    ),
}
# Error code → what happened, what to do.
_MEANINGS: dict[str, tuple[str, str]] = {
    "NoSuchBucket": ("there is no bucket {bucket}", "make it, or correct the address"),
    "InvalidAccessKeyId": (
        "S3 does not know this access key",
        "check AWS_ACCESS_KEY_ID",
    ),
    "SignatureDoesNotMatch": (
        "the secret does not belong to this access key",
        "set AWS_SECRET_ACCESS_KEY to the secret that was shown when the key was made",
    ),
    "AccessDenied": (
        "this access key may not do that in bucket {bucket}",
        "grant it s3:GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload, "
        "ListMultipartUploadParts and ListBucketMultipartUploads there",
    ),
    "ExpiredToken": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "RequestTimeTooSkewed": (
        "S3 refuses the time of the request: this machine's clock is 15 minutes off or more",
        "set the clock: timedatectl set-ntp true",
    ),
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
}
_MISSING = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
_EXISTS = {"PreconditionFailed", "412"}
# These pass by themselves; a wrong digest means that bytes were changed on their way.
_TEMPORARY = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "InvalidDigest",
    "InvalidPart",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "429",
}


def explain(error: BaseException, bucket: str) -> Exception:  # noqa: PLR0911  a table with conditions
    """The project's error for one of s3fs's, which wraps botocore's."""
    cause = error.__cause__ or error
    for kind, words in _BEFORE_ASKING.items():
        if isinstance(cause, kind):
            return StoreError(*(part.format(bucket=bucket) for part in words))
    if not isinstance(cause, ClientError):
        return _temporary(f"the S3 service of bucket {bucket} cannot be reached")
    code = str(cause.response.get("Error", {}).get("Code", ""))
    status = int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _EXISTS:
        return ObjectExists(bucket)
    if code in _MISSING:
        return ObjectMissing(bucket)
    if code in _TEMPORARY or status in _SERVER_FAULTS:
        return _temporary(f"S3 is busy or failing ({status} {code})")
    if code in _MEANINGS:
        reason, remedy = (part.format(bucket=bucket) for part in _MEANINGS[code])
        return StoreError(reason, remedy)
    return StoreError(
        f"S3 refuses a request to bucket {bucket}: {status} {code}",
        "look the code up in the list of S3 error responses",
    )


def _temporary(reason: str) -> StoreError:
    return StoreError(
        reason, "check the network if this lasts, and HTTPS_PROXY if you use it", is_temporary=True
    )
