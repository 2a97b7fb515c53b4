"""The one training loop, for teacher and student alike.

A step is one global batch: load, forward and backward per micro-batch, sum over ranks, clip, judge,
update, count, log, save if due, then evaluate if due, then ask whether any rank wants to stop.
Saving comes before evaluating, so that an evaluation that fails costs no training. The loop knows
nothing of teachers, prompts or clouds: it is given a loss, batches and a reason to stop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from src.errors import Interrupted
from src.monitoring.metrics import console_line
from src.training.health import Finding, Measures, judge
from src.training.memory import OutOfMemory, find_micro_batch_size, halve_micro_batch
from src.training.rollback import is_due_back, roll_back
from src.training.run import Run, StepBatch
from src.training.save_schedule import SaveSchedule
from src.training.step import compute_gradients
from src.training.window import Window, window_record

logger = logging.getLogger(__name__)

# This many evaluations in a row without improvement are worth an alert.
_RISING_EVALUATIONS = 3


def fit(run: Run) -> str:
    """Trains from `run.state` to the last step.

    Returns:
        Why it ended: "done" or "early stopping".

    Raises:
        Interrupted: When asked to stop; the state is saved.
        TrainingDiverged: When going back to checkpoints does not help any more.
        LinguaBridgeError: When a single pair does not fit into memory.
    """
    find_micro_batch_size(run)
    run.trained.model.train()
    schedule = SaveSchedule(run.config.save_steps, ranks=run.ranks, pace=run.pace)
    while (ended := _fit_line(run, schedule)) is None:
        roll_back(run)
    return ended


def _fit_line(run: Run, schedule: SaveSchedule) -> str | None:
    """Trains from `run.state` to the end; None: the run has to go back to a checkpoint."""
    # A checkpoint is saved before its step is evaluated: that is left to who goes on from it.
    if _is_due(run, run.config.eval_steps) and _evaluate(run):
        return "early stopping"
    batches = run.open_batches(run.state)
    window = Window()
    while run.state.step < run.total_steps:
        try:
            _train_step(run, batches, window)
        except OutOfMemory:
            halve_micro_batch(run)
            batches = run.open_batches(run.state)
            continue
        if is_due_back(run):
            return None
        if _is_due(run, run.config.logging_steps):
            _log(run, window)
            window = Window()
        if schedule.is_due(run.state) or run.state.step == run.total_steps:
            _save(run, schedule)
        if _is_due(run, run.config.eval_steps) and _evaluate(run):
            return "early stopping"
        _stop_if_asked(run)
    return "done"


def _train_step(run: Run, batches: Iterator[StepBatch], window: Window) -> None:
    """Loads one global batch and learns from it, unless the step is sick.

    Raises:
        OutOfMemory: If it does not fit; nothing has changed then.
    """
    state = run.state
    began = time.perf_counter()
    batch = next(batches)
    window.data_seconds += time.perf_counter() - began
    # A rollback has found this batch at the end of a line that went wrong.
    if state.step not in state.health.passed_over:
        _learn(run, batch, window)
    is_new_epoch = batch["epoch"] > state.epoch
    state.step += 1
    state.epoch, state.batch = batch["epoch"], batch["batch"]
    state.pairs_seen += batch["pairs"]
    state.tokens_seen += batch["real_tokens"]
    seconds = time.perf_counter() - began
    state.seconds += seconds
    run.pace.add_step(seconds)
    if is_new_epoch:
        loss = "" if state.loss is None else f", loss {state.loss:.4f}"
        run.alert("epoch", f"epoch {state.epoch} at step {state.step}{loss}")


def _learn(run: Run, batch: StepBatch, window: Window) -> None:
    """Computes the gradients of one global batch and, if all is well, updates the weights."""
    state, trained = run.state, run.trained
    rate = run.learning_rate(state.step) * state.health.learning_rate_factor
    trained.optimizer.set_lr(rate)
    gradients = compute_gradients(run, batch)
    window.own_seconds += gradients.seconds
    judgement = judge(
        Measures(
            loss=gradients.loss_sum / batch["target_tokens"],
            gradient_norm=gradients.norm,
            rate=float(trained.optimizer.get_lr()),
            scheduled_rate=rate,
            peak_rate=run.config.learning_rate,
            may_overflow=trained.precision.may_overflow,
        ),
        state.health,
        run.config.health,
    )
    if judgement.is_good:
        trained.step()
        window.add(batch, gradients)
        if gradients.small is not None:
            state.noise.add(
                small_square=gradients.small.square,
                small_pairs=gradients.small.pairs,
                big_square=gradients.norm**2,
                big_pairs=batch["pairs"],
            )
    else:
        trained.precision.skip()
    trained.clear_gradients()
    for finding in judgement.findings:
        _report(run, finding, is_news=judgement.is_news)


def _report(run: Run, finding: Finding, *, is_news: bool) -> None:
    """Logs what was unusual about the step that is being done, and alerts at its first sign."""
    step = run.state.step + 1
    text = f"step {step}: {finding.message}"
    if is_news:
        run.alert("non_finite" if finding.fault == "not_finite" else "spike", text)
    elif run.ranks.is_main:
        logger.warning("%s", text)
    if run.metrics is not None:
        run.metrics.write({"step": step, "fault": finding.fault, "message": finding.message})


def _is_due(run: Run, every: int) -> bool:
    """Whether something that happens every so many steps, and at the end, is due."""
    step = run.state.step
    return step > 0 and (step % every == 0 or step == run.total_steps)


def _log(run: Run, window: Window) -> None:
    """One record and one console line for the steps since the last."""
    if not window.steps:
        return
    record = window_record(run, window)
    run.state.loss = record["loss"]
    if run.metrics is None:
        return
    run.metrics.write(record)
    logger.info("%s", console_line(record))
    used = record.get("gpu_utilization")
    if used is not None and run.idle.add(used):
        run.alert("low_gpu", f"step {run.state.step}: the GPUs are {100 * used:.0f} % busy")


def _save(run: Run, schedule: SaveSchedule) -> None:
    began = time.perf_counter()
    run.saver.save(run.state)
    schedule.saved(run.state, time.perf_counter() - began)
    _alert_of_failed_saves(run)


def _alert_of_failed_saves(run: Run) -> None:
    """Saves go on behind the training, so a failure is seen at the next one at the latest."""
    for reason in run.saver.new_failures():
        run.alert("save_failed", reason)


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
    text = (
        f"step {state.step}  dev loss {loss:.4f}  "
        f"best {state.best_eval_loss:.4f} at step {state.best_step}"
    )
    logger.info("%s", text)
    if run.metrics is not None:
        run.metrics.write({"step": state.step, "eval_loss": loss})
    if state.evaluations_without_improvement == _RISING_EVALUATIONS:
        run.alert("validation_rising", f"{text}; no better in {_RISING_EVALUATIONS} evaluations")
    patience = config.early_stopping_patience
    return patience is not None and state.evaluations_without_improvement >= patience


def _stop_if_asked(run: Run) -> None:
    """Ranks agree: when one was asked to stop, all save and stop, and know why."""
    asked = run.ranks.collect(1.0 if run.stop.reason else 0.0)
    if any(asked) and run.state.step < run.total_steps:
        reason = run.ranks.share_text(run.stop.reason or "", source=asked.index(1.0))
        where = run.saver.save(run.state, blocking=True)
        raise Interrupted(reason, run.state.step, where)
