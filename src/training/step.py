"""The gradients of one global batch: forward and backward per micro-batch, then a sum over ranks.

Nothing is changed here but gradients, so a pass that runs out of memory can be done again with
smaller micro-batches, and a step that turns out sick can be left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paddle

from src.errors import DataError
from src.training.losses import scalar
from src.training.memory import OutOfMemory, is_out_of_memory, no_second_try
from src.training.optim import gradient_norm
from src.training.run import Run, StepBatch, to_tensors
from src.training.state import step_seed


@dataclass(frozen=True)
class SmallBatch:
    """What the noise scale compares a step with; means over ranks.

    Attributes:
        square: Squared norm of a micro-batch's gradient, of the mean over its own tokens.
        pairs: In the micro-batch.
    """

    square: float
    pairs: float


@dataclass(frozen=True)
class Gradients:
    """What a pass over a global batch gave; the gradients themselves stand at the parameters.

    Attributes:
        loss_sum: Over the target tokens of all ranks, nats.
        cross_entropy_sum: Likewise.
        divergence_sum: Likewise; 0 without a teacher.
        norm: Global norm before clipping.
        seconds: This rank's own passes, without waiting for others.
        small: Only with health.noise_scale, and where a step has several micro-batches.
    """

    loss_sum: float
    cross_entropy_sum: float
    divergence_sum: float
    norm: float
    seconds: float
    small: SmallBatch | None


def compute_gradients(run: Run, batch: StepBatch) -> Gradients:
    """Forward, backward, sum over ranks and clipping for one global batch.

    Raises:
        OutOfMemory: If a rank's memory has run out; no gradient is left then.
    """
    trained = run.trained
    paddle.seed(step_seed(run.config.seed, run.state.step, run.ranks.replica))
    began = time.perf_counter()
    sums, has_run_out = _SmallSums(), False
    try:
        _pass_over(run, batch, sums)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if trained.exchanges_in_passes:  # the other ranks wait in the middle of the exchange
            raise no_second_try(run, f"step {run.state.step + 1}") from error
        has_run_out = True
    seconds = time.perf_counter() - began
    *totals, ran_out = run.ranks.sum_replicas([*sums.values(), float(has_run_out)])
    if ran_out:
        raise OutOfMemory
    norm = trained.sum_and_clip(run.ranks, max_norm=run.config.max_grad_norm)
    loss, cross_entropy, divergence, small_square, small_pairs, small_count = totals
    small = None
    if small_count and small_pairs / small_count < batch["pairs"]:
        small = SmallBatch(small_square / small_count, small_pairs / small_count)
    return Gradients(loss, cross_entropy, divergence, norm, seconds, small)


@dataclass
class _SmallSums:
    """What one rank adds to the sum over ranks.

    Attributes:
        loss: Over this rank's target tokens; so are cross_entropy and divergence.
        small_square: Squared norm of one micro-batch's gradient, for the noise scale.
        small_pairs: Pairs in it.
        small_count: 1 where there was one.
    """

    loss: float = 0.0
    cross_entropy: float = 0.0
    divergence: float = 0.0
    small_square: float = 0.0
    small_pairs: float = 0.0
    small_count: float = 0.0

    def values(self) -> list[float]:
        return [
            self.loss,
            self.cross_entropy,
            self.divergence,
            self.small_square,
            self.small_pairs,
            self.small_count,
        ]


def _pass_over(run: Run, batch: StepBatch, sums: _SmallSums) -> None:
    precision = run.trained.precision
    wants_noise = run.config.health.noise_scale
    micro_batches = batch["micro_batches"]
    if wants_noise:
        micro_batches = _rotated(micro_batches, run.state.step)
    shards = run.trained.shards
    if shards is not None:
        shards.in_step(together=True)
        _require_equal_passes(run, len(micro_batches))
    for arrays in micro_batches:
        with precision.autocast():
            loss = run.loss(to_tensors(arrays))
        run.trained.backward(loss.total / batch["target_tokens"])
        sums.loss += scalar(loss.total)
        sums.cross_entropy += scalar(loss.cross_entropy)
        sums.divergence += 0.0 if loss.divergence is None else scalar(loss.divergence)
        if wants_noise and not sums.small_count:
            # Divided by the tokens of the whole step above; here by its own.
            share = len(arrays["labels"]) / batch["target_tokens"]
            norm = gradient_norm(run.trained.parameters) / precision.loss_scale / share
            sums.small_square, sums.small_count = norm**2, 1.0
            sums.small_pairs = float(len(arrays["directions"]))
    if shards is not None:
        shards.in_step(together=False)


def _require_equal_passes(run: Run, passes: int) -> None:
    """Gradients are exchanged once per pass, so a rank without pairs would keep the others waiting.

    Raises:
        DataError: If a step has fewer pairs than there are ranks.
    """
    if run.config.sharding > 1 and min(run.ranks.collect(passes)) == 0:
        raise DataError(
            f"step {run.state.step + 1} has fewer pairs than there are ranks, which "
            f"sharding={run.config.sharding} cannot share out; set sharding=1, or another "
            "global_batch_size"
        )


def _rotated(micro_batches: Sequence[Any], step: int) -> Sequence[Any]:
    """Another one first at each step: they come the longest first."""
    first = step % max(1, len(micro_batches))
    return [*micro_batches[first:], *micro_batches[:first]]
