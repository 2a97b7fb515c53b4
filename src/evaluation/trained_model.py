"""A model folder and all that is needed to ask it: settings, tokenizer, prompts, weights.

A model folder says itself how it wants to be asked: `config.json` holds an object "linguabridge"
with the prompt kind, the directions and the trained length. A folder from elsewhere has none and is
asked in Qwen's chat format. Paddle and the weights are loaded only when they are first used, after
the folder has proved usable.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.errors import CheckpointCorrupt, ConfigError, ModelError
from src.files import expand_home
from src.languages import split_direction
from src.models.hub import CONFIG_FILE, find_model_folder, read_json
from src.schema import Config
from src.tokens.prompts import Prompt, build_prompt
from src.tokens.tokenizer import Tokenizer, find_tokenizer, load_tokenizer

if TYPE_CHECKING:
    from src.models.factory import Model

logger = logging.getLogger(__name__)

_TOKENIZER_FILES = ("tokenizer.json", "merges.txt")


@dataclass(frozen=True)
class ModelSettings:
    """What a model folder says about its use.

    Attributes:
        prompt: How source and target are put to it.
        directions: Such as "en-zh", source first.
        max_length: Tokens of prompt, source and target that the model knows.
    """

    prompt: str
    directions: tuple[str, ...]
    max_length: int


class TrainedModel:
    """A model folder, ready to be asked.

    Attributes:
        folder: The model folder.
        settings: What the folder says about its use.
        tokenizer: Its own, or else the configuration's.
        prompts: Direction → prompt.
    """

    def __init__(self, folder: str | Path, *, config: Config | None = None) -> None:
        """Reads everything but the weights.

        Args:
            folder: In Hugging Face layout.
            config: Names the tokenizer where the folder holds none.

        Raises:
            ModelError: If the folder is missing, incomplete, or its parts do not fit together.
        """
        self.folder = _usable_folder(folder)
        self.settings = read_settings(self.folder)
        self.tokenizer = _find_tokenizer(self.folder, config)
        self.prompts = _build_prompts(self.folder, self.settings, self.tokenizer)

    @cached_property
    def model(self) -> Model:
        """Model and weights in float32, loaded when first asked for.

        Raises:
            ModelError: If the weights are damaged, or the tokenizer belongs to another model.
        """
        from src.models.factory import load_model, require_vocabulary

        try:
            model = load_model(str(self.folder))
        except CheckpointCorrupt as error:
            raise ModelError(
                f"model folder {error.path} is damaged: {error.reason}; copy it again, or train "
                "again"
            ) from error
        require_vocabulary(model, vocab_size=self.tokenizer.vocab_size, name=str(self.folder))
        return model

    def prompt(self, direction: str) -> Prompt:
        """The prompt of a direction.

        Raises:
            ModelError: If the model does not know it.
        """
        try:
            return self.prompts[direction]
        except KeyError:
            raise ModelError(
                f"model {self.folder} translates {', '.join(self.prompts)}, not {direction}; use "
                "another model or name one of its directions"
            ) from None


def read_settings(folder: Path) -> ModelSettings:
    """What `config.json` says about prompt, directions and length.

    Raises:
        ModelError: If the file is not a JSON object or says something impossible.
    """
    content: dict[str, Any] = read_json(folder / CONFIG_FILE)
    ours = content.get("linguabridge", {})
    try:
        settings = ModelSettings(
            prompt=str(ours.get("prompt", "chatml")),
            directions=tuple(ours.get("language_pairs", ("en-zh", "zh-en"))),
            max_length=int(
                ours.get("max_seq_length") or content.get("max_position_embeddings") or 512
            ),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f'{folder / CONFIG_FILE} has an unusable object "linguabridge": {ours!r}'
        ) from error
    try:
        languages = [split_direction(str(way)) for way in settings.directions]
    except ValueError as error:
        raise ModelError(
            f"{folder / CONFIG_FILE} names a direction that is none: {error}"
        ) from error
    if not languages:
        raise ModelError(f'{folder / CONFIG_FILE} names no direction such as "en-zh"')
    return settings


def _usable_folder(model_folder: str | Path) -> Path:
    folder = expand_home(model_folder)
    if not folder.is_dir():
        raise ModelError(
            f"no model in {folder}; train one first (`python run.py student`) or name a folder "
            "with --model FOLDER"
        )
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(
            f"{folder} is not a model folder, it has no {CONFIG_FILE}; name one such as "
            "models/student/final"
        )
    find_model_folder(str(folder))
    return folder


def _find_tokenizer(folder: Path, config: Config | None) -> Tokenizer:
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return load_tokenizer(str(folder))
    lack = f"model folder {folder} has no tokenizer ({' or '.join(_TOKENIZER_FILES)})"
    if config is None:
        raise ModelError(f"{lack}; copy the one it was trained with there")
    try:
        tokenizer = find_tokenizer(config)
    except ModelError as error:
        raise ModelError(
            f"{lack}, nor has the configuration: {str(error).partition(';')[0]}; copy the one it "
            "was trained with there"
        ) from error
    logger.info("%s has no tokenizer; using %s", folder, tokenizer.name)
    return tokenizer


def _build_prompts(
    folder: Path, settings: ModelSettings, tokenizer: Tokenizer
) -> dict[str, Prompt]:
    try:
        return {
            direction: build_prompt(settings.prompt, tokenizer, *split_direction(direction))
            for direction in settings.directions
        }
    except ConfigError as error:
        raise ModelError(f"{folder / CONFIG_FILE}: {error}") from error
