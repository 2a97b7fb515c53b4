"""What teacher and student do alike around the loop: open the data, resume, train, keep the result.

A recipe (`src.train_teacher`, `src.train_student`) builds the model and the loss and hands both to
`train_model`; the two stages differ in nothing else.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from src.checkpoint.manifest import MANIFEST_NAME
from src.checkpoint.pending import finish_uploads
from src.checkpoint.store import FINAL
from src.errors import Interrupted
from src.models.factory import Model
from src.monitoring.alert import Alert, log_alert, no_alert
from src.monitoring.curves import write_curves
from src.monitoring.gpu import open_gpu
from src.monitoring.metrics import MetricsWriter
from src.schema import Config, TrainerConfig
from src.stop_source import StopSource
from src.tokens.stream import StreamingDataset
from src.training.corpus import Corpus, RunData, open_corpus
from src.training.devices import require_devices
from src.training.forecast import full_run
from src.training.interrupt import StopRequest
from src.training.loop import fit
from src.training.optim import learning_rate_at
from src.training.parallel import Ranks, form_replicas
from src.training.run import LossFunction, Run, no_readings
from src.training.run_folder import SUMMARY_FILE, RunFolder
from src.training.run_settings import run_fingerprint, say_what_changed
from src.training.saving import Checkpoints
from src.training.state import TrainingState
from src.training.trainable import Trainable, make_trainable
from src.units import format_count

__all__ = [
    "Corpus",
    "finished_summary",
    "open_corpus",
    "train_model",
]

logger = logging.getLogger(__name__)


def finished_summary(
    section: TrainerConfig, ingredients: Mapping[str, str]
) -> dict[str, Any] | None:
    """The summary of a finished run with these settings and ingredients, or None.

    What its store still lacks is uploaded first; the ranks have not met yet, so one does it.
    """
    path = Path(section.output_dir) / SUMMARY_FILE
    if not path.is_file() or not (path.parent / FINAL / MANIFEST_NAME).is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if summary.get("fingerprint") != run_fingerprint(section, ingredients):
        return None
    logger.info("%s is up to date (%d steps)", section.output_dir, summary["steps"])
    if section.checkpoint_store and os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
        finish_uploads(path.parent, section.checkpoint_store, keep_last=section.save_total_limit)
    return summary


def train_model(
    config: Config,
    section: TrainerConfig,
    *,
    corpus: Corpus,
    build: Callable[[], tuple[Model, LossFunction]],
    ranks: Ranks,
    ingredients: Mapping[str, str],
    alert: Alert = log_alert,
    stop_sources: Sequence[StopSource] = (),
) -> dict[str, Any]:
    """Trains, resumes where there is something to resume, and writes the final model.

    What there is to resume is decided before the model is built: a checkpoint that does not fit is
    refused in seconds.

    Args:
        config: The whole configuration; saved with every checkpoint.
        section: `config.teacher` or `config.student`.
        corpus: Data and tokenizer.
        build: Makes the model to train, and its loss on one micro-batch.
        ranks: This process among its peers.
        ingredients: See `run_fingerprint`; "model" is what `build` starts from.
        alert: Takes kind and text of what somebody should hear of; used on the main rank.
        stop_sources: Reasons to stop besides signals; active on one rank of each machine.

    Returns:
        The content of summary.json.

    Raises:
        ConfigError: If the folder holds a finished run with other settings.
        DataError: If there is nothing to evaluate on.
    """
    require_devices(section, ranks)
    ranks = form_replicas(ranks, tensor_parallel=section.tensor_parallel)
    alert = alert if ranks.is_main else no_alert
    folder = RunFolder(config, section, ingredients=ingredients, ranks=ranks)
    data = RunData(config, section, corpus, ranks)
    data.require_dev_pairs()
    with StopRequest() as stop, folder, ExitStack() as sources:
        checkpoint = folder.find_resume()
        for source in stop_sources if ranks.is_first_on_machine else ():
            sources.enter_context(source(stop.ask))
        gpu = sources.enter_context(open_gpu()) if ranks.is_main else no_readings
        model, loss = build()
        trained = make_trainable(section, model, ranks)
        saver = Checkpoints(
            folder,
            config,
            section,
            trained=trained,
            tokenizer=corpus.tokenizer,
            start=ingredients["model"],
            ranks=ranks,
        )
        state = saver.restore(checkpoint)
        state.starts, state.next_save_step = state.starts + 1, 0
        ranks.barrier()  # machines load models unequally fast
        ranks.copy_from_main(trained.state_tensors())
        dataset = data.training_stream(state)
        if checkpoint:
            say_what_changed(section, checkpoint, is_done=state.step >= data.total_steps(dataset))
        run = _make_run(data, dataset, trained=trained, loss=loss, state=state, saver=saver)
        run.stop, run.alert, run.gpu = stop, alert, gpu
        _announce(run)
        exit_reason, weights_sha256 = _fit(run, saver)
    summary = {
        **_result(run),
        "resumed_from": checkpoint.name if checkpoint else None,
        "exit_reason": exit_reason,
        "weights_sha256": weights_sha256,
        "full_run": _forecast(run, data.full_steps(dataset)),
        "fingerprint": run_fingerprint(section, ingredients),
    }
    folder.write_summary(summary)
    ranks.barrier()
    return summary


def _make_run(
    data: RunData,
    dataset: StreamingDataset,
    *,
    trained: Trainable,
    loss: LossFunction,
    state: TrainingState,
    saver: Checkpoints,
) -> Run:
    """Puts together what the loop drives; nobody is told and nothing stops it yet."""
    section = data.section
    total_steps = data.total_steps(dataset)
    return Run(
        config=section,
        ranks=data.ranks,
        trained=trained,
        learning_rate=learning_rate_at(section, total_steps=total_steps),
        loss=loss,
        open_batches=lambda position: data.open_batches(dataset, position),
        evaluate=lambda: data.dev_loss(trained),
        state=state,
        total_steps=total_steps,
        saver=saver,
        metrics=_open_metrics(data.config, section, state, data.ranks),
        stop=StopRequest(),
    )


def _fit(run: Run, saver: Checkpoints) -> tuple[str, str]:
    """Trains and makes the final model; why it ended, and the hash of the weights.

    Failures are alerted, and what was written along the way is closed.
    """
    try:
        exit_reason = fit(run)
        weights_sha256 = saver.save_final(run.state)
    except Interrupted:
        raise
    except Exception as error:
        run.alert("failed", f"at step {run.state.step}: {error}")
        raise
    finally:
        if run.metrics is not None:
            run.metrics.close()
            write_curves(Path(run.config.output_dir))
    best = run.state.best_eval_loss
    dev_loss = "" if best is None else f", best dev loss {best:.4f}"
    run.alert("finished", f"{exit_reason} after {run.state.step} steps{dev_loss}")
    return exit_reason, weights_sha256


def _result(run: Run) -> dict[str, Any]:
    state = run.state
    return {
        "steps": state.step,
        "tokens_seen": state.tokens_seen,
        "final_loss": state.loss,
        "best_eval_loss": state.best_eval_loss,
        "skipped_steps": state.health.skipped,
        "rollbacks": len(state.health.rolled_back_to),
        "micro_batch_size": state.micro_batch_size,
        "starts": state.starts,
        "seconds": round(state.seconds, 1),
    }


def _open_metrics(
    config: Config, section: TrainerConfig, state: TrainingState, ranks: Ranks
) -> MetricsWriter | None:
    if not ranks.is_main:
        return None
    return MetricsWriter(
        Path(section.output_dir), visualdl=config.monitoring.visualdl, resume_step=state.step
    )


def _forecast(run: Run, full_steps: int) -> dict[str, float] | None:
    """Says what all epochs would take where `max_steps` ended the run; for the summary."""
    section = run.config
    if (
        section.max_steps is None
        or run.state.step < run.total_steps
        or full_steps <= run.total_steps
    ):
        return None
    forecast = full_run(
        run.pace, steps=full_steps, epochs=section.num_epochs, eval_steps=section.eval_steps
    )
    if forecast is None:
        return None
    logger.info("%s", forecast.in_words(section.max_steps))
    return forecast.as_json()


def _announce(run: Run) -> None:
    text = (
        f"{format_count(run.trained.count_parameters())} parameters, {run.total_steps} steps of "
        f"{run.state.global_batch_size} pairs on {run.ranks.world_size} "
        f"rank{'' if run.ranks.world_size == 1 else 's'}, from step {run.state.step}"
    )
    run.alert("resumed" if run.state.step else "started", text)
