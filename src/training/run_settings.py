"""The settings of a run compared with those that its checkpoints were made with.

Every checkpoint holds the configuration of the run that wrote it. What must not change at all is in
its manifest (`src.training.run_folder`); of the rest a run that goes on with other values says so,
and a finished run keeps its name: other settings would be another model.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from src.config import config_fingerprint
from src.errors import ConfigError
from src.schema import StudentConfig, TrainerConfig

logger = logging.getLogger(__name__)

CONFIG_COPY = "config.yaml"
# What may change between two starts of one run without changing what is learned.
_FREE_KEYS = (
    "output_dir",
    "dataloader_num_workers",
    "save_steps",
    "logging_steps",
    "save_total_limit",
    "sharding",
    "tensor_parallel",
    "resume_from_checkpoint",
    "checkpoint_store",
    "use_paddlenlp",
)
# What makes a run longer or cuts its steps into other pieces; a step's pairs are fixed at step 0.
_LENGTH_KEYS = ("max_steps", "num_epochs", "batch_size", "gradient_accumulation_steps")


def run_fingerprint(section: TrainerConfig, ingredients: Mapping[str, str]) -> str:
    """Names a run's result: equal settings and ingredients give equal models.

    Args:
        section: The teacher's or the student's section.
        ingredients: Name and hash of what else goes in: the corpus, the teacher.
    """
    settings = config_fingerprint(section, without=_FREE_KEYS)
    return "/".join((settings, *(ingredients[name] for name in sorted(ingredients))))


def changed_settings(section: TrainerConfig, checkpoint: Path) -> list[str]:
    """What is set otherwise now than when a checkpoint was written, in words.

    Args:
        section: The teacher's or the student's section.
        checkpoint: Folder of the checkpoint; one without a configuration differs in nothing.
    """
    try:
        document = yaml.safe_load((checkpoint / CONFIG_COPY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    name = "student" if isinstance(section, StudentConfig) else "teacher"
    theirs = dict(_flat(document.get(name, {})))
    free = (*_FREE_KEYS, *_LENGTH_KEYS)
    return [
        f"{key} was {_word(theirs[key])} and is {_word(value)} now"
        for key, value in _flat(section.model_dump(mode="json"))
        if key.split(".")[0] not in free and key in theirs and theirs[key] != value
    ]


def say_what_changed(section: TrainerConfig, checkpoint: Path, *, is_done: bool) -> None:
    """Warns of settings that a run goes on with and its checkpoint was not made with.

    Args:
        section: The teacher's or the student's section.
        checkpoint: What is resumed.
        is_done: Whether there is nothing left to train.

    Raises:
        ConfigError: If settings have changed and nothing is left to train: the finished model would
            be called the result of settings that it was not made with.
    """
    changed = "; ".join(changed_settings(section, checkpoint))
    if changed and is_done:
        raise ConfigError(
            f"{section.output_dir} holds a finished run with other settings ({changed}); choose "
            "another output_dir, or set them back"
        )
    if changed:
        logger.warning("going on from %s with other settings: %s", checkpoint, changed)


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`a.b` for what lies below."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)
