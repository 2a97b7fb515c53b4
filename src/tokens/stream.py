"""Batches for training and evaluation, streamed from the token cache.

One step batch is one optimizer step: this rank's micro-batches, and counts over all ranks. What a
step holds is a pure function of (seed, epoch, batch) (`src.tokens.order`), so a stream opens at
any position at once, and worker processes need not talk to each other: worker k of K makes the
steps k, k + K, …, which Paddle's DataLoader puts back in order.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle

from src.errors import DataError
from src.tokens.collate import Collator, Located, MicroBatch
from src.tokens.columns import IntArray
from src.tokens.order import Selection, StreamOrder, split_micro_batches
from src.tokens.packing import Rows, pack_rows, single_rows
from src.tokens.prompts import build_prompts
from src.tokens.split import TokenSplit
from src.tokens.tokenizer import Tokenizer
from src.tokens.transport import ERROR, POSITION, StepBatch
from src.tokens.workers import worker_steps

__all__ = ["POSITION", "StepBatch", "StreamingDataset", "evaluation_batches", "step_batches"]

logger = logging.getLogger(__name__)


class StreamingDataset(paddle.io.IterableDataset):  # type: ignore[misc, type-arg, unused-ignore]
    """An endless stream of step batches from a position on.

    Yields dicts with `micro_batches` (this rank's; see `Collator.micro_batches`), the counts
    `target_tokens`, `padded_tokens` (computed positions), `real_tokens` and `pairs`, each over
    all ranks, and `epoch` and `batch`: the position after this step, where to start the next time.
    A rank has no micro-batches in a step with fewer pairs than ranks.

    Under `paddle.io.DataLoader(dataset, batch_size=None, num_workers=n)` the same steps come in
    the same order, with tensors in place of arrays; `step_batches` gives arrays.

    Attributes:
        steps_per_epoch: Optimizer steps in an epoch, the same for any number of ranks.
    """

    def __init__(
        self,
        split: TokenSplit,
        tokenizer: Tokenizer,
        *,
        language_pairs: Sequence[str],
        prompt: str,
        max_seq_length: int,
        global_batch_size: int,
        batch_size: int,
        seed: int,
        packing: bool = False,
        max_samples: Mapping[str, int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        start_epoch: int = 0,
        start_batch: int = 0,
        num_epochs: int | None = None,
        shuffle: bool = True,
    ) -> None:
        """Opens the stream at a position.

        Args:
            split: Pairs to train on.
            tokenizer: The one that made the cache.
            language_pairs: Directions such as "en-zh"; every pair occurs once in each direction
                between its languages.
            prompt: "compact" or "chatml".
            max_seq_length: Longer sequences are left out, and their number is logged.
            global_batch_size: Pairs per optimizer step over all ranks.
            batch_size: Largest number of rows in a micro-batch: pairs, unless they are packed.
            seed: Decides the order.
            packing: Puts several pairs into a row of at most `max_seq_length` tokens. A step's
                pairs are then a random draw, where they are of nearly equal length otherwise.
            max_samples: Direction → largest number of its pairs that take part.
            rank: This process.
            world_size: Number of processes.
            start_epoch: Epoch of the first step.
            start_batch: Step within that epoch.
            num_epochs: The stream ends before this epoch; None: never.
            shuffle: False keeps the order of the corpus.

        Raises:
            DataError: If a direction has no pairs, no pair fits, or the position is beyond the
                epoch.
        """
        super().__init__()
        self._collator = _collator(split, tokenizer, language_pairs, prompt)
        limits = [(max_samples or {}).get(language_pair) for language_pair in language_pairs]
        rows = self._collator.rows
        _refuse_without_text(split, language_pairs, rows, may_miss=False)
        left_out = self._collator.find_too_long(max_seq_length)
        _refuse_if_none_fits(split, rows, left_out, max_seq_length)
        _report_left_out(language_pairs, rows, left_out, max_seq_length)
        self._order = StreamOrder(
            Selection(rows, left_out, limits=limits, seed=seed),
            global_batch_size=global_batch_size,
            seed=seed,
            lengths=self._collator.lengths,
            window_batches=1 if packing else None,
            shuffle=shuffle,
        )
        self.steps_per_epoch = self._order.batches_per_epoch
        if not 0 <= start_batch < self.steps_per_epoch:
            raise DataError(
                f"cannot resume at step {start_batch} of an epoch: it has {self.steps_per_epoch} "
                "steps; the corpus, max_seq_length or global_batch_size has changed"
            )
        self._batch_size = batch_size
        self._row_width = max_seq_length if packing else None
        self._rank = rank
        self._world_size = world_size
        self._start = start_epoch * self.steps_per_epoch + start_batch
        self._end = None if num_epochs is None else num_epochs * self.steps_per_epoch

    def __iter__(self) -> Iterator[StepBatch]:
        worker: Any = paddle.io.get_worker_info()  # annotated as never None
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for position in itertools.count(self._start + first, stride):
            if self._end is not None and position >= self._end:
                return
            try:
                step = self.step_batch(*divmod(position, self.steps_per_epoch))
            except DataError as error:
                if worker is None:
                    raise
                # A worker that dies of it would leave a traceback and no sentence.
                yield {ERROR: str(error)}
                return
            yield step

    def opened_at(self, *, epoch: int, batch: int, batch_size: int) -> StreamingDataset:
        """The same stream from another position, cut into micro-batches of another size."""
        if not 0 <= batch < self.steps_per_epoch:
            raise DataError(f"an epoch has {self.steps_per_epoch} steps, there is no step {batch}")
        other = copy.copy(self)
        other._start = epoch * self.steps_per_epoch + batch
        other._batch_size = batch_size
        return other

    def step_batch(self, epoch: int, batch: int) -> StepBatch:
        """This rank's part of one step, and the counts of all of it."""
        located = self._collator.locate(self._order.global_batch(epoch, batch))
        rows = self._rows(located.lengths)
        shares = split_micro_batches(
            rows.lengths, ranks=self._world_size, batch_size=self._batch_size
        )
        number = epoch * self.steps_per_epoch + batch
        next_epoch, next_batch = divmod(number + 1, self.steps_per_epoch)
        position = np.array([number], dtype=np.int64)
        return {
            "micro_batches": [
                {**part, POSITION: position}
                for part in self._micro_batches(located, rows, shares[self._rank])
            ],
            "target_tokens": int(located.target_lengths.sum()),
            "padded_tokens": sum(
                (part.stop - part.start) * int(rows.lengths[part.stop - 1])
                for share in shares
                for part in share
            ),
            "real_tokens": int(located.lengths.sum()),
            "pairs": len(located.lengths),
            "epoch": next_epoch,
            "batch": next_batch,
        }

    def _rows(self, lengths: IntArray) -> Rows:
        if self._row_width is None:
            return single_rows(lengths)
        return pack_rows(
            lengths, width=self._row_width, ranks=self._world_size, batch_size=self._batch_size
        )

    def _micro_batches(
        self, located: Located, rows: Rows, parts: Sequence[slice]
    ) -> list[MicroBatch]:
        """The micro-batches of these rows."""
        sequences = [rows.sequences(part.start, part.stop) for part in parts]
        own = located.take(np.concatenate([np.arange(0), *sequences]))
        counts = None if self._row_width is None else [rows.counts[part] for part in parts]
        return self._collator.micro_batches(own, [len(each) for each in sequences], counts)


def step_batches(dataset: StreamingDataset, *, num_workers: int) -> Iterator[StepBatch]:
    """The dataset's step batches as NumPy arrays, made here or ahead of time by workers.

    Args:
        dataset: The stream.
        num_workers: Worker processes; 0 makes each batch when it is asked for.

    Raises:
        LinguaBridgeError: While iterating, if a worker process dies or cannot read its data.
    """
    if num_workers == 0:
        return iter(dataset)
    return worker_steps(dataset, num_workers=num_workers)


def evaluation_batches(
    split: TokenSplit,
    tokenizer: Tokenizer,
    *,
    language_pairs: Sequence[str],
    prompt: str,
    max_seq_length: int,
    batch_size: int,
    max_pairs: int | None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[MicroBatch]:
    """This rank's micro-batches for evaluation, shortest first; the same at every call.

    Args:
        split: Pairs to evaluate on.
        tokenizer: The one that made the cache.
        language_pairs: Directions such as "en-zh"; one without text in this split is left out.
        prompt: "compact" or "chatml".
        max_seq_length: Longer sequences are left out.
        batch_size: Pairs in a micro-batch.
        max_pairs: Largest number of pairs per direction, a fixed pseudo-random choice. None: all.
        rank: This process.
        world_size: Number of processes, which take turns.

    Raises:
        DataError: If no pair of the split fits.
    """
    collator = _collator(split, tokenizer, language_pairs, prompt)
    _refuse_without_text(split, language_pairs, collator.rows, may_miss=True)
    left_out = collator.find_too_long(max_seq_length)
    _refuse_if_none_fits(split, collator.rows, left_out, max_seq_length)
    limits = [max_pairs] * len(left_out)
    selection = Selection(collator.rows, left_out, limits=limits, seed=0)
    items = selection(np.arange(len(selection), dtype=np.int64))
    items = items[np.argsort(collator.lengths(items), kind="stable")]
    begins = range(rank * batch_size, len(items), world_size * batch_size)
    parts = (items[begin : begin + batch_size] for begin in begins)
    return (collator.micro_batches(collator.locate(part), [len(part)])[0] for part in parts)


def _collator(
    split: TokenSplit, tokenizer: Tokenizer, language_pairs: Sequence[str], prompt: str
) -> Collator:
    prompts = build_prompts(prompt, tokenizer, language_pairs)
    return Collator(split, language_pairs, prompts, pad_id=tokenizer.pad_id)


def _refuse_without_text(
    split: TokenSplit, language_pairs: Sequence[str], rows: Sequence[range], *, may_miss: bool
) -> None:
    """With `may_miss` it is enough that one direction has text."""
    if len(split) == 0:
        raise DataError(
            f"the {split.name} split holds no pairs; check data.splits and the report of "
            "`python run.py process`"
        )
    missing = [name for name, own in zip(language_pairs, rows, strict=True) if not len(own)]
    if missing and not (may_miss and len(missing) < len(rows)):
        held = ", ".join("-".join(languages) for languages in split.segments)
        raise DataError(
            f"the {split.name} split holds {held} text and none for {', '.join(missing)}; correct "
            "data.language_pairs, or add a source and run `python run.py process`"
        )


def _refuse_if_none_fits(
    split: TokenSplit, rows: Sequence[range], left_out: Sequence[IntArray], max_seq_length: int
) -> None:
    if all(len(own) == len(pairs) for own, pairs in zip(rows, left_out, strict=True)):
        raise DataError(
            f"none of the {len(split):,} pairs of the {split.name} split fits "
            f"max_seq_length={max_seq_length} tokens with its prompt; raise max_seq_length"
        )


def _report_left_out(
    language_pairs: Sequence[str],
    rows: Sequence[range],
    left_out: Sequence[IntArray],
    max_seq_length: int,
) -> None:
    for language_pair, own, pairs in zip(language_pairs, rows, left_out, strict=True):
        if len(pairs):
            logger.info(
                "%s: %s of %s pairs (%.2f %%) left out, longer than max_seq_length=%d tokens",
                language_pair,
                f"{len(pairs):,}",
                f"{len(own):,}",
                100 * len(pairs) / len(own),
                max_seq_length,
            )
