"""The one training loop, for teacher and student alike.

A step is one global batch: load, forward and backward per micro-batch, sum over ranks, clip,
update, count, log, save if due, then evaluate if due, then ask whether any rank wants to stop.
Saving comes before evaluating, so that an evaluation that fails costs no training. The loop knows
nothing of teachers, prompts or clouds: it is given a loss, batches and a reason to stop.
"""

from __future__ import annotations

import logging
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import paddle
from paddle import Tensor

from src.errors import Interrupted, LinguaBridgeError, TrainingDiverged
from src.monitoring.metrics import MetricsWriter, console_line
from src.schema import TrainerConfig
from src.training.forecast import Pace
from src.training.interrupt import StopRequest
from src.training.losses import TokenLoss, scalar
from src.training.optim import clip_gradients
from src.training.parallel import Ranks
from src.training.state import TrainingState, step_seed
from src.training.trainable import Trainable

logger = logging.getLogger(__name__)

MicroBatch = Mapping[str, Tensor]
LossFunction = Callable[[MicroBatch], TokenLoss]
_MOST_SKIPPED_IN_A_ROW = 5


class Saver(Protocol):
    """What the loop asks of checkpointing; `src.training.saving` does it."""

    def save(self, state: TrainingState, *, blocking: bool = False) -> Path:
        """Saves the state of the finished step; returns where."""

    def keep_best(self, state: TrainingState) -> None:
        """Remembers the weights of this step as the best so far."""


@dataclass
class Run:
    """Everything a run consists of, put together by a recipe.

    Attributes:
        config: The teacher's or the student's section.
        ranks: This process among its peers.
        trained: The model, its parameters, optimizer and number format.
        learning_rate: Step (from 0) to learning rate.
        loss: Loss of one micro-batch, summed over its target tokens.
        batches: Step batches of this rank, from the state's position on.
        evaluate: Mean loss on the dev split, nats per target token; the same on every rank.
        state: Where the run stands; changed in place.
        total_steps: Steps of the whole run.
        saver: Writes checkpoints.
        metrics: Writes records; None on ranks that do not.
        stop: Collects reasons to stop.
        pace: Takes up how long steps and evaluations take.
    """

    config: TrainerConfig
    ranks: Ranks
    trained: Trainable
    learning_rate: Callable[[int], float]
    loss: LossFunction
    batches: Iterator[dict[str, Any]]
    evaluate: Callable[[], float]
    state: TrainingState
    total_steps: int
    saver: Saver
    metrics: MetricsWriter | None
    stop: StopRequest
    pace: Pace = field(default_factory=Pace)


@dataclass
class _Window:
    """What has been added up since the last log line."""

    started: float = field(default_factory=time.perf_counter)
    steps: int = 0
    loss_sum: float = 0.0
    cross_entropy_sum: float = 0.0
    divergence_sum: float = 0.0
    target_tokens: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0
    pairs: int = 0
    data_seconds: float = 0.0
    grad_norm: float = 0.0


def fit(run: Run) -> str:
    """Trains from `run.state` to the last step.

    Returns:
        Why it ended: "done" or "early stopping".

    Raises:
        Interrupted: When asked to stop; the state is saved.
        TrainingDiverged: When the loss is not finite again and again.
    """
    _dry_run(run)
    run.trained.model.train()
    # A kill between saving and evaluating a step left that evaluation to us.
    if _is_due(run, run.config.eval_steps) and _evaluate(run):
        return "early stopping"
    window = _Window()
    skipped_in_a_row = 0
    while run.state.step < run.total_steps:
        began = time.perf_counter()
        batch = next(run.batches)
        window.data_seconds += time.perf_counter() - began
        is_good = _step(run, batch, window)
        seconds = time.perf_counter() - began
        run.state.seconds += seconds
        run.pace.add_step(seconds)
        skipped_in_a_row = 0 if is_good else skipped_in_a_row + 1
        if skipped_in_a_row == _MOST_SKIPPED_IN_A_ROW:
            raise TrainingDiverged(
                f"the loss or the gradients were not finite in {skipped_in_a_row} steps in a row, "
                f"the last at step {run.state.step}; lower learning_rate "
                f"({run.config.learning_rate:g}) and resume",
                run.state.step,
            )
        if _is_due(run, run.config.logging_steps):
            _log(run, window)
            window = _Window()
        if _is_due(run, run.config.save_steps):
            run.saver.save(run.state)
        if _is_due(run, run.config.eval_steps) and _evaluate(run):
            return "early stopping"
        _stop_if_asked(run)
    return "done"


def _step(run: Run, batch: dict[str, Any], window: _Window) -> bool:
    """One global batch; returns whether the weights were updated."""
    state, trained = run.state, run.trained
    parameters, precision = trained.parameters, trained.precision
    paddle.seed(step_seed(run.config.seed, state.step, run.ranks.rank))
    trained.optimizer.set_lr(run.learning_rate(state.step))
    sums = [0.0, 0.0, 0.0]
    for arrays in batch["micro_batches"]:
        loss = _forward(run, to_tensors(arrays))
        precision.backward(loss.total / batch["target_tokens"])
        sums[0] += scalar(loss.total)
        sums[1] += scalar(loss.cross_entropy)
        sums[2] += 0.0 if loss.divergence is None else scalar(loss.divergence)
    run.ranks.sum_gradients(parameters)
    sums = run.ranks.sum(sums)
    precision.unscale(trained.optimizer)
    norm = clip_gradients(parameters, max_norm=run.config.max_grad_norm)
    is_good = math.isfinite(sums[0]) and math.isfinite(norm)
    if is_good:
        trained.step()
        _add_to_window(window, batch, sums, norm)
    else:
        precision.skip()
        state.skipped_steps += 1
        logger.warning("step %d skipped: loss %s, gradient norm %s", state.step + 1, sums[0], norm)
    trained.optimizer.clear_grad()
    state.step += 1
    state.epoch, state.batch = batch["epoch"], batch["batch"]
    state.pairs_seen += batch["pairs"]
    state.tokens_seen += batch["real_tokens"]
    return is_good


def _forward(run: Run, micro_batch: MicroBatch) -> TokenLoss:
    with run.trained.precision.autocast():
        return run.loss(micro_batch)


def to_tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """A micro-batch of NumPy arrays as tensors on the current device."""
    return {name: paddle.to_tensor(array) for name, array in arrays.items()}


def _add_to_window(
    window: _Window, batch: Mapping[str, Any], sums: list[float], norm: float
) -> None:
    window.steps += 1
    window.loss_sum += sums[0]
    window.cross_entropy_sum += sums[1]
    window.divergence_sum += sums[2]
    window.target_tokens += batch["target_tokens"]
    window.real_tokens += batch["real_tokens"]
    window.padded_tokens += batch["padded_tokens"]
    window.pairs += batch["pairs"]
    window.grad_norm = norm


def _is_due(run: Run, every: int) -> bool:
    """Whether something that happens every so many steps, and at the end, is due."""
    step = run.state.step
    return step > 0 and (step % every == 0 or step == run.total_steps)


def _log(run: Run, window: _Window) -> None:
    """One record and one console line for the steps since the last."""
    if not window.steps:
        return
    state = run.state
    seconds = time.perf_counter() - window.started
    state.loss = window.loss_sum / window.target_tokens
    has_teacher = window.divergence_sum != 0.0
    record = {
        "step": state.step,
        "epoch": state.epoch,
        "tokens_seen": state.tokens_seen,
        "loss": state.loss,
        "cross_entropy": window.cross_entropy_sum / window.target_tokens,
        "divergence": window.divergence_sum / window.target_tokens if has_teacher else None,
        "lr": run.learning_rate(state.step - 1),
        "grad_norm": window.grad_norm,
        "tokens_per_second": window.real_tokens / seconds,
        "samples_per_second": window.pairs / seconds,
        "data_seconds": window.data_seconds,
        "compute_seconds": seconds - window.data_seconds,
        "padding_fraction": 1 - window.real_tokens / window.padded_tokens,
        "memory_bytes": _memory_bytes(),
        "total_steps": run.total_steps,
        "seconds_left": (run.total_steps - state.step) * state.seconds / state.step,
    }
    if run.metrics is None:
        return
    run.metrics.write(record)
    logger.info("%s", console_line(record))


def _evaluate(run: Run) -> bool:
    """Evaluates once per step; returns whether patience has run out."""
    state, config = run.state, run.config
    if state.evaluated_step == state.step:
        return False
    began = time.perf_counter()
    run.trained.model.eval()
    with run.trained.as_published():
        loss = run.evaluate()
    run.trained.model.train()
    seconds = time.perf_counter() - began
    state.seconds += seconds
    run.pace.add_evaluation(seconds)
    state.evaluated_step = state.step
    best = state.best_eval_loss
    is_better = best is None or loss < best - config.early_stopping_threshold
    if best is None or loss < best:
        state.best_eval_loss, state.best_step = loss, state.step
        run.saver.keep_best(state)
    state.evaluations_without_improvement = (
        0 if is_better else state.evaluations_without_improvement + 1
    )
    logger.info(
        "step %d  dev loss %.4f  best %.4f at step %d",
        state.step,
        loss,
        state.best_eval_loss,
        state.best_step,
    )
    if run.metrics is not None:
        run.metrics.write({"step": state.step, "eval_loss": loss})
    patience = config.early_stopping_patience
    return patience is not None and state.evaluations_without_improvement >= patience


def _stop_if_asked(run: Run) -> None:
    """Ranks agree: when one was asked to stop, all save and stop."""
    asked = run.ranks.sum([1.0 if run.stop.reason else 0.0])[0]
    if asked and run.state.step < run.total_steps:
        where = run.saver.save(run.state, blocking=True)
        raise Interrupted(run.stop.reason or "another rank", run.state.step, where)


def _dry_run(run: Run) -> None:
    """Forward and backward at the largest shape, so that memory runs out now or not at all."""
    rows, length = run.config.batch_size, run.config.max_seq_length
    positions = paddle.arange(rows * length, dtype="int64")
    micro_batch = {
        "input_ids": paddle.zeros([rows, length], dtype="int64"),
        "target_positions": positions,
        "labels": paddle.zeros_like(positions),
        "directions": paddle.zeros([rows], dtype="int64"),
    }
    run.trained.model.train()
    try:
        run.trained.precision.backward(_forward(run, micro_batch).total / (rows * length))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "ResourceExhausted" not in str(error):
            raise
        raise LinguaBridgeError(
            f"memory is not enough for batch_size={rows} at max_seq_length={length}; halve "
            "batch_size and double gradient_accumulation_steps, or set gradient_checkpointing=true"
        ) from error
    run.trained.optimizer.clear_grad()


def _memory_bytes() -> int:
    """Peak memory: of the GPU where there is one, else resident memory of this process."""
    if paddle.device.is_compiled_with_cuda():
        return int(paddle.device.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
