"""What the Hub's errors mean, in one sentence each; never a word of the request itself."""

from __future__ import annotations

from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from src.checkpoint.stores.bucket import ObjectMissing
from src.errors import StoreError

_SERVER_FAULT = 500
_TOKEN = "set HF_TOKEN to one with write access, see https://huggingface.co/settings/tokens"  # noqa: S105
_MEANINGS: dict[int, tuple[str, str]] = {
    401: ("the Hub does not accept the token for {store}, or there is none", _TOKEN),
    403: ("this token may not do that in {store}", _TOKEN),
    404: ("there is no model repository {store}, or this token may not see it", _TOKEN),
}
# What passes by itself, and what to say of it.
_TEMPORARY: dict[int, str] = {
    408: "the Hub took too long",
    409: "somebody else has just committed to {store}",
    412: "somebody else has just committed to {store}",
    429: "the Hub allows no more commits to {store} for now (128 an hour)",
}


def explain(error: Exception, store: str) -> Exception:  # noqa: PLR0911  a table with conditions
    """The project's error for one of the library's."""
    if isinstance(error, EntryNotFoundError):
        return ObjectMissing(store)
    if isinstance(error, HFValidationError):
        return StoreError(
            f"{store} cannot be a model repository: USER/MODEL has letters, digits, '-', '_' and "
            "'.', neither doubled nor at the ends of a name",
            "correct the address of the store",
        )
    if isinstance(error, OfflineModeIsEnabled):
        return StoreError(
            f"{store} cannot be used while HF_HUB_OFFLINE is set", "unset it, or use another store"
        )
    response = getattr(error, "response", None)
    status = 0 if response is None else int(response.status_code)
    if isinstance(error, RepositoryNotFoundError) and status not in _MEANINGS:
        status = 404
    if status in _MEANINGS:
        reason, remedy = _MEANINGS[status]
        return StoreError(reason.format(store=store), remedy)
    if status in _TEMPORARY:
        return _temporary(_TEMPORARY[status].format(store=store))
    if not status:
        return _temporary(f"the Hub cannot be reached for {store}")
    if status >= _SERVER_FAULT:
        return _temporary(f"the Hub is busy or failing ({status})")
    return StoreError(
        f"the Hub refuses a request to {store}: {status}", "see https://status.huggingface.co"
    )


def _temporary(reason: str) -> StoreError:
    return StoreError(
        reason,
        "check the network if this lasts; a mirror in HF_ENDPOINT can be read only",
        is_temporary=True,
    )
