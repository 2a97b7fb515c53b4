"""The folder of a run: what goes into its checkpoints, and how a run gets it back.

A checkpoint is a model folder in Hugging Face layout (weights, config.json, tokenizer) with the
optimizer and the counters beside it, so `best`, `final` and every checkpoint can be evaluated,
used as a teacher, or read by other tools. Writing and choosing is `src.checkpoint`; this module
knows what Paddle's objects hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.checkpoint.format import HostTensor, read_tensors
from src.checkpoint.manager import CheckpointManager
from src.checkpoint.manifest import MANIFEST_NAME, Manifest, read_manifest
from src.checkpoint.store import BEST, step_name
from src.config import config_to_yaml
from src.errors import CheckpointCorrupt
from src.files import write_text
from src.models.factory import Model, published_config, set_weights, weight_arrays
from src.models.hub import CONFIG_FILE, WEIGHTS_FILE
from src.schema import Config, TrainerConfig
from src.tokens.tokenizer import Tokenizer
from src.training.optim import optimizer_arrays, restore_optimizer
from src.training.parallel import Ranks
from src.training.state import TrainingState
from src.training.trainable import Trainable

logger = logging.getLogger(__name__)

OPTIMIZER_FILE = "optimizer-rank00000.safetensors"
STATE_FILE = "state.json"
SUMMARY_FILE = "summary.json"


class RunFolder:
    """Saves and restores one run; a context manager that waits for the save in flight.

    Only the main rank writes; the others call the same methods, which do nothing there.

    Args:
        config: Saved with every checkpoint.
        section: The teacher's or the student's section.
        trained: What is saved and restored.
        tokenizer: Saved with every checkpoint.
        ingredients: What the run is made from besides its settings, e.g. {"corpus": fingerprint}; a
            checkpoint made from others is refused.
        ranks: This process among its peers.
    """

    def __init__(
        self,
        config: Config,
        section: TrainerConfig,
        *,
        trained: Trainable,
        tokenizer: Tokenizer,
        ingredients: Mapping[str, str],
        ranks: Ranks,
    ) -> None:
        self._section = section
        self._trained = trained
        self._ranks = ranks
        self._folder = Path(section.output_dir)
        self._facts: dict[str, object] = {
            "ingredients": dict(ingredients),
            "stream": _stream_facts(config, section),
        }
        self._documents = {
            **_tokenizer_documents(tokenizer),
            CONFIG_FILE: _model_document(config, section, trained.model),
            "config.yaml": config_to_yaml(config),
        }
        self._manager = CheckpointManager(
            self._folder, keep_last=section.save_total_limit, is_main=ranks.is_main
        )
        self._saved_step: int | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def resume(self) -> tuple[TrainingState, str | None]:
        """Restores the newest usable checkpoint, or starts at step 0.

        Returns:
            The state, and the name of the checkpoint it came from.

        Raises:
            CheckpointError, ModelError: If a checkpoint was found but does not fit this run.
        """
        path = ""
        if self._ranks.is_main:
            found = self._manager.find_resume(
                self._section.resume_from_checkpoint, self._why_foreign
            )
            path = str(found.path) if found else ""
        path = self._ranks.share_text(path)
        if not path:
            return TrainingState(), None
        folder = Path(path)
        set_weights(self._trained.model, read_tensors(folder / WEIGHTS_FILE), source=path)
        restore_optimizer(
            self._trained.optimizer,
            self._trained.parameters,
            read_tensors(folder / OPTIMIZER_FILE),
        )
        content = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        self._trained.precision.restore(content["loss_scaler"])
        state = TrainingState.from_json(json.dumps(content["state"]))
        self._saved_step = state.step
        self._repair_best(state)
        return state, folder.name

    def save(self, state: TrainingState, *, blocking: bool = False) -> Path:
        """Saves the state of the finished step; returns where.

        Raises:
            CheckpointError: Only with `blocking`: the checkpoint is not on disk.
        """
        if self._ranks.is_main and (blocking or self._saved_step != state.step):
            self._manager.save(
                state.step,
                tensors={
                    WEIGHTS_FILE: weight_arrays(self._trained.model),
                    OPTIMIZER_FILE: optimizer_arrays(
                        self._trained.optimizer, self._trained.parameters
                    ),
                },
                documents={**self._documents, STATE_FILE: self._state_document(state)},
                facts=self._facts,
                blocking=blocking,
            )
            self._saved_step = state.step
        return self._folder / step_name(state.step)

    def keep_best(self, state: TrainingState) -> None:
        """Makes `best` the model of this step, saving it first where it was not due."""
        if self._ranks.is_main:
            self.save(state)
            self._manager.mark_best(state.step)

    def save_final(self, state: TrainingState) -> str:
        """Makes `final` the model as it is now; returns the SHA-256 of its weights in name order.

        Raises:
            CheckpointError: If it could not be written.
        """
        weights = weight_arrays(self._trained.model)
        if self._ranks.is_main:
            self.save(state)
            self._manager.wait()
            if any(failure.step == state.step for failure in self._manager.failures):
                self.save(state, blocking=True)
            self._manager.save_final(state.step)
        return weights_sha256(weights)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json; its presence says that the run is finished."""
        if self._ranks.is_main:
            write_text(self._folder / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")

    def _repair_best(self, state: TrainingState) -> None:
        """Points `best` to the best step, where a kill came between the save and that."""
        step = state.best_step
        if step is None or not self._ranks.is_main:
            return
        try:
            is_current = read_manifest(self._folder / BEST).step == step
        except CheckpointCorrupt:
            is_current = False
        if not is_current and (self._folder / step_name(step) / MANIFEST_NAME).is_file():
            self._manager.mark_best(step)

    def _state_document(self, state: TrainingState) -> str:
        content = {
            "state": json.loads(state.to_json()),
            "loss_scaler": self._trained.precision.state(),
            "world_size": self._ranks.world_size,
        }
        return json.dumps(content, indent=2)

    def _why_foreign(self, manifest: Manifest) -> str | None:
        """Why a whole checkpoint must not be continued by this run, or None."""
        changed = [
            f"{key} was {theirs!r} and is {mine!r} now"
            for key, mine, theirs in _differences(self._facts["stream"], manifest.facts, "stream")
        ]
        changed += [
            f"it was made with another {key}"
            for key, _, _ in _differences(self._facts["ingredients"], manifest.facts, "ingredients")
        ]
        return "; ".join(changed) or None


def _differences(
    mine: object, facts: Mapping[str, object], name: str
) -> list[tuple[str, object, object]]:
    """Keys whose values differ between this run's facts and a manifest's: key, mine, theirs."""
    theirs = facts.get(name)
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return [(name, mine, theirs)]
    keys = sorted(set(mine) | set(theirs))
    return [
        (key, mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)
    ]


def weights_sha256(weights: Mapping[str, HostTensor]) -> str:
    """Hash of all weights' bytes in name order: equal for equal models."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].data.tobytes())
    return digest.hexdigest()


def _stream_facts(config: Config, section: TrainerConfig) -> dict[str, object]:
    """What decides which batch comes at which step."""
    return {
        "seed": section.seed,
        "prompt": section.prompt,
        "max_seq_length": section.max_seq_length,
        "language_pairs": list(config.data.language_pairs),
        "max_samples": dict(config.data.max_samples),
    }


def _tokenizer_documents(tokenizer: Tokenizer) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return {
            path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())
        }


def _model_document(config: Config, section: TrainerConfig, model: Model) -> str:
    """config.json: the published keys, and how this project prompts the model."""
    content = {
        **published_config(model),
        "linguabridge": {
            "prompt": section.prompt,
            "language_pairs": list(config.data.language_pairs),
            "max_seq_length": section.max_seq_length,
        },
    }
    return json.dumps(content, indent=2) + "\n"
