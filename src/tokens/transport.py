"""A step batch as one array, and back: what worker processes send to the training process.

Paddle's DataLoader sends one array a step, and cannot send none. All numbers travel as int64: the
number of micro-batches, the counts of the step, the sizes of each micro-batch, then their arrays
one after another, and at last the bytes of records, filled up to whole numbers of eight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import DataError
from src.tokens.columns import IntArray
from src.tokens.records import RECORDS

StepBatch = dict[str, Any]

POSITION = "position"
"""Name of the step's number in the stream in a micro-batch, from 0 over all epochs: int64 `[1]`."""
ERROR = "error"
"""A step batch of this name alone carries the sentence of a worker's error."""

_COUNTS = ("target_tokens", "padded_tokens", "real_tokens", "pairs", "epoch", "batch")
# Rows, tokens in a row, targets, sequences, bytes of a record, and whether rows are packed.
_SIZES = 6
_ROWS, _TOKENS, _TARGETS, _SEQUENCES = range(4)
_SHAPES = {
    "input_ids": (_ROWS, _TOKENS),
    "target_positions": (_TARGETS,),
    "labels": (_TARGETS,),
    "directions": (_SEQUENCES,),
    POSITION: (),
}
_PACKED_SHAPES = {"position_ids": (_ROWS, _TOKENS), "sequence_ends": (_ROWS, _TOKENS)}


def encode_step(step: StepBatch) -> IntArray:
    """The step batch, or the error, as one array."""
    if ERROR in step:
        return np.array([-1, *step[ERROR].encode("utf-8")], dtype=np.int64)
    micro_batches = step["micro_batches"]
    numbers = [len(micro_batches), *(step[name] for name in _COUNTS)]
    arrays: list[IntArray] = []
    records: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)]
    for part in micro_batches:
        targets, sequences = len(part["labels"]), len(part["directions"])
        own = part.get(RECORDS, np.empty([targets, 0], np.uint8))
        is_packed = "sequence_ends" in part
        numbers += [*part["input_ids"].shape, targets, sequences, own.shape[1], int(is_packed)]
        arrays += [part[name].reshape(-1) for name in _shapes(is_packed=is_packed)]
        records.append(own.reshape(-1))
    joined = np.concatenate(records)
    joined = np.concatenate([joined, np.zeros(-len(joined) % 8, np.uint8)]).view(np.int64)
    return np.concatenate([np.array(numbers, dtype=np.int64), *arrays, joined])


def decode_step(values: IntArray) -> StepBatch:
    """What `encode_step` was given; the arrays share the memory of `values`.

    Raises:
        DataError: If it was an error.
    """
    if values[0] < 0:
        raise DataError(values[1:].astype(np.uint8).tobytes().decode("utf-8"))
    cursor = 1 + len(_COUNTS)
    step: StepBatch = {
        name: int(value) for name, value in zip(_COUNTS, values[1:cursor], strict=True)
    }
    sizes = values[cursor : cursor + _SIZES * values[0]].reshape(-1, _SIZES).tolist()
    cursor += _SIZES * len(sizes)
    step["micro_batches"] = []
    for *own, _, is_packed in sizes:
        part = {}
        for name, axes in _shapes(is_packed=bool(is_packed)).items():
            shape = [own[axis] for axis in axes] or [1]
            end = cursor + int(np.prod(shape))
            part[name] = values[cursor:end].reshape(shape)
            cursor = end
        step["micro_batches"].append(part)
    records, begin = values[cursor:].view(np.uint8), 0
    for part, (_, _, targets, _, width, _) in zip(step["micro_batches"], sizes, strict=True):
        if width:
            part[RECORDS] = records[begin : begin + targets * width].reshape(targets, width)
            begin += targets * width
    return step


def _shapes(*, is_packed: bool) -> dict[str, tuple[int, ...]]:
    return {**_SHAPES, **(_PACKED_SHAPES if is_packed else {})}
