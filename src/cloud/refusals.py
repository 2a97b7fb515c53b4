"""What Alibaba Cloud's error codes mean: for a person one sentence, for the controller one kind.

Codes as the service documents and sends them; several mean the same thing, and the same code comes
from different calls. Unknown codes are quoted, without credentials.
"""

from __future__ import annotations

from typing import Literal

from aliyunsdkcore.acs_exception.exceptions import ClientException, ServerException

from src.errors import CloudError, LinguaBridgeError
from src.retry import is_temporary

Kind = Literal["stock", "price", "account", "retry", "gone", "other"]
KEY_ID_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_ID"
KEY_SECRET_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_SECRET"  # noqa: S105 - a name, not a secret
UNREACHABLE = "SDK.HttpError"
_LONGEST_QUOTE = 200

# This zone cannot give this type now; another can. Also said of spot capacity alone.
_STOCK = {
    "OperationDenied.NoStock",
    "NoInstanceStock",
    "Zone.NotOnSale",
    "Zone.NotOpen",
    "InvalidInstanceType.ZoneNotSupported",
    "InvalidInstanceType.ValueNotSupported",
    "InvalidInstanceType.NotSupported",
    "InvalidResourceType.NotSupported",
    "OperationDenied.ZoneNotAllowed",
    "ResourceNotAvailable",
    "InvalidVpcZone.NotSupported",
}
_GONE = {"InvalidInstanceId.NotFound", "InvalidInstanceId.Released", "InvalidDiskId.NotFound"}
_PRICE = {"InvalidSpotPriceLimit", "InvalidSpotPriceLimit.LowerThanPublicPrice"}
_RETRY = {
    "ServiceUnavailable",
    "InternalError",
    "OperationConflict",
    "LastTokenProcessing",
    "IncorrectInstanceStatus.Initializing",
    "IncorrectVpcStatus",
    "IncorrectVSwitchStatus",
    "TaskConflict",
    UNREACHABLE,
}

_WRONG_CLOCK = (
    "Alibaba Cloud refuses the time of the request: this machine's clock is 15 minutes off or more",
    "set the clock: timedatectl set-ntp true",
)
_QUOTA = (
    "the account's quota for these instances is used up",
    "raise it at https://quotas.console.aliyun.com, or release other instances",
)
_MONEY = (
    "the account has no credit left",
    "top it up; pay-as-you-go on the China site wants a balance of 100 CNY or more",
)
_SPOT_RIGHT = (
    "this account may not rent spot instances",
    "finish its real-name verification, or ask Alibaba Cloud to open spot instances for it",
)
_MEANINGS: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId.NotFound": (
        "Alibaba Cloud does not know this access key",
        f"check {KEY_ID_VARIABLE} against the list of keys in the RAM console",
    ),
    "InvalidAccessKeyId.Inactive": (
        "this access key is disabled",
        "enable it in the RAM console, or use another one",
    ),
    "InvalidAccessKeySecret": (
        "the secret does not belong to this access key",
        f"set {KEY_SECRET_VARIABLE} to the secret that was shown when the key was made",
    ),
    "SignatureDoesNotMatch": (
        "the signature is wrong although it was made as Alibaba Cloud demands",
        f"set {KEY_SECRET_VARIABLE} anew; if that changes nothing, a proxy alters the requests",
    ),
    "InvalidSecurityToken.Expired": (
        "the temporary credentials have expired",
        "fetch new ones, or use an access key",
    ),
    "IllegalTimestamp": _WRONG_CLOCK,
    "InvalidTimeStamp.Expired": _WRONG_CLOCK,
    "Forbidden.RAM": (
        "this access key may not do this in ECS",
        "grant its RAM user AliyunECSReadOnlyAccess to look around, and AliyunECSFullAccess and "
        "AliyunVPCFullAccess to rent",
    ),
    "QuotaExceed.ElasticQuota": _QUOTA,
    "QuotaExceed.AfterpayInstance": _QUOTA,
    "QuotaExceeded": _QUOTA,
    "InvalidSpotAuthorized": _SPOT_RIGHT,
    "InvalidSpotAliUid": _SPOT_RIGHT,
    "InvalidAccountStatus.NotEnoughBalance": _MONEY,
    "InsufficientBalance": _MONEY,
    "Account.Arrearage": _MONEY,
    "InvalidImageId.NotFound": (
        "there is no such image in this region",
        "set cloud.image to an image family (acs:…) or to an id that the region has",
    ),
    "InvalidImageFamily.NotFound": (
        "there is no such image family in this region",
        "set cloud.image to one that `Images` in the ECS console lists",
    ),
    "InvalidKeyPairName.NotFound": (
        "there is no such key pair in this region",
        "import it there, or set cloud.key_pair=null",
    ),
    "InvalidRamRole.NotFound": (
        "there is no such RAM role",
        "make it in the RAM console, trusted by ECS, and set cloud.ram_role to its name",
    ),
    "InvalidRamRole.NotEcsRole": (
        "this RAM role is not for ECS instances",
        "make one whose trusted service is ECS, and set cloud.ram_role to its name",
    ),
    "InvalidSecurityGroupId.NotFound": (
        "there is no such security group in this region",
        "correct cloud.networks, or leave it out",
    ),
    "InvalidVSwitchId.NotFound": (
        "there is no such vSwitch in this region",
        "correct cloud.networks, or leave it out",
    ),
    "InvalidRegionId.NotFound": (
        "there is no such region",
        "correct cloud.regions; `spot.py prices` without it lists those of the account",
    ),
    "InvalidInstanceType.NotFound": (
        "there is no such instance type",
        "correct cloud.instance_types; src/planning/instances.yaml lists those with GPUs",
    ),
    "InvalidSpotPriceLimit.LowerThanPublicPrice": (
        "cloud.price_limit is below the market price in this zone",
        "raise it, set it to null for the market price, or wait",
    ),
    "InvalidSpotPriceLimit": (
        "the price limit is not a price that Alibaba Cloud accepts",
        "give cloud.price_limit at most three decimals, and less than the on-demand price",
    ),
    "InvalidUserData.SizeExceeded": (
        "the start script of the instance is too long",
        "this is a fault of the program; please report it",
    ),
}


def kind_of(code: str) -> Kind:
    """What to do about a code: look elsewhere, pay more, ask a person, try again, or be content."""
    if code in _STOCK:
        return "stock"
    if code in _PRICE:
        return "price"
    if code in _RETRY or code.startswith(("Throttling", "DependencyViolation")):
        return "retry"
    if code in _GONE:
        return "gone"
    if code in _MEANINGS:
        return "account"
    return "other"


def may_pass(error: LinguaBridgeError) -> bool:
    """Whether an error of the cloud, or of the bucket, may be gone at the next attempt."""
    if isinstance(error, CloudError):
        return kind_of(error.code) == "retry"
    return is_temporary(error)


def explain(
    error: ClientException | ServerException, *, service: str, secrets: tuple[str, ...]
) -> CloudError:
    """The sentence for an SDK error.

    Args:
        error: As the SDK raised it; its text may quote the signed request.
        service: What was asked, e.g. "ECS service in cn-hangzhou".
        secrets: What must not be shown; either half of a key may have been echoed when swapped.
    """
    code = str(error.error_code)
    if code == UNREACHABLE:
        return CloudError(
            f"Alibaba Cloud's {service} cannot be reached",
            "check the network, and HTTPS_PROXY and NO_PROXY if you use them",
            code,
        )
    if code in _MEANINGS:
        return CloudError(*_MEANINGS[code], code)
    if code.startswith("DependencyViolation"):
        return CloudError(
            "something that is not of this run uses its network",
            "remove that first, then run `spot.py down` again",
            code,
        )
    quote = " ".join(f"{code}: {error.message}".split())
    for part in secrets:
        quote = quote.replace(part, "***") if part else quote
    return CloudError(
        f"Alibaba Cloud refuses: {quote[:_LONGEST_QUOTE]}",
        "look the code up at https://api.aliyun.com/troubleshoot",
        code,
    )
