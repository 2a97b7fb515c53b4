"""The token cache: every pair tokenised once, in files that training maps into memory.

    MANIFEST.json                       written last; a folder without it is not a cache
    train/shard-00000.en.ids            uint32, little endian: all English sides, one after another
    train/shard-00000.en.offsets        uint64, little endian, pairs + 1: where each side begins
    train/shard-00000.zh.ids  …         the same for Chinese; then dev/ and test/

Sides lie apart and without prompt, so one cache serves both directions and every prompt. The
manifest holds fingerprints of text and tokenizer, and size and SHA-256 of every file.

A cache is whole or absent: it is built in a hidden sibling folder that takes the place of the old
one at the end. Two renames are needed for that, as no file system swaps folders portably; whoever
finds the work of a process killed between them uses the old cache, which lies beside.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import CacheMismatch, DataError
from src.files import flush_to_disk, write_text
from src.tokens.shard_writer import ShardWriter
from src.tokens.split import TokenSplit, shard_stem

if TYPE_CHECKING:
    from src.tokens.tokenizer import Tokenizer

__all__ = ["TokenCache", "TokenSplit", "write_token_cache"]

FORMAT = "linguabridge-tokens/1"
MANIFEST = "MANIFEST.json"
_SHARD_PAIRS = 4_000_000
_HASH_BLOCK_BYTES = 1 << 20

TextBatches = Iterable[tuple[Sequence[str], Sequence[str]]]


def write_token_cache(
    folder: Path,
    *,
    splits: Mapping[str, TextBatches],
    tokenizer: Tokenizer,
    languages: tuple[str, str] = ("en", "zh"),
    text_fingerprint: str,
    progress: Callable[[int], None] | None = None,
    shard_pairs: int = _SHARD_PAIRS,
) -> Path:
    """Tokenises all splits and puts the cache at `folder`, whole or not at all.

    One writer per folder at a time; what a killed one left is removed.

    Args:
        folder: An older cache there is replaced when the new one is whole.
        splits: Per split, batches of the sides in the order of `languages`. Batches of a
            thousand pairs and more take the fast encoder.
        tokenizer: Encodes both sides.
        languages: Names of the two sides.
        text_fingerprint: Identifies the text; training refuses a cache of another.
        progress: Called after each batch with the number of pairs it held.
        shard_pairs: Pairs in a shard.

    Returns:
        `folder`.

    Raises:
        DataError: If a batch has sides of different length, or `folder` holds something else.
        OSError: If the disk is full or cannot be written.
    """
    partial, previous = _sibling(folder, "partial"), _sibling(folder, "previous")
    _refuse_foreign_folder(folder)
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        entries = {
            name: _write_split(partial, name, batches, tokenizer, languages, progress, shard_pairs)
            for name, batches in splits.items()
        }
        manifest = {
            "format": FORMAT,
            "languages": list(languages),
            "text_fingerprint": text_fingerprint,
            "tokenizer_fingerprint": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "splits": entries,
        }
        write_text(partial / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    flush_to_disk(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class TokenCache:
    """A token cache on disk.

    Attributes:
        folder: Where it lies.
        languages: Names of the two sides.
        text_fingerprint: Of the text it was made from.
        tokenizer_fingerprint: Of the tokenizer that made it.
        vocab_size: Highest possible id + 1.
    """

    folder: Path
    languages: tuple[str, ...]
    text_fingerprint: str
    tokenizer_fingerprint: str
    vocab_size: int
    _shards: Mapping[str, tuple[int, ...]]

    @classmethod
    def open(cls, folder: Path, *, verify: bool = False) -> TokenCache:
        """Opens a cache; the time taken grows with the number of shards, not of pairs.

        Args:
            folder: Folder of the cache.
            verify: Also reads every byte and compares its SHA-256 with the manifest.

        Raises:
            DataError: If there is no cache, or it is damaged or of a newer format.
        """
        if not folder.exists() and _sibling(folder, "previous").exists():
            folder = _sibling(folder, "previous")
        manifest = _read_manifest(folder)
        try:
            shards = {
                name: tuple(int(shard["pairs"]) for shard in entry["shards"])
                for name, entry in manifest["splits"].items()
            }
            for name, entry in manifest["splits"].items():
                for shard in entry["shards"]:
                    for file, facts in shard["files"].items():
                        _check_file(folder / name / file, facts, verify=verify)
            return cls(
                folder=folder,
                languages=tuple(manifest["languages"]),
                text_fingerprint=str(manifest["text_fingerprint"]),
                tokenizer_fingerprint=str(manifest["tokenizer_fingerprint"]),
                vocab_size=int(manifest["vocab_size"]),
                _shards=shards,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{folder / MANIFEST} is not a manifest of a token cache "
                f"({type(error).__name__}: {error}); run `python run.py process` again"
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

    def split(self, name: str) -> TokenSplit:
        """The pairs of one split.

        Raises:
            DataError: If there is no such split, or its files contradict each other.
        """
        if name not in self._shards:
            raise DataError(
                f"token cache {self.folder} has no split '{name}', only "
                f"{', '.join(self._shards) or 'none'}"
            )
        return TokenSplit(self.folder, name, self.languages, self._shards[name])


def _write_split(
    partial: Path,
    name: str,
    batches: TextBatches,
    tokenizer: Tokenizer,
    languages: tuple[str, str],
    progress: Callable[[int], None] | None,
    shard_pairs: int,
) -> dict[str, Any]:
    """Writes one split; returns its entry in the manifest."""
    (partial / name).mkdir(parents=True)
    shards: list[dict[str, Any]] = []
    tokens = dict.fromkeys(languages, 0)
    writer = ShardWriter(shard_stem(partial, name, 0), languages)
    try:
        for sides in batches:
            first, second = sides
            if len(first) != len(second):
                raise DataError(
                    f"split {name}: a batch has {len(first)} {languages[0]} and {len(second)} "
                    f"{languages[1]} sentences; pairs must stay aligned"
                )
            encoded = [tokenizer.encode_batch(side) for side in sides]
            begin = 0
            while begin < len(first):
                end = min(len(first), begin + shard_pairs - writer.pairs)
                counts = writer.append([side[begin:end] for side in encoded])
                tokens = {key: tokens[key] + counts[key] for key in languages}
                begin = end
                if writer.pairs == shard_pairs:
                    shards.append(writer.finish())
                    writer = ShardWriter(shard_stem(partial, name, len(shards)), languages)
            if progress is not None:
                progress(len(first))
        if writer.pairs:
            shards.append(writer.finish())
    finally:
        writer.close()
    flush_to_disk(partial / name)
    return {
        "pairs": sum(shard["pairs"] for shard in shards),
        "tokens": tokens,
        "shards": shards,
    }


def _sibling(folder: Path, state: str) -> Path:
    return folder.with_name(f".{folder.name}.{state}")


def _refuse_foreign_folder(folder: Path) -> None:
    """A folder is only replaced if everything in it can come from this module."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; a token cache is a folder. Move the file away")
    for path in folder.rglob("*"):
        if path.is_file() and path.name != MANIFEST and not path.name.startswith("shard-"):
            raise DataError(
                f"{folder} holds {path.relative_to(folder)}, which is no part of a token cache; "
                "move it away or set another data.output_dir"
            )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"no token cache in {folder} ({MANIFEST} is missing); run `python run.py process` first"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); run `python run.py process` again"
        ) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(
            f"{path} has format {found!r}, this version reads {FORMAT!r}; update this program or "
            "run `python run.py process` again"
        )
    return dict(manifest)


def _check_file(path: Path, facts: Mapping[str, Any], *, verify: bool) -> None:
    remedy = "the token cache is damaged; run `python run.py process` again"
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
