"""When memory runs out: smaller micro-batches, and nothing else changes.

A run starts with a forward and backward pass at the largest shape, so that memory runs out in the
first minute or not at all. Where it does, the micro-batch is halved until it fits; the global batch
and the order of the data stay, because a step is the same pairs however they are cut. Ranks agree
on the size. It is part of the saved state: a resumed run cuts as the run before it did.
"""

from __future__ import annotations

import gc
import logging

import paddle

from src.errors import LinguaBridgeError
from src.training.run import Run

logger = logging.getLogger(__name__)


class OutOfMemory(Exception):
    """A pass over a micro-batch did not fit on some rank; raised on every rank."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Paddle or Python says that memory has run out."""
    return isinstance(error, MemoryError) or "ResourceExhausted" in str(error)


def find_micro_batch_size(run: Run) -> None:
    """Tries the largest shape, and lowers the micro-batch until it fits.

    Raises:
        LinguaBridgeError: If a single pair does not fit.
    """
    state, configured = run.state, run.config.batch_size
    if state.configured_batch_size != configured:
        state.configured_batch_size = state.micro_batch_size = configured
    run.trained.model.train()
    while not _largest_shape_fits(run):
        halve_micro_batch(run)


def no_second_try(run: Run, when: str) -> LinguaBridgeError:
    """Memory has run out where other ranks wait in the middle of an exchange."""
    key = "sharding" if run.config.sharding else "tensor_parallel"
    return LinguaBridgeError(
        f"memory ran out in {when}, and with {key}={getattr(run.config, key)} it cannot be done "
        f"again; lower batch_size ({run.config.batch_size}) and run the same command again"
    )


def halve_micro_batch(run: Run) -> None:
    """Goes on with micro-batches of half the size, and says so.

    Raises:
        LinguaBridgeError: If they hold a single pair already.
    """
    state = run.state
    size, length = state.micro_batch_size, run.config.max_seq_length
    run.trained.clear_gradients(keep_memory=False)
    gc.collect()
    if paddle.device.is_compiled_with_cuda():
        paddle.device.cuda.empty_cache()
    if size == 1:
        raise LinguaBridgeError(
            f"memory is not enough for a single pair at max_seq_length={length}; set "
            "gradient_checkpointing=true, lower max_seq_length, or take a smaller model or lora"
        )
    state.micro_batch_size = size // 2
    logger.warning(
        "memory is not enough for batch_size=%d at max_seq_length=%d: going on with micro-batches "
        "of %d; the global batch of %d pairs and the order of the data stay",
        size,
        length,
        state.micro_batch_size,
        state.global_batch_size,
    )


def _largest_shape_fits(run: Run) -> bool:
    """Whether a forward and backward pass at the largest shape fits on every rank."""
    state = run.state
    share = -(-state.global_batch_size // run.ranks.replicas)
    rows = min(state.micro_batch_size, share) if share else state.micro_batch_size
    length = run.config.max_seq_length
    has_run_out = False
    try:
        positions = paddle.arange(rows * length, dtype="int64")
        micro_batch = {
            "input_ids": paddle.zeros([rows, length], dtype="int64"),
            "target_positions": positions,
            "labels": paddle.zeros_like(positions),
            "directions": paddle.zeros([rows], dtype="int64"),
        }
        if run.config.packing:
            places = paddle.arange(length, dtype="int64").expand([rows, length])
            micro_batch |= {
                "position_ids": places,
                "sequence_ends": paddle.full_like(places, length),
            }
        with run.trained.precision.autocast():
            loss = run.loss(micro_batch).total
        run.trained.backward(loss / (rows * length))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if run.trained.fetches_in_passes:
            raise no_second_try(run, "the first pass") from error
        has_run_out = True
    run.trained.clear_gradients()
    return not run.ranks.sum([float(has_run_out)])[0]
