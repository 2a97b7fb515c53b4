"""What goes into a checkpoint, and how a run gets it back.

A checkpoint is a model folder in Hugging Face layout (weights, config.json, tokenizer) with the
optimizer and the counters beside it, so `best`, `final` and every checkpoint can be evaluated,
used as a teacher, or read by other tools. `model.safetensors`, or `adapter.safetensors` of a run
with LoRA, is always what one would use. With a moving average that is the average, and
`raw.safetensors` holds the weights that training goes on from. `final` of a run with LoRA holds the
merged model and the adapter.

Writing and choosing is `src.checkpoint`; this module knows what Paddle's objects hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path

from paddle import Tensor

from src.checkpoint.format import HostTensor, read_tensors, write_folder
from src.checkpoint.manifest import MANIFEST_NAME, Manifest, read_manifest
from src.checkpoint.store import BEST, FINAL, step_name
from src.config import config_to_yaml
from src.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound
from src.models.description import published_config
from src.models.factory import Model, stored_weights
from src.models.hub import ADAPTER_CONFIG_FILE, ADAPTER_FILE, CONFIG_FILE, WEIGHTS_FILE
from src.models.lora import adapter_document, merge_adapter
from src.schema import Config, TrainerConfig
from src.tokens.tokenizer import Tokenizer
from src.training.optim import optimizer_tensors
from src.training.parallel import Ranks
from src.training.run_folder import RunFolder
from src.training.run_settings import CONFIG_COPY
from src.training.snapshot import Snapshot
from src.training.state import TrainingState
from src.training.trainable import Trainable

logger = logging.getLogger(__name__)

RAW_FILE = "raw.safetensors"
OPTIMIZER_FILE = "optimizer-rank00000.safetensors"
STATE_FILE = "state.json"
_IN_GOOD_HEALTH = "in_good_health"


class Checkpoints:
    """Saves and restores one run.

    Every rank calls the same methods; only the main rank writes. The others take part where the
    optimizer's state is spread over ranks.

    Args:
        folder: Of the run.
        config: Saved with every checkpoint.
        section: The teacher's or the student's section.
        trained: What is saved and restored.
        tokenizer: Saved with every checkpoint.
        start: Fingerprint of the model the run started from.
        ranks: This process among its peers.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        section: TrainerConfig,
        *,
        trained: Trainable,
        tokenizer: Tokenizer,
        start: str,
        ranks: Ranks,
    ) -> None:
        self._folder = folder
        self._manager = folder.manager
        self._section = section
        self._trained = trained
        self._ranks = ranks
        self._weights_file = WEIGHTS_FILE
        self._documents = {
            **_tokenizer_documents(tokenizer),
            CONFIG_FILE: _model_document(config, section, trained.model, tokenizer),
            CONFIG_COPY: config_to_yaml(config),
        }
        if section.lora is not None:
            self._weights_file = ADAPTER_FILE
            self._documents[ADAPTER_CONFIG_FILE] = adapter_document(
                section.lora, base=section.model_name, base_fingerprint=start
            )
        self._saved_step: int | None = None
        self._snapshot = Snapshot()
        self._failures_told = 0

    def restore(self, path: Path | None) -> TrainingState:
        """Puts a checkpoint's content into what is trained; the state of step 0 without one.

        Raises:
            CheckpointError, ModelError: If the checkpoint does not fit this run.
        """
        if path is None:
            return TrainingState()
        self._restore_weights(path)
        self._trained.restore_optimizer(read_tensors(path / OPTIMIZER_FILE))
        content = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        self._trained.precision.restore(content["loss_scaler"])
        state = TrainingState.from_json(json.dumps(content["state"]))
        self._saved_step = state.step
        self._repair_best(state)
        if content["world_size"] != self._ranks.world_size:
            logger.info(
                "%s was saved by %d ranks and goes on with %d: the global batch of %d pairs and "
                "the order of the data stay",
                path.name,
                content["world_size"],
                self._ranks.world_size,
                state.global_batch_size,
            )
        return state

    def save(self, state: TrainingState, *, blocking: bool = False) -> Path:
        """Saves the state of the finished step; returns where.

        Raises:
            CheckpointError: Only with `blocking`: the checkpoint is not on disk.
        """
        if blocking or self._saved_step != state.step:
            weights = None if self._trained.has_whole_weights else self._weight_files()
            optimizer = self._trained.gather_optimizer()
            if self._ranks.is_main:
                self._write(state, weights, optimizer, blocking=blocking)
            self._ranks.barrier()  # the save before may have kept the main rank
            self._saved_step = state.step
        return self._folder.path / step_name(state.step)

    def keep_best(self, state: TrainingState) -> None:
        """Makes `best` the model of this step, saving it first where it was not due."""
        self.save(state)
        if self._ranks.is_main:
            self._manager.mark_best(state.step)

    def roll_back(self, state: TrainingState) -> TrainingState | None:
        """Puts back the newest checkpoint that was saved in good health; None without one.

        One that was gone back to before is taken only where there is no other.
        """

        def find() -> str:
            found = self._find_good(state, without=state.health.rolled_back_to)
            return str(found or self._find_good(state, without=()) or "")

        path = self._ranks.ask_main(find)
        return self.restore(Path(path)) if path else None

    def new_failures(self) -> list[str]:
        """Why saves have failed since this was asked last, one sentence each."""
        new = [failure.reason for failure in self._manager.failures[self._failures_told :]]
        self._failures_told += len(new)
        return new

    def save_final(self, state: TrainingState) -> str:
        """Makes `final` the model as it is now; returns the SHA-256 of its weights in name order.

        Raises:
            CheckpointError: If it could not be written.
        """
        weights = self._trained.gather_weights(self._trained.published)
        lora = self._section.lora
        files = {} if lora is None else self._weight_files()
        if lora is not None and self._ranks.is_main:
            base = stored_weights(self._section.model_name)
            weights = merge_adapter(base, weights, scaling=lora.alpha / lora.r)
        self.save(state)
        self._manager.wait()
        self._ranks.barrier()
        has_failed = any(failure.step == state.step for failure in self._manager.failures)
        if self._ranks.from_main(float(has_failed)):
            self.save(state, blocking=True)
        if self._ranks.is_main:
            if lora is None:
                self._manager.save_final(state.step)
            else:
                self._write_merged({WEIGHTS_FILE: weights, **files}, state)
        return self._ranks.ask_main(lambda: weights_sha256(weights))

    def _write(
        self,
        state: TrainingState,
        weights: Mapping[str, Mapping[str, HostTensor]] | None,
        optimizer: Mapping[str, HostTensor] | None,
        *,
        blocking: bool,
    ) -> None:
        """Copies everything to host memory and hands it over; only on the main rank.

        Args:
            state: Of the finished step.
            weights: By file, where they were spread over ranks; None: they are here.
            optimizer: Its state likewise.
            blocking: Returns when the checkpoint is on disk.
        """
        trained = self._trained
        here: dict[str, Mapping[str, Tensor]] = {}
        if weights is None:
            here[self._weights_file] = trained.published
            if trained.average is not None:
                here[RAW_FILE] = trained.parameters
        own = {}
        if optimizer is None:
            own = optimizer_tensors(trained.optimizer, trained.parameters)
        self._manager.wait()  # the save in flight holds the snapshot before
        files, copied = self._snapshot.take(weights=here, others=own)
        self._manager.save(
            state.step,
            tensors={
                **(files if weights is None else weights),
                OPTIMIZER_FILE: copied if optimizer is None else optimizer,
            },
            documents={**self._documents, STATE_FILE: self._state_document(state)},
            facts={**self._folder.facts, _IN_GOOD_HEALTH: state.health.skipped_in_a_row == 0},
            blocking=blocking,
        )

    def _find_good(self, state: TrainingState, *, without: Collection[int]) -> Path | None:
        """The newest checkpoint of this line that was saved in good health."""

        def why_not(manifest: Manifest) -> str | None:
            facts = manifest.facts
            if manifest.step > state.step or any(
                facts.get(name) != value for name, value in self._folder.facts.items()
            ):
                return "it belongs to another line of training"
            if manifest.step in without:
                return "the run has gone back to it before"
            return None if facts.get(_IN_GOOD_HEALTH) else "it was saved between sick steps"

        try:
            found = self._manager.find_resume("auto", why_not)
        except CheckpointNotFound:
            return None
        return found.path if found else None

    def _write_merged(
        self, files: Mapping[str, Mapping[str, HostTensor]], state: TrainingState
    ) -> None:
        """Makes `final` of a run with LoRA: a plain model, with the adapter beside it."""
        target = self._folder.path / FINAL
        try:
            write_folder(
                target,
                step=state.step,
                parent=step_name(state.step),
                tensors=files,
                documents={**self._documents, STATE_FILE: self._state_document(state)},
                facts={
                    **self._folder.facts,
                    "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                },
            )
        except OSError as error:
            raise CheckpointError(
                f"could not write {target}: {error.strerror or error}; make room and start again, "
                f"{step_name(state.step)} is whole"
            ) from error
        logger.info("%s is now the merged model of step %d", target, state.step)

    def _weight_files(self) -> dict[str, dict[str, HostTensor]]:
        """Copies by file, whole on the main rank; every rank calls it."""
        trained = self._trained
        files = {self._weights_file: trained.gather_weights(trained.published)}
        if trained.average is not None:
            files[RAW_FILE] = trained.gather_weights(trained.kept)
        return files

    def _restore_weights(self, path: Path) -> None:
        published = read_tensors(path / self._weights_file)
        has_average = (path / RAW_FILE).is_file()
        weights = read_tensors(path / RAW_FILE) if has_average else published
        self._trained.restore_weights(weights, source=str(path))
        average = self._trained.average
        if average is not None and has_average:
            self._trained.restore_average(published, source=str(path))
        elif average is not None:
            average.restart()
            logger.info("%s holds no moving average: it starts at these weights", path.name)
        elif has_average:
            logger.info("the moving average in %s is given up: ema_decay is null", path.name)

    def _repair_best(self, state: TrainingState) -> None:
        """Points `best` to the best step, where a kill came between the save and that."""
        step = state.best_step
        if step is None or not self._ranks.is_main:
            return
        try:
            is_current = read_manifest(self._folder.path / BEST).step == step
        except CheckpointCorrupt:
            is_current = False
        if not is_current and (self._folder.path / step_name(step) / MANIFEST_NAME).is_file():
            self._manager.mark_best(step)

    def _state_document(self, state: TrainingState) -> str:
        content = {
            "state": json.loads(state.to_json()),
            "loss_scaler": self._trained.precision.state(),
            "world_size": self._ranks.world_size,
        }
        return json.dumps(content, indent=2)


def weights_sha256(weights: Mapping[str, HostTensor]) -> str:
    """Hash of all weights' bytes in name order: equal for equal models."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].data.tobytes())
    return digest.hexdigest()


def _tokenizer_documents(tokenizer: Tokenizer) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return {
            path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())
        }


def _model_document(
    config: Config, section: TrainerConfig, model: Model, tokenizer: Tokenizer
) -> str:
    """config.json: the published keys, what ends a text, and how this project prompts the model."""
    content = {
        **published_config(model),
        "eos_token_id": tokenizer.eos_id,
        "linguabridge": {
            "prompt": section.prompt,
            "language_pairs": list(config.data.language_pairs),
            "max_seq_length": section.max_seq_length,
        },
    }
    return json.dumps(content, indent=2) + "\n"
