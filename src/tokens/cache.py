"""The token cache: every pair tokenised once, in files that training maps into memory.

    MANIFEST.json                           written last; a folder without it is not a cache
    train/en-zh/shard-00000.en.ids          all English sides, one after another: uint32, little
                                            endian
    train/en-zh/shard-00000.en.offsets      where each side begins, pairs + 1: uint64, little endian
    train/en-zh/shard-00000.zh.ids  …       the same for Chinese; then other pairs of languages;
                                            then dev/ and test/

Sides lie apart and without prompt, so one cache serves both directions and every prompt. The
manifest holds fingerprints of text and tokenizer, and size and SHA-256 of every file. It is made
by `src.tokens.write_cache`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from src.errors import CacheMismatch, DataError
from src.tokens.records import TokenRecords
from src.tokens.split import SegmentShards, TokenSplit, segment_folder

__all__ = ["TokenCache", "TokenSplit"]

FORMAT = "linguabridge-tokens/2"
MANIFEST = "MANIFEST.json"
_PROCESS = "python run.py process"
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class TokenCache:
    """A token cache on disk.

    Attributes:
        folder: Where it lies.
        text_fingerprint: Of the text it was made from.
        tokenizer_fingerprint: Of the tokenizer that made it.
        vocab_size: Highest possible id + 1.
    """

    folder: Path
    text_fingerprint: str
    tokenizer_fingerprint: str
    vocab_size: int
    _splits: Mapping[str, tuple[SegmentShards, ...]]
    _records: Mapping[str, TokenRecords] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False, command: str = _PROCESS) -> TokenCache:
        """Opens a cache; the time taken grows with the number of shards, not of pairs.

        Args:
            folder: Folder of the cache.
            verify: Also reads every byte and compares its SHA-256 with the manifest.
            command: What makes it (again), for people.

        Raises:
            DataError: If there is no cache, or it is damaged or of a newer format.
        """
        if not folder.exists() and sibling(folder, "previous").exists():
            folder = sibling(folder, "previous")
        manifest = _read_manifest(folder, command)
        try:
            splits = {
                name: tuple(
                    _open_segment(folder, name, segment, verify=verify, command=command)
                    for segment in entry["segments"]
                )
                for name, entry in manifest["splits"].items()
            }
            return cls(
                folder=folder,
                text_fingerprint=str(manifest["text_fingerprint"]),
                tokenizer_fingerprint=str(manifest["tokenizer_fingerprint"]),
                vocab_size=int(manifest["vocab_size"]),
                _splits=splits,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{folder / MANIFEST} is not a manifest of a token cache "
                f"({type(error).__name__}: {error}); run `{command}` again"
            ) from error

    def require(
        self, *, tokenizer_fingerprint: str | None = None, text_fingerprint: str | None = None
    ) -> None:
        """Makes sure that the cache belongs to this tokenizer and text; None is not compared.

        Raises:
            CacheMismatch: If it does not, naming what differs.
        """
        for what, found, wanted in (
            ("tokenizer", self.tokenizer_fingerprint, tokenizer_fingerprint),
            ("text", self.text_fingerprint, text_fingerprint),
        ):
            if wanted is not None and wanted != found:
                raise CacheMismatch(
                    f"token cache {self.folder} was made from another {what} (fingerprint "
                    f"{found[:12]}, configured {wanted[:12]}); run `python run.py process` again "
                    f"or configure the {what} it was made from"
                )

    def with_records(self, **records: TokenRecords) -> TokenCache:
        """This cache with records beside the tokens of splits, by the splits' names."""
        return replace(self, _records=records)

    def split(self, name: str) -> TokenSplit:
        """The pairs of one split.

        Raises:
            DataError: If there is no such split, or its files contradict each other.
        """
        if name not in self._splits:
            raise DataError(
                f"token cache {self.folder} has no split '{name}', only "
                f"{', '.join(self._splits) or 'none'}"
            )
        return TokenSplit(self.folder, name, self._splits[name], self._records.get(name))


def is_current(folder: Path, *, text_fingerprint: str, tokenizer_fingerprint: str) -> bool:
    """Whether a whole cache of this version lies there, made from this text and tokenizer."""
    try:
        cache = TokenCache.open(folder)
        cache.require(
            text_fingerprint=text_fingerprint, tokenizer_fingerprint=tokenizer_fingerprint
        )
    except DataError:
        return False
    return cache.folder == folder


def sibling(folder: Path, state: str) -> Path:
    """The hidden folder beside a cache that holds another state of it."""
    return folder.with_name(f".{folder.name}.{state}")


def _open_segment(
    folder: Path, split: str, segment: Mapping[str, Any], *, verify: bool, command: str
) -> SegmentShards:
    left, right = segment["languages"]
    languages = (str(left), str(right))
    for shard in segment["shards"]:
        for file, facts in shard["files"].items():
            path = segment_folder(folder, split, languages) / file
            _check_file(path, facts, verify=verify, command=command)
    return SegmentShards(languages, tuple(int(shard["pairs"]) for shard in segment["shards"]))


def _read_manifest(folder: Path, command: str) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"no token cache in {folder} ({MANIFEST} is missing); run `{command}` first"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run `{command}` again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path} has format {found!r}, this version reads {FORMAT!r}; update this program or "
            f"run `{command}` again"
        )
    return dict(manifest)


def _check_file(path: Path, facts: Mapping[str, Any], *, verify: bool, command: str) -> None:
    remedy = f"the token cache is damaged; run `{command}` again"
    try:
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise DataError(
                f"{path} has {size} bytes, the manifest says {facts['bytes']}: {remedy}"
            )
        if not verify:
            return
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if digest.hexdigest() != facts["sha256"]:
        raise DataError(
            f"{path} has SHA-256 {digest.hexdigest()[:12]}…, the manifest says "
            f"{facts['sha256'][:12]}…: {remedy}"
        )
