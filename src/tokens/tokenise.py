"""One task of making a token cache: rows of text shards to the cache's own shards.

A shard of the cache holds rows of one text shard and depends on nothing else, so tasks can run in
any order and on any machine that sees the folders. What a shard holds is noted in a file of its
own once its data are on the disk; a shard with such a note is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.errors import DataError
from src.files import write_text
from src.host_memory import release_freed_memory
from src.tokens.column_encoder import ColumnEncoder, EncodersDiffer
from src.tokens.columns import TextColumn
from src.tokens.fast_encoder import FastEncoder
from src.tokens.shard_writer import ShardWriter
from src.tokens.split import shard_stem
from src.tokens.tokenizer import Tokenizer, load_tokenizer

WORK = "work"
"""Folder beside the shards, which goes away when all are done."""

_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class ShardPlan:
    """A shard of the cache.

    Attributes:
        split: Where it belongs.
        languages: Of the two sides.
        number: Its number among the split's shards of these languages.
        text: Parquet file; its first two columns are the sides.
        row_groups: First row group of the file that belongs here, and the one after the last.
        rows: Pairs in these.
    """

    split: str
    languages: tuple[str, str]
    number: int
    text: Path
    row_groups: tuple[int, int]
    rows: int

    def stem(self, cache: Path) -> Path:
        """Path of its files without language and kind."""
        return shard_stem(cache, self.split, self.languages, self.number)

    def note(self, cache: Path) -> Path:
        """The file that says that it is done, and what it holds."""
        left, right = self.languages
        return cache / WORK / f"{self.split}-{left}-{right}-{self.number:05d}.json"


@dataclass(frozen=True)
class TokeniseTask:
    """Shards made together.

    Attributes:
        cache: Folder of the cache; `save_encoder` has been there.
        encoder_id: Changes with what `save_encoder` saved.
        shards: What to make.
    """

    cache: Path
    encoder_id: str
    shards: tuple[ShardPlan, ...]

    @property
    def rows(self) -> int:
        """Pairs in all."""
        return sum(shard.rows for shard in self.shards)

    def __str__(self) -> str:
        first, last = self.shards[0], self.shards[-1]
        names = first.text.name if first.text == last.text else f"{first.text.name} and following"
        return f"the tokens of {names}, row groups from {first.row_groups[0]} on"


def save_encoder(cache: Path, tokenizer: Tokenizer, fast: FastEncoder | None) -> str:
    """Puts what workers need to encode into the cache's folder; returns its id."""
    work = cache / WORK
    tokenizer.save(work / "tokenizer")
    if fast is not None:
        fast.save(work / "encoder.npz")
    return f"{tokenizer.fingerprint}/{'reference' if fast is None else 'fast'}"


def tokenise_shards(task: TokeniseTask) -> list[str]:
    """Makes the shards.

    Returns:
        A text for each shard on which the encoders differed; the reference made these.

    Raises:
        DataError: If a text shard is damaged.
        OSError: If the disk is full or cannot be written.
    """
    encoder = _load_encoder(task.cache, task.encoder_id)
    differing = []
    for shard in task.shards:
        try:
            entry = _write_shard(shard, task.cache, encoder)
        except EncodersDiffer as found:
            differing.append(str(found))
            entry = _write_shard(shard, task.cache, ColumnEncoder(encoder.tokenizer, None))
        write_text(shard.note(task.cache), json.dumps(entry))
        release_freed_memory()  # what the encoder remembered of this shard
    return differing


@lru_cache(maxsize=1)  # a process works at one cache, in many tasks
def _load_encoder(cache: Path, encoder_id: str) -> ColumnEncoder:
    work = cache / WORK
    fast = FastEncoder.load(work / "encoder.npz") if encoder_id.endswith("/fast") else None
    return ColumnEncoder(load_tokenizer(str(work / "tokenizer")), fast)


def _write_shard(shard: ShardPlan, cache: Path, encoder: ColumnEncoder) -> dict[str, Any]:
    memories = [encoder.memory() for _ in shard.languages]
    with ShardWriter(shard.stem(cache), shard.languages) as writer:
        for sides in _read_blocks(shard):
            left, right = (
                encoder.encode(side, memory) for side, memory in zip(sides, memories, strict=True)
            )
            writer.append(left, right)
        return writer.finish()


def _read_blocks(shard: ShardPlan) -> Iterator[tuple[TextColumn, TextColumn]]:
    """The sides of some thousand pairs at a time."""
    try:
        with pq.ParquetFile(shard.text) as file:
            for batch in file.iter_batches(
                _BLOCK_ROWS,
                row_groups=list(range(*shard.row_groups)),
                columns=list(shard.languages),
                use_threads=False,
            ):
                left, right = (TextColumn.from_arrow(batch[name]) for name in shard.languages)
                yield left, right
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{shard.text} cannot be read ({str(error).splitlines()[0]}); make it again with "
            "`python run.py process`"
        ) from error
