"""Going back to the last good checkpoint after repeated sick steps.

Weights, optimizer, counters and the position in the data become those of the checkpoint; the
learning rate is lowered for the rest of the run, and the batches of the sick steps are passed over
when they come again, so neither too high a rate nor poisoned data leads to the same place twice. A
checkpoint that was gone back to before is avoided while there is another: it may have been sick
already.

A killed run that had gone back comes to the same decision again, from the same checkpoints. Only a
checkpoint that a stop on request has saved in between can change which one is gone back to.
"""

from __future__ import annotations

from src.errors import TrainingDiverged
from src.training.run import Run


def is_due_back(run: Run) -> bool:
    """Whether so many steps were skipped in a row that going on makes no sense."""
    return run.state.health.skipped_in_a_row >= run.config.health.rollback_after


def roll_back(run: Run) -> None:
    """Makes `run.state`, weights and optimizer those of the last good checkpoint.

    Raises:
        TrainingDiverged: If there is no such checkpoint, or too many rollbacks were made.
    """
    past, config = run.state, run.config.health
    rollbacks = len(past.health.rolled_back_to)
    restored = run.saver.roll_back(past) if rollbacks < config.max_rollbacks else None
    if restored is None:
        why = "there is no good checkpoint to go back to"
        if rollbacks >= config.max_rollbacks:
            why = f"going back {rollbacks} times did not help"
        raise TrainingDiverged(
            f"{past.health.skipped_in_a_row} steps in a row were skipped, the last at step "
            f"{past.step}, because the loss or the gradients were not finite or far above the "
            f"usual, and {why}; lower learning_rate ({run.config.learning_rate:g}) and resume",
            past.step,
        )
    restored.health.after_rollback(
        past.health, step=past.step, target=restored.step, factor=config.rollback_lr_factor
    )
    restored.seconds, restored.starts = past.seconds, past.starts
    restored.stall_seconds, restored.next_save_step = past.stall_seconds, 0
    restored.configured_batch_size = past.configured_batch_size
    restored.micro_batch_size = past.micro_batch_size
    run.state = restored
    text = (
        f"{past.health.skipped_in_a_row} steps in a row were skipped, the last at step "
        f"{past.step}: went back to step {restored.step}; the learning rate is now "
        f"{restored.health.learning_rate_factor:g} times the schedule"
    )
    run.alert("rollback", text)
    if run.metrics is not None:
        run.metrics.cut_behind(restored.step)
        run.metrics.write({"step": restored.step, "fault": "rollback", "message": text})
