"""A store in a bucket: a folder, OSS or S3. The idea and the names are in `.store`."""

from __future__ import annotations

import json
import os
import re
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from src.checkpoint.manifest import MANIFEST_NAME, FileRecord, Manifest, parse_manifest
from src.checkpoint.stores.bucket import Bucket, ObjectExists, ObjectMissing, Report, Tuning
from src.checkpoint.stores.download import download_folder, verify_files
from src.checkpoint.stores.store import (
    CHECKPOINT,
    Fenced,
    Stored,
    parse_stored,
    stored_as,
    surplus,
)
from src.checkpoint.stores.url import StoreUrl
from src.errors import CheckpointCorrupt, StoreError

WRITERS = "writers/"
_WRITER = re.compile(r"writers/(\d{4,})\.json")
_MOST_RIVALS = 20


class BucketStore:
    """Checkpoint folders below a prefix of a bucket.

    Args:
        bucket: Where objects go.
        url: The prefix, and what messages say.
        tuning: Patience of restoring.
    """

    seconds_between_puts = 0.0

    def __init__(self, bucket: Bucket, url: StoreUrl, tuning: Tuning) -> None:
        self._bucket = bucket
        # The keys of a folder are paths below it.
        self._folder = Path(url.prefix) if url.scheme == "file" else None
        self._url = url if self._folder is None else StoreUrl("file", "", "")
        self._name = str(url)
        self.address = url.address
        self._tuning = tuning
        self._generation: int | None = None

    def __str__(self) -> str:
        return self._name

    def claim(self, previous: int | None) -> int:
        """Makes this process the writer; see `Store`.

        Raises:
            StoreError: Also if the bucket would let two writers have the same number.
        """
        highest = max(self._writers(), default=0)
        if previous is not None and previous == highest:
            self._generation = previous
            return previous
        if previous is not None and self._folder is not None and not self._folder.is_dir():
            raise StoreError(
                f"{self} is not there any more, and this run has saved in it before",
                "check that its drive is mounted, or make it if it is to be new: "
                f"mkdir -p {self._folder}",
                is_temporary=True,
            )
        for number in range(highest + 1, highest + 1 + _MOST_RIVALS):
            try:
                self._create_writer(number)
            except ObjectExists:
                continue  # somebody was faster
            self._require_exclusive_creation(number)
            self._generation = number
            return number
        raise StoreError(
            f"{self}: {_MOST_RIVALS} other writers claimed the store at the same moment",
            "give each run a folder of its own in checkpoint_store",
        )

    def list(self) -> Sequence[Stored]:
        """The committed folders in the order of the run."""
        return sorted(stored for stored, names in self._folders().items() if MANIFEST_NAME in names)

    def read_manifest(self, stored: Stored) -> Manifest:
        """What a folder promises."""
        return parse_manifest(self._address(stored), self._manifest_bytes(stored))

    def verify(self, stored: Stored) -> Manifest:
        """Reads every byte."""
        manifest = self.read_manifest(stored)
        verify_files(
            manifest,
            address=self._address(stored),
            stream=lambda name, start: self._bucket.stream(self._key(stored, name), start),
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
            stream=lambda name, start: self._bucket.stream(self._key(stored, name), start),
            retry=self._tuning.retry,
        )
        return manifest

    def wants(self, kind: str, step: int) -> bool:  # noqa: ARG002  all of them
        """Everything."""
        return True

    def put(self, source: Path, kind: str, report: Report) -> Stored:
        """Uploads a whole folder and commits it."""
        content = (source / MANIFEST_NAME).read_bytes()
        manifest = parse_manifest(source, content)
        stored = stored_as(kind, manifest.step, self._held())
        originals = self._originals(stored)
        for name, expected in manifest.files.items():
            key, original = self._key(stored, name), originals.get(expected)
            if original is None or not self._bucket.copy(original, key, expected, report):
                self._bucket.upload(source / name, key, expected, report)
        found = self._folders(stored.name).get(stored, {})
        expected_sizes = {name: record.bytes for name, record in manifest.files.items()}
        for name, size in expected_sizes.items():
            if found.get(name) != size:
                raise StoreError(
                    f"{self._address(stored)}/{name} has {found.get(name)} bytes, {size} were sent",
                    "see whether something else deletes or changes objects there",
                    is_temporary=True,
                )
        strangers = sorted(set(found) - set(expected_sizes) - {MANIFEST_NAME})
        if strangers:  # of an earlier attempt at another checkpoint of this step
            self._bucket.delete([self._key(stored, name) for name in strangers])
        self._require_unfenced()
        self._bucket.put(self._key(stored, MANIFEST_NAME), content)
        return stored

    def rotate(self, *, keep_last: int) -> Sequence[Stored]:
        """Deletes what need not be kept, and what cut-off uploads of dead writers left."""
        folders = self._folders()
        whole = [stored for stored, names in folders.items() if MANIFEST_NAME in names]
        gone = surplus(whole, keep_last=keep_last)
        self._require_unfenced()
        for stored in gone:
            self._remove(stored, folders[stored])
        for stored in set(folders) - set(whole):
            if self._is_waste(stored, whole):
                self._remove(stored, folders[stored])
        for key, upload_id in self._bucket.pending(self._url.key("")):
            name = self._below_prefix(key).partition("/")[0]
            begun = parse_stored(name)
            if begun is not None and (begun in whole or self._is_waste(begun, whole)):
                self._bucket.give_up(key, upload_id)
        return gone

    def delete(self, stored: Stored) -> None:
        """Removes a folder, its manifest first."""
        self._remove(stored, self._folders(stored.name).get(stored, {}))

    def _originals(self, stored: Stored) -> Mapping[FileRecord, str]:
        """Content → key of what is there of the same step; `best` and `final` are made of it."""
        found: dict[FileRecord, str] = {}
        if stored.kind == CHECKPOINT:
            return found
        for each in self.list():
            if each.step == stored.step and each != stored:
                with suppress(CheckpointCorrupt):
                    files = self.read_manifest(each).files
                    found |= {record: self._key(each, name) for name, record in files.items()}
        return found

    def _remove(self, stored: Stored, names: Mapping[str, int]) -> None:
        self._bucket.delete([self._key(stored, MANIFEST_NAME)])
        rest = [self._key(stored, name) for name in names if name != MANIFEST_NAME]
        if rest:
            self._bucket.delete(rest)

    def _is_waste(self, stored: Stored, whole: Sequence[Stored]) -> bool:
        """Whether nobody will go on with this folder, which has no manifest."""
        if stored.generation != self._generation:
            return stored.generation < self._held()
        return any(each.kind == stored.kind and each > stored for each in whole)

    def _folders(self, name: str = "") -> Mapping[Stored, Mapping[str, int]]:
        """Folder → file name → bytes, of all folders or of one."""
        prefix = self._url.key(f"{name}/" if name else "")
        found: defaultdict[Stored, dict[str, int]] = defaultdict(dict)
        for key, size in self._bucket.list(prefix).items():
            folder, _, file = self._below_prefix(key).partition("/")
            stored = parse_stored(folder)
            if stored is not None and file and "/" not in file:
                found[stored][file] = size
        return found

    def _writers(self) -> Sequence[int]:
        keys = map(self._below_prefix, self._bucket.list(self._url.key(WRITERS)))
        return [int(match[1]) for key in keys if (match := _WRITER.fullmatch(key))]

    def _create_writer(self, number: int) -> None:
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        key = self._url.key(f"{WRITERS}{number:04d}.json")
        self._bucket.create(key, json.dumps(content).encode())

    def _require_exclusive_creation(self, number: int) -> None:
        """A second creation of the same object must fail; it does not where versions are kept."""
        try:
            self._create_writer(number)
        except ObjectExists:
            return
        raise StoreError(
            f"{self} lets an object be created twice, as buckets do that keep versions (enabled or "
            "suspended): two writers could not be told apart",
            "use a bucket that never had versioning switched on",
        )

    def _require_unfenced(self) -> None:
        """Raises Fenced if somebody holds a higher number."""
        held = self._held()
        highest = max(self._writers(), default=0)
        if highest > held:
            raise Fenced(
                f"{self}: writer {highest} has taken over from this one, number {held}",
                "this run commits nothing more there; stop it, or give it a store of its own",
            )

    def _held(self) -> int:
        if self._generation is None:
            raise StoreError(f"{self} was not claimed", "claim it before putting anything")
        return self._generation

    def _manifest_bytes(self, stored: Stored) -> bytes:
        try:
            return self._bucket.read(self._key(stored, MANIFEST_NAME))
        except ObjectMissing:
            raise CheckpointCorrupt(
                self._address(stored),
                f"{MANIFEST_NAME} is missing: the folder is not a whole {CHECKPOINT}",
            ) from None

    def _address(self, stored: Stored) -> str:
        return f"{self}/{stored.name}"

    def _key(self, stored: Stored, name: str) -> str:
        return self._url.key(f"{stored.name}/{name}")

    def _below_prefix(self, key: str) -> str:
        return key.removeprefix(self._url.key(""))
