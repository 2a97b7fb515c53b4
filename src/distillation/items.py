"""The pairs that a teacher works through: those that the student will train on, in corpus order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from src.distillation.shards import ShardRange
from src.schema import Config
from src.tokens.collate import Collator, Located, MicroBatch
from src.tokens.columns import IntArray
from src.tokens.order import Selection
from src.tokens.prompts import build_prompts
from src.training.corpus import Corpus

SHARD_ROWS = 8192
"""Rows in a shard: what a kill costs at most, per process."""


# Without gradients a forward pass takes a fraction of the memory of a training step.
_BATCHES_AT_ONCE = 4


class TeacherItems:
    """The train split, shard by shard and direction by direction.

    Independent of batches, seed and epochs, so what is made once serves every student. Only where
    `data.max_samples` limits a direction do the limit and the student's seed decide which pairs.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        section = config.student
        self._directions = config.data.language_pairs
        split = corpus.cache.split("train")
        prompts = build_prompts(section.prompt, corpus.tokenizer, self._directions)
        self._collator = Collator(split, self._directions, prompts, pad_id=corpus.tokenizer.pad_id)
        self._left_out = self._collator.find_too_long(section.max_seq_length)
        self._chosen = self._choose(config)
        self._batch_size = _BATCHES_AT_ONCE * section.batch_size

    def ranges(self) -> list[ShardRange]:
        """All shards, direction after direction."""
        return [
            ShardRange(direction, way, number, range(start, min(start + SHARD_ROWS, rows.stop)))
            for way, (direction, rows) in enumerate(
                zip(self._directions, self._collator.rows, strict=True)
            )
            for number, start in enumerate(range(rows.start, rows.stop, SHARD_ROWS))
        ]

    def rows(self, part: ShardRange) -> IntArray:
        """The rows of a shard that take part, ascending."""
        chosen = self._chosen[part.way]
        if chosen is not None:
            begin, end = np.searchsorted(chosen, [part.rows.start, part.rows.stop])
            return chosen[begin:end]
        everything = np.arange(part.rows.start, part.rows.stop, dtype=np.int64)
        return np.setdiff1d(everything, self._left_out[part.way], assume_unique=True)

    def locate(self, part: ShardRange, rows: IntArray) -> Located:
        """Where these rows' tokens lie, in the shard's direction."""
        return self._collator.locate(rows * len(self._directions) + part.way)

    def micro_batches(self, located: Located) -> Iterator[tuple[IntArray, MicroBatch]]:
        """Micro-batches of items of like length, each with their places in `located`."""
        order = np.argsort(located.lengths, kind="stable")
        for begin in range(0, len(order), self._batch_size):
            places = order[begin : begin + self._batch_size]
            yield places, self._collator.micro_batches(located.take(places), [len(places)])[0]

    def _choose(self, config: Config) -> list[IntArray | None]:
        limits = [config.data.max_samples.get(name) for name in self._directions]
        if all(limit is None for limit in limits):
            return [None] * len(limits)
        selection = Selection(
            self._collator.rows, self._left_out, limits=limits, seed=config.student.seed
        )
        items = selection(np.arange(len(selection), dtype=np.int64))
        rows, ways = np.divmod(items, len(limits))
        return [np.sort(rows[ways == way]) for way in range(len(limits))]


def identity_of(config: Config, corpus: Corpus, *, teacher_sha256: str) -> dict[str, object]:
    """What everything a teacher makes of a corpus depends on."""
    section = config.student
    limits = {
        name: limit
        for name, limit in config.data.max_samples.items()
        if name in config.data.language_pairs
    }
    return {
        "teacher": teacher_sha256,
        "text": corpus.cache.text_fingerprint,
        "tokenizer": corpus.cache.tokenizer_fingerprint,
        "prompt": section.prompt,
        "max_seq_length": section.max_seq_length,
        "max_samples": limits,
        "seed": section.seed if limits else None,
        "shard_rows": SHARD_ROWS,
    }
