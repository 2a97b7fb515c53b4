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
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from src.errors import DataError, LinguaBridgeError
from src.tokens.collate import Collator, MicroBatch
from src.tokens.columns import IntArray
from src.tokens.order import Selection, StreamOrder, split_micro_batches
from src.tokens.prompts import build_prompts
from src.tokens.records import RECORDS
from src.tokens.split import TokenSplit
from src.tokens.tokenizer import Tokenizer

StepBatch = dict[str, Any]

POSITION = "position"
"""Name of the step's number in the stream in a micro-batch, from 0 over all epochs: int64 `[1]`."""

_ERROR = "error"
_COUNTS = ("target_tokens", "padded_tokens", "real_tokens", "pairs", "epoch", "batch")
_ARRAYS = ("input_ids", "target_positions", "labels", "directions", POSITION)

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
            batch_size: Largest number of pairs in a micro-batch.
            seed: Decides the order.
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
            shuffle=shuffle,
        )
        self.steps_per_epoch = self._order.batches_per_epoch
        if not 0 <= start_batch < self.steps_per_epoch:
            raise DataError(
                f"cannot resume at step {start_batch} of an epoch: it has {self.steps_per_epoch} "
                "steps; the corpus, max_seq_length or global_batch_size has changed"
            )
        self._batch_size = batch_size
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
                yield {_ERROR: str(error)}
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
        lengths = located.lengths
        shares = split_micro_batches(lengths, ranks=self._world_size, batch_size=self._batch_size)
        own = shares[self._rank]
        rows = np.concatenate([np.arange(0), *(np.arange(part.start, part.stop) for part in own)])
        next_epoch, next_batch = divmod(
            epoch * self.steps_per_epoch + batch + 1, self.steps_per_epoch
        )
        micro_batches = self._collator.micro_batches(
            located.take(rows), [part.stop - part.start for part in own]
        )
        position = np.array([epoch * self.steps_per_epoch + batch], dtype=np.int64)
        return {
            "micro_batches": [{**part, POSITION: position} for part in micro_batches],
            "target_tokens": int(located.target_lengths.sum()),
            "padded_tokens": sum(
                (part.stop - part.start) * int(lengths[part.stop - 1])
                for share in shares
                for part in share
            ),
            "real_tokens": int(lengths.sum()),
            "pairs": len(lengths),
            "epoch": next_epoch,
            "batch": next_batch,
        }


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
    loader = paddle.io.DataLoader(
        dataset,
        batch_size=None,  # type: ignore[arg-type]  # a step is a batch already
        num_workers=num_workers,
        collate_fn=_pack,  # type: ignore[arg-type]  # annotated for lists of samples
        worker_init_fn=_ignore_keyboard,
        places=[paddle.CPUPlace()],
        use_buffer_reader=False,
        # Through a pipe: shared memory is short in containers and left behind by kill -9.
        use_shared_memory=False,
    )
    return _steps_of(loader)


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


def _steps_of(loader: paddle.io.DataLoader) -> Iterator[StepBatch]:
    batches = iter(loader)
    while True:
        try:
            packed = next(batches)
        except StopIteration:
            return
        except SystemError as error:
            raise LinguaBridgeError(
                f"a worker process that prepares batches died ({str(error).strip()}); often memory "
                "ran out: lower dataloader_num_workers and run the same command again"
            ) from error
        yield _unpack(packed)


def _ignore_keyboard(_worker: int) -> None:
    """Ctrl-C reaches the whole process group; the training process decides when workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _pack(step: StepBatch) -> IntArray:
    """A step batch as one array: DataLoader sends one array a step, and cannot send none."""
    if _ERROR in step:
        return np.array([-1, *step[_ERROR].encode("utf-8")], dtype=np.int64)
    micro_batches = step["micro_batches"]
    header = [step[name] for name in _COUNTS]
    records: list[NDArray[np.uint8]] = []
    for micro_batch in micro_batches:
        own = micro_batch.get(RECORDS, np.empty([len(micro_batch["labels"]), 0], np.uint8))
        header += [*micro_batch["input_ids"].shape, *own.shape]
        records.append(own.reshape(-1))
    arrays = [micro_batch[name].reshape(-1) for micro_batch in micro_batches for name in _ARRAYS]
    # Bytes travel as whole numbers of eight.
    joined = np.concatenate([np.empty(0, np.uint8), *records])
    joined = np.concatenate([joined, np.zeros(-len(joined) % 8, np.uint8)]).view(np.int64)
    return np.concatenate([[len(micro_batches)], header, *arrays, joined])


def _unpack(packed: paddle.Tensor) -> StepBatch:
    values = packed.numpy()
    if values[0] < 0:
        raise DataError(values[1:].astype(np.uint8).tobytes().decode("utf-8"))
    cursor = 1 + len(_COUNTS)
    shapes = values[cursor : cursor + 4 * values[0]].reshape(-1, 4)  # B, T, P, record_bytes
    step: StepBatch = {
        name: int(value) for name, value in zip(_COUNTS, values[1:cursor], strict=True)
    }
    cursor += shapes.size
    step["micro_batches"] = []
    for rows, longest, targets, _ in shapes.tolist():
        micro_batch = {}
        for name, shape in zip(
            _ARRAYS, ([rows, longest], [targets], [targets], [rows], [1]), strict=True
        ):
            end = cursor + int(np.prod(shape))
            micro_batch[name] = values[cursor:end].reshape(shape)
            cursor = end
        step["micro_batches"].append(micro_batch)
    records, begin = values[cursor:].view(np.uint8), 0
    for micro_batch, (_, _, targets, width) in zip(
        step["micro_batches"], shapes.tolist(), strict=True
    ):
        if width:
            micro_batch[RECORDS] = records[begin : begin + targets * width].reshape(targets, width)
            begin += targets * width
    return step
