"""Milestones in a model repository of the Hugging Face Hub.

A commit there adds a whole folder at once and names the commit it follows, so there is nothing
torn and nothing overwritten unseen. Commits are few (the Hub allows 128 an hour) and every version
stays in the history, so this store keeps what is worth keeping for good: `final`, `best`, and with
`?every=N` the checkpoints at multiples of N steps. A run that must survive its machine needs
another store besides. Files that the Hub has already are not sent again, so an upload that was
killed goes on with the next file.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    configure_http_backend,
    constants,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import get_session, hf_raise_for_status

from src.checkpoint.manifest import MANIFEST_NAME, FileRecord, Manifest, parse_manifest
from src.checkpoint.stores.bucket import ObjectMissing, Report, Tuning
from src.checkpoint.stores.download import download_folder, verify_files
from src.checkpoint.stores.hub_errors import explain
from src.checkpoint.stores.multipart import check_content
from src.checkpoint.stores.store import CHECKPOINT, Fenced, Stored
from src.checkpoint.stores.url import StoreUrl
from src.errors import CheckpointCorrupt, StoreError

_FOLDER = re.compile(r"(?:(checkpoint)-(\d{8,})|(best)|(final))")
_WRITER_FILE = "writer.json"
_CHUNK_BYTES = 1024 * 1024
_UNAUTHORIZED = 401
_RANGE_BEHIND_END = 416
_FAULTS = (requests.RequestException, OfflineModeIsEnabled, HFValidationError)

Result = TypeVar("Result")


class HubStore:
    """Checkpoint folders in a model repository, which is made (private) when something is put.

    Args:
        url: An hf:// address.
        tuning: Patience.
    """

    seconds_between_puts = 600.0

    def __init__(self, url: StoreUrl, tuning: Tuning) -> None:
        self._url = url
        self.address = url.address
        self._tuning = tuning
        self._revision = url.revision or constants.DEFAULT_REVISION
        self._every = int(url.options["every"]) if "every" in url.options else None
        self._token = os.environ.get("HF_TOKEN") or None
        self._api = HfApi(token=self._token)
        self._generation: int | None = None
        disable_progress_bars()  # the log tells
        # The library waits for ever where it is not told how long.
        patience = (tuning.connect_seconds, tuning.read_seconds)
        configure_http_backend(lambda: _patient_session(patience))

    def __str__(self) -> str:
        return str(self._url)

    def claim(self, previous: int | None) -> int:
        """Makes this process the writer; see `Store`."""
        self._try(lambda: self._api.create_repo(self._url.bucket, private=True, exist_ok=True))
        if self._url.revision:
            self._try(
                lambda: self._api.create_branch(
                    self._url.bucket, branch=self._url.revision, exist_ok=True
                )
            )

        def once() -> int:
            head = self._head()
            held = self._holder(head)
            if previous is not None and previous == held:
                return held
            content = {
                "generation": held + 1,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
            operation = CommitOperationAdd(
                self._url.key(_WRITER_FILE), json.dumps(content).encode()
            )
            self._commit([operation], f"writer {held + 1}", head)
            return held + 1

        self._generation = self._try(once)
        return self._generation

    def list(self) -> Sequence[Stored]:
        """The committed folders; none where the repository does not exist yet."""
        folders = self._folders()
        stored, writer = [], self._try(lambda: self._holder(self._revision)) if folders else 0
        for name, files in folders.items():
            match = _FOLDER.fullmatch(name)
            if match and MANIFEST_NAME in files:
                kind = match[1] or match[3] or match[4]
                step = int(match[2]) if match[2] else self._step_of(name)
                stored.append(Stored(writer, step, kind, name))
        return sorted(stored)

    def read_manifest(self, stored: Stored) -> Manifest:
        """What a folder promises."""
        try:
            content = self._try(lambda: b"".join(self._stream(f"{stored.name}/{MANIFEST_NAME}")))
        except ObjectMissing:
            raise CheckpointCorrupt(self._address(stored), f"{MANIFEST_NAME} is missing") from None
        return parse_manifest(self._address(stored), content)

    def verify(self, stored: Stored) -> Manifest:
        """Reads every byte."""
        manifest = self.read_manifest(stored)
        verify_files(
            manifest,
            address=self._address(stored),
            stream=lambda name, start: self._explained_stream(f"{stored.name}/{name}", start),
            retry=self._tuning.retry,
        )
        return manifest

    def fetch(self, stored: Stored, target: Path) -> Manifest:
        """Downloads to `target`, verified on the way."""
        manifest = self.read_manifest(stored)
        download_folder(
            manifest,
            target,
            address=self._address(stored),
            stream=lambda name, start: self._explained_stream(f"{stored.name}/{name}", start),
            retry=self._tuning.retry,
        )
        return manifest

    def wants(self, kind: str, step: int) -> bool:
        """`best`, `final`, and checkpoints of every Nth step where the address says so."""
        return kind != CHECKPOINT or (self._every is not None and step % self._every == 0)

    def put(self, source: Path, kind: str, report: Report) -> Stored:
        """Uploads a whole folder and commits it in one go."""
        content = (source / MANIFEST_NAME).read_bytes()
        manifest = parse_manifest(source, content)
        name = f"{kind}-{manifest.step:08d}" if kind == CHECKPOINT else kind
        stored = Stored(self._generation or 0, manifest.step, kind, name)
        operations: list[Any] = [
            CommitOperationAdd(self._url.key(f"{name}/{MANIFEST_NAME}"), content)
        ]
        for file, expected in manifest.files.items():
            if not (source / file).is_file():  # the library's own error says less
                raise FileNotFoundError(2, "No such file or directory", str(source / file))
            added = CommitOperationAdd(self._url.key(f"{name}/{file}"), str(source / file))
            found = FileRecord(added.upload_info.size, added.upload_info.sha256.hex())
            check_content(source / file, found, expected)
            operations.append(added)

        def once() -> None:
            head = self._head()
            self._require_unfenced(head)
            removed = self._removals(head, stored, manifest)
            self._commit([*operations, *removed], f"{name} at step {manifest.step}", head)

        self._try(once)
        report(manifest.total_bytes)
        return stored

    def rotate(self, *, keep_last: int) -> Sequence[Stored]:  # noqa: ARG002  milestones stay
        """Nothing: what is here is kept for good."""
        return ()

    def delete(self, stored: Stored) -> None:
        """Removes a folder from the newest version; the history keeps it."""

        def once() -> None:
            head = self._head()
            operation = CommitOperationDelete(self._url.key(stored.name) + "/", is_folder=True)
            self._commit([operation], f"delete {stored.name}", head)

        self._try(once)

    def _removals(self, head: str, stored: Stored, manifest: Manifest) -> Sequence[Any]:
        """What a commit of `stored` takes away: its own old files, and a line the run has left."""
        folders = self._folders(head)
        old = set(folders.get(stored.name, ())) - set(manifest.files) - {MANIFEST_NAME}
        keys = [self._url.key(f"{stored.name}/{file}") for file in sorted(old)]
        left = [
            self._url.key(name) + "/"
            for name in sorted(folders)
            if stored.kind == CHECKPOINT
            and (match := _FOLDER.fullmatch(name))
            and int(match[2] or 0) > stored.step
        ]
        return [
            *(CommitOperationDelete(key) for key in keys),
            *(CommitOperationDelete(key, is_folder=True) for key in left),
        ]

    def _commit(self, operations: Sequence[Any], message: str, parent: str) -> None:
        self._api.create_commit(
            self._url.bucket,
            operations,
            commit_message=message,
            revision=self._revision,
            parent_commit=parent,
        )

    def _head(self) -> str:
        info = self._api.repo_info(
            self._url.bucket, revision=self._revision, timeout=self._tuning.read_seconds
        )
        return str(info.sha)

    def _folders(self, revision: str | None = None) -> Mapping[str, set[str]]:
        """Folder → its file names."""

        def ask() -> Sequence[str]:
            try:
                return self._api.list_repo_files(
                    self._url.bucket, revision=revision or self._revision
                )
            except RevisionNotFoundError:
                return ()
            except RepositoryNotFoundError as error:
                if error.response is not None and error.response.status_code == _UNAUTHORIZED:
                    raise
                return ()

        found: dict[str, set[str]] = {}
        prefix = self._url.key("")
        for path in self._try(ask):
            folder, _, file = path.removeprefix(prefix).partition("/")
            if path.startswith(prefix) and file and "/" not in file:
                found.setdefault(folder, set()).add(file)
        return found

    def _step_of(self, name: str) -> int:
        try:
            return self.read_manifest(Stored(0, 0, name, name)).step
        except CheckpointCorrupt:
            return 0

    def _holder(self, revision: str) -> int:
        """Generation of the newest writer; 0 when there was none."""
        try:
            content = json.loads(b"".join(self._stream(_WRITER_FILE, revision=revision)))
            return int(content["generation"])
        except (EntryNotFoundError, LookupError, TypeError, ValueError):
            return 0

    def _require_unfenced(self, revision: str) -> None:
        if self._generation is None:
            raise StoreError(f"{self} was not claimed", "claim it before putting anything")
        holder = self._holder(revision)
        if holder > self._generation:
            raise Fenced(
                f"{self}: writer {holder} has taken over from this one, number {self._generation}",
                "this run commits nothing more there; stop it, or give it a store of its own",
            )

    def _stream(self, path: str, start: int = 0, revision: str = "") -> Iterator[bytes]:
        address = (
            f"{constants.ENDPOINT}/{self._url.bucket}/resolve/"
            f"{quote(revision or self._revision, safe='')}/{quote(self._url.key(path))}"
        )
        headers = build_hf_headers(token=self._token)
        if start:
            headers["Range"] = f"bytes={start}-"
        with get_session().get(address, headers=headers, stream=True) as answer:
            if answer.status_code == _RANGE_BEHIND_END:
                return
            hf_raise_for_status(answer)
            yield from answer.iter_content(_CHUNK_BYTES)

    def _explained_stream(self, path: str, start: int) -> Iterator[bytes]:
        try:
            yield from self._stream(path, start)
        except _FAULTS as error:
            raise explain(error, str(self)) from None

    def _try(self, request: Callable[[], Result]) -> Result:
        def once() -> Result:
            try:
                return request()
            except _FAULTS as error:
                raise explain(error, str(self)) from None

        return self._tuning.retry.call(once)

    def _address(self, stored: Stored) -> str:
        return f"{self}/{stored.name}"


class _PatientAdapter(requests.adapters.HTTPAdapter):
    """Gives every request that has none a time limit, and honours HF_HUB_OFFLINE."""

    def __init__(self, patience: tuple[float, float]) -> None:
        super().__init__()
        self._patience = patience

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
        if options.get("timeout") is None:
            options["timeout"] = self._patience
        return super().send(request, *args, **options)


def _patient_session(patience: tuple[float, float]) -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _PatientAdapter(patience))
    return session
