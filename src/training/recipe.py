"""What teacher and student do alike around the loop: open the data, resume, train, keep the result.

A recipe (`src.train_teacher`, `src.train_student`) builds the model and the loss and hands both to
`train_model`; the two stages differ in nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.checkpoint.manifest import MANIFEST_NAME
from src.checkpoint.store import FINAL
from src.config import config_fingerprint
from src.errors import DataError
from src.models.factory import Model
from src.monitoring.curves import write_curves
from src.monitoring.metrics import MetricsWriter
from src.schema import Config, TrainerConfig
from src.tokens.cache import TokenCache
from src.tokens.stream import StreamingDataset, evaluation_batches, step_batches
from src.tokens.tokenizer import Tokenizer, find_tokenizer
from src.training.forecast import full_run
from src.training.interrupt import StopRequest
from src.training.loop import LossFunction, Run, fit
from src.training.objective import mean_loss, reference_loss
from src.training.optim import learning_rate_at
from src.training.parallel import Ranks
from src.training.run_folder import SUMMARY_FILE, RunFolder
from src.training.saving import Checkpoints
from src.training.state import TrainingState
from src.training.trainable import Trainable, make_trainable
from src.units import format_count

logger = logging.getLogger(__name__)

# What may change between two starts of one run without changing what is learned.
_FREE_KEYS = (
    "output_dir",
    "dataloader_num_workers",
    "save_steps",
    "logging_steps",
    "save_total_limit",
    "resume_from_checkpoint",
    "use_paddlenlp",
)


@dataclass(frozen=True)
class Corpus:
    """The token cache of the configuration and the tokenizer that made it."""

    cache: TokenCache
    tokenizer: Tokenizer

    @property
    def fingerprint(self) -> str:
        """Changes when the text or the tokenizer does."""
        return f"{self.cache.text_fingerprint}/{self.cache.tokenizer_fingerprint}"


def open_corpus(config: Config) -> Corpus:
    """Opens the token cache.

    Raises:
        DataError: If there is none, or it was made with another tokenizer.
    """
    folder = Path(config.data.output_dir) / "tokens"
    if not folder.is_dir():
        raise DataError(
            f"no token cache in {folder}; run `python run.py process` with this configuration first"
        )
    cache = TokenCache.open(folder)
    tokenizer = find_tokenizer(config)
    cache.require(tokenizer_fingerprint=tokenizer.fingerprint)
    return Corpus(cache, tokenizer)


def run_fingerprint(section: TrainerConfig, ingredients: Mapping[str, str]) -> str:
    """Names a run's result: equal settings and ingredients give equal models.

    Args:
        section: The teacher's or the student's section.
        ingredients: Name and hash of what else goes in: the corpus, the teacher.
    """
    settings = config_fingerprint(section, without=_FREE_KEYS)
    return "/".join((settings, *(ingredients[name] for name in sorted(ingredients))))


def finished_summary(
    section: TrainerConfig, ingredients: Mapping[str, str]
) -> dict[str, Any] | None:
    """The summary of a finished run with these settings and ingredients, or None."""
    path = Path(section.output_dir) / SUMMARY_FILE
    if not path.is_file() or not (path.parent / FINAL / MANIFEST_NAME).is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if summary.get("fingerprint") != run_fingerprint(section, ingredients):
        return None
    logger.info("%s is up to date (%d steps)", section.output_dir, summary["steps"])
    return summary


def train_model(
    config: Config,
    section: TrainerConfig,
    *,
    corpus: Corpus,
    build: Callable[[], tuple[Model, LossFunction]],
    ranks: Ranks,
    ingredients: Mapping[str, str],
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

    Returns:
        The content of summary.json.
    """
    folder = RunFolder(config, section, ingredients=ingredients, ranks=ranks)
    with StopRequest() as stop, folder:
        checkpoint = folder.find_resume()
        model, loss = build()
        trained = make_trainable(section, model)
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
        ranks.copy_from_main(trained.state_tensors())
        data = _Data(config, section, corpus, ranks)
        dataset = data.training_stream(state)
        run = Run(
            config=section,
            ranks=ranks,
            trained=trained,
            learning_rate=learning_rate_at(section, total_steps=data.total_steps(dataset)),
            loss=loss,
            batches=step_batches(dataset, num_workers=section.dataloader_num_workers),
            evaluate=lambda: data.dev_loss(trained),
            state=state,
            total_steps=data.total_steps(dataset),
            saver=saver,
            metrics=_open_metrics(config, section, state, ranks),
            stop=stop,
        )
        _announce(run)
        try:
            exit_reason = fit(run)
        finally:
            if run.metrics is not None:
                run.metrics.close()
                write_curves(Path(section.output_dir))
        weights_sha256 = saver.save_final(state)
    summary = {
        "steps": state.step,
        "tokens_seen": state.tokens_seen,
        "final_loss": state.loss,
        "best_eval_loss": state.best_eval_loss,
        "resumed_from": checkpoint.name if checkpoint else None,
        "exit_reason": exit_reason,
        "weights_sha256": weights_sha256,
        "seconds": round(state.seconds, 1),
        "full_run": _forecast(run, data.full_steps(dataset)),
        "fingerprint": run_fingerprint(section, ingredients),
    }
    folder.write_summary(summary)
    ranks.barrier()
    return summary


@dataclass(frozen=True)
class _Data:
    """The run's view of the corpus: what is streamed for training and read for evaluation."""

    config: Config
    section: TrainerConfig
    corpus: Corpus
    ranks: Ranks

    def training_stream(self, state: TrainingState) -> StreamingDataset:
        """Step batches from the state's position on."""
        if not state.global_batch_size:
            state.global_batch_size = self.section.global_batch_size or (
                self.section.batch_size
                * self.section.gradient_accumulation_steps
                * self.ranks.world_size
            )
        return StreamingDataset(
            self.corpus.cache.split("train"),
            self.corpus.tokenizer,
            language_pairs=self.config.data.language_pairs,
            prompt=self.section.prompt,
            max_seq_length=self.section.max_seq_length,
            global_batch_size=state.global_batch_size,
            batch_size=self.section.batch_size,
            seed=self.section.seed,
            max_samples=self.config.data.max_samples,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
            start_epoch=state.epoch,
            start_batch=state.batch,
        )

    def total_steps(self, dataset: StreamingDataset) -> int:
        """Steps of the whole run."""
        steps = self.full_steps(dataset)
        return steps if self.section.max_steps is None else min(steps, self.section.max_steps)

    def full_steps(self, dataset: StreamingDataset) -> int:
        """Steps of all epochs, whatever max_steps says."""
        return dataset.steps_per_epoch * self.section.num_epochs

    def dev_loss(self, trained: Trainable) -> float:
        """Mean loss against the references of the dev split, nats per target token."""
        batches = evaluation_batches(
            self.corpus.cache.split("dev"),
            self.corpus.tokenizer,
            language_pairs=self.config.data.language_pairs,
            prompt=self.section.prompt,
            max_seq_length=self.section.max_seq_length,
            batch_size=self.section.batch_size,
            max_pairs=self.section.eval_samples,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
        )
        return mean_loss(
            reference_loss(trained.model), batches, ranks=self.ranks, precision=trained.precision
        )


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
    parameters = sum(int(value.size) for value in run.trained.parameters.values())
    logger.info(
        "training %s parameters, %d steps of %d pairs on %d rank%s, from step %d",
        format_count(parameters),
        run.total_steps,
        run.state.global_batch_size,
        run.ranks.world_size,
        "" if run.ranks.world_size == 1 else "s",
        run.state.step,
    )
