"""MANIFEST.json: what a checkpoint's folder holds, written last, able to prove itself.

MANIFEST.json is JSON with sorted keys and an indent of 2:

    format   "linguabridge-checkpoint/1"
    step     optimizer steps done
    parent   name of the checkpoint before this one, or null
    facts    what the caller wants to know before reading any file: fingerprints, world size, time
    files    {name: {"bytes": size, "sha256": 64 hex digits}}
    sha256   of all of the above as compact JSON with sorted keys, so that the manifest itself
             cannot be changed unnoticed

A manifest is taken only if writing its content again gives the same bytes: nothing may be added,
reordered or flipped, not even a space.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from src.errors import CheckpointCorrupt

FORMAT = "linguabridge-checkpoint/1"
MANIFEST_NAME = "MANIFEST.json"


@dataclass(frozen=True)
class FileRecord:
    """What the manifest promises about one file: its size and its SHA-256 in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of MANIFEST.json.

    Attributes:
        step: Optimizer steps done.
        parent: Name of the checkpoint before this one; None for the first.
        facts: What the writer wanted known, as JSON gives it back.
        files: Every file of the folder but the manifest.
    """

    step: int
    parent: str | None
    facts: Mapping[str, object]
    files: Mapping[str, FileRecord]

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(record.bytes for record in self.files.values())

    def to_json(self) -> str:
        """The exact text of MANIFEST.json.

        Raises:
            TypeError, ValueError: If a fact cannot be written as JSON.
        """
        content = {"format": FORMAT, **asdict(self)}
        compact = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        content["sha256"] = hashlib.sha256(compact.encode()).hexdigest()
        return json.dumps(content, sort_keys=True, indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Reads MANIFEST.json and checks that it is as it was written; reads no other file.

    Raises:
        CheckpointCorrupt: If it is missing, truncated, changed, or of another format.
    """
    try:
        # Not read_text: it takes a flipped line end for a good one.
        data = (folder / MANIFEST_NAME).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointCorrupt(
            folder, f"{MANIFEST_NAME} is missing: the folder is not a whole checkpoint"
        ) from error
    except OSError as error:
        raise CheckpointCorrupt(
            folder, f"{MANIFEST_NAME} cannot be read: {error.strerror}"
        ) from error
    return parse_manifest(folder, data)


def parse_manifest(folder: Path | str, data: bytes) -> Manifest:
    """Reads the bytes of a MANIFEST.json and checks that they are as they were written.

    Args:
        folder: Where they come from, for the error.
        data: All bytes of the file.

    Raises:
        CheckpointCorrupt: If they are truncated, changed, or of another format.
    """
    try:
        text = data.decode()
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # undecodable, malformed, too deep
        raise CheckpointCorrupt(folder, f"{MANIFEST_NAME} is not JSON: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        raise CheckpointCorrupt(
            folder, f"{MANIFEST_NAME} has format {found!r}, this version reads {FORMAT!r}"
        )
    manifest = _manifest_of(folder, content)
    if manifest.to_json() != text:
        raise CheckpointCorrupt(
            folder, f"{MANIFEST_NAME} was changed: its content differs from its own SHA-256"
        )
    return manifest


def _manifest_of(folder: Path | str, content: Mapping[str, object]) -> Manifest:
    match content:
        case {
            "step": int(step),
            "parent": str() | None as parent,
            "facts": dict(facts),
            "files": dict(files),
        }:
            records = {name: _parse_record(folder, name, value) for name, value in files.items()}
            return Manifest(step, parent, facts, records)
    raise CheckpointCorrupt(
        folder, f"{MANIFEST_NAME} lacks step, parent, facts or files, or has them of a wrong type"
    )


def _parse_record(folder: Path | str, name: str, value: object) -> FileRecord:
    try:
        check_file_names([name])
    except ValueError as error:
        raise CheckpointCorrupt(folder, f"{MANIFEST_NAME}: {error}") from error
    match value:
        case {"bytes": int(size), "sha256": str(sha256)}:
            return FileRecord(size, sha256)
    raise CheckpointCorrupt(folder, f"{MANIFEST_NAME}: {name} lacks its size or its SHA-256")


def check_file_names(names: Collection[str]) -> None:
    """Only plain names: a manifest from elsewhere must not lead out of its folder."""
    if len(set(names)) != len(names):
        raise ValueError(f"a file name occurs twice among {sorted(names)}")
    for name in names:
        if name in ("", ".", "..", MANIFEST_NAME) or Path(name).name != name:
            raise ValueError(f"{name!r} cannot be the name of a checkpoint's file")
