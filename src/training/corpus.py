"""The corpus of a run: the token cache, and what is streamed from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.errors import DataError
from src.languages import split_direction
from src.schema import Config, TrainerConfig
from src.tokens.cache import TokenCache
from src.tokens.stream import StepBatch, StreamingDataset, evaluation_batches, step_batches
from src.tokens.tokenizer import Tokenizer, find_tokenizer
from src.training.objective import mean_loss, reference_loss
from src.training.parallel import Ranks
from src.training.state import TrainingState
from src.training.trainable import Trainable


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


@dataclass(frozen=True)
class RunData:
    """The run's view of the corpus: what is streamed for training and read for evaluation."""

    config: Config
    section: TrainerConfig
    corpus: Corpus
    ranks: Ranks

    def require_dev_pairs(self) -> None:
        """Refuses a corpus without dev pairs before there is a model.

        Raises:
            DataError: Naming the key and the remedy.
        """
        split = self.corpus.cache.split("dev")
        if not any(
            len(split.rows_of(*split_direction(name))[0])
            for name in self.config.data.language_pairs
        ):
            raise DataError(
                "the dev split holds no pairs, and training is evaluated on them; set "
                "data.splits.dev to 500, say, and run `python run.py process` again"
            )

    def training_stream(self, state: TrainingState) -> StreamingDataset:
        """Step batches from the state's position on."""
        if not state.global_batch_size:
            state.global_batch_size = self.section.global_batch_size or (
                self.section.batch_size
                * self.section.gradient_accumulation_steps
                * self.ranks.replicas
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
            packing=self.section.packing,
            max_samples=self.config.data.max_samples,
            rank=self.ranks.replica,
            world_size=self.ranks.replicas,
            start_epoch=state.epoch,
            start_batch=state.batch,
        )

    def open_batches(self, dataset: StreamingDataset, state: TrainingState) -> Iterator[StepBatch]:
        """Step batches from a state's position on, in its micro-batches."""
        stream = dataset.opened_at(
            epoch=state.epoch, batch=state.batch, batch_size=state.micro_batch_size
        )
        return step_batches(stream, num_workers=self.section.dataloader_num_workers)

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
            rank=self.ranks.replica,
            world_size=self.ranks.replicas,
        )
        return mean_loss(
            reference_loss(trained.model),
            batches,
            ranks=self.ranks,
            precision=trained.precision,
            in_step=trained.fetches_in_passes,
        )
