"""Exported folders on the Hugging Face hub: `hf://user/model` or `hf://user/model@revision`.

The key comes from the environment (`HF_TOKEN`) or from `huggingface-cli login`; `HF_ENDPOINT` names
another hub. One push is one commit, so nobody downloads half a model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from src.errors import ConfigError, StoreError

logger = logging.getLogger(__name__)

SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?"
)


@dataclass(frozen=True)
class HubModel:
    """A model's place on the hub; `revision` is a branch, tag or commit, None the main branch."""

    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.revision}" if self.revision else "")


def parse_address(text: str) -> HubModel:
    """`hf://user/model@revision` as its parts.

    Raises:
        ConfigError: If it is not such an address.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no model on the hub; write it as hf://user/model")
    return HubModel(match["name"], match["revision"])


def push(folder: Path, model: HubModel, *, is_public: bool) -> str:
    """Uploads a folder as one commit, making the repository where there is none.

    Returns:
        The address of the commit.

    Raises:
        StoreError: If the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _one_sentence(f"pushing to {model}"):
        made = api.create_repo(model.name, private=not is_public, exist_ok=True)
        if model.revision is not None:
            api.create_branch(model.name, branch=model.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            revision=model.revision,
            commit_message=f"LinguaBridge: {folder.name}",
        )
    logger.info("pushed %s to %s", folder, model)
    return str(commit.commit_url)


def fetch(model: HubModel, target: Path) -> Path:
    """Downloads a model into a new folder.

    Raises:
        StoreError: If the hub refuses or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    with _one_sentence(f"downloading {model}"):
        snapshot_download(model.name, revision=model.revision, local_dir=target)
    logger.info("downloaded %s to %s", model, target)
    return target


@contextmanager
def _one_sentence(doing: str) -> Iterator[None]:
    """Turns whatever the hub's client raises into one sentence."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from requests.exceptions import RequestException

    unreachable = StoreError(
        f"{doing}: the hub cannot be reached",
        "check the network, or name another hub in HF_ENDPOINT",
        is_temporary=True,
    )
    try:
        yield
    except LocalEntryNotFoundError as error:  # its client's word for no network
        raise unreachable from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise StoreError(
            f"{doing}: the hub answers {status} {error.server_message or ''}".strip(),
            _remedy(status),
        ) from error
    except HFValidationError as error:
        raise ConfigError(f"{doing}: {error}") from error
    except RequestException as error:
        raise unreachable from error


def _remedy(status: int | None) -> str:
    if status in (401, 403):
        return "put a token that may write there into HF_TOKEN"
    if status == 404:  # noqa: PLR2004 - HTTP
        return "check the name; a private model needs a token in HF_TOKEN"
    if status == 429:  # noqa: PLR2004 - HTTP
        return "the hub limits commits to 128 an hour; wait and push again"
    return "try again later"
