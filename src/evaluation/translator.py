"""Text to text with a trained model: the class behind the commands evaluate and translate.

A model folder says itself how it wants to be asked: `config.json` holds an object "linguabridge"
with the prompt kind, the directions and the trained length. A folder from elsewhere has none and is
asked in Qwen's chat format. Paddle is loaded only after the folder has proved usable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.errors import CheckpointCorrupt, ConfigError, ModelError
from src.evaluation.segments import clean_line, directions_from, join_pieces, split_to_fit
from src.languages import split_direction
from src.models.hub import CONFIG_FILE, find_model_folder, read_json
from src.schema import Config
from src.tokens.prompts import Prompt, build_prompt
from src.tokens.tokenizer import Tokenizer, find_tokenizer, load_tokenizer

logger = logging.getLogger(__name__)

_TOKENIZER_FILES = ("tokenizer.json", "merges.txt")

# A source may take this share of the length that the model was trained on, the prompt not counted;
# its translation needs the rest.
_SOURCE_SHARE = 0.6
_SHORTEST_SOURCE = 8
_SHOWN_CHARACTERS = 40


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


class Translator:
    """A model folder that translates.

    Attributes:
        folder: The model folder.
        directions: Directions that the model was trained for.
    """

    def __init__(
        self,
        model_folder: str | Path,
        *,
        batch_size: int,
        max_new_tokens: int,
        beam_size: int = 1,
        config: Config | None = None,
    ) -> None:
        """Reads the model.

        Args:
            model_folder: Folder in Hugging Face layout.
            batch_size: Sentences decoded together.
            max_new_tokens: Longest translation of one sentence, in tokens.
            beam_size: 1 is greedy search.
            config: Names the tokenizer where the model folder holds none.

        Raises:
            ModelError: If the folder is missing, incomplete, or its parts do not fit together.
        """
        self.folder = _usable_folder(model_folder)
        self._settings = read_settings(self.folder)
        self.directions = self._settings.directions
        self._tokenizer = _find_tokenizer(self.folder, config)
        self._prompts = _build_prompts(self.folder, self._settings, self._tokenizer)
        self._decode = _load_decoder(
            self.folder,
            self._tokenizer,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            beam_size=beam_size,
        )
        self._max_new_tokens = max_new_tokens

    def translate(
        self,
        texts: Sequence[str],
        *,
        direction: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Translates each text; line breaks inside a text stay where they are.

        Args:
            texts: Any text. Invisible characters are removed, runs of white space become one
                space, an empty line stays empty, a line too long for the model is translated
                sentence by sentence.
            direction: None: the one direction of the model whose source language the text may be
                in, by its script; from Chinese where it holds any Chinese character, for example.
            progress: Called with the number of sentences done and of all.

        Raises:
            ModelError: If the model does not know the direction.
            ConfigError: If none is given and several are possible.
        """
        documents = [[clean_line(line) for line in text.split("\n")] for text in texts]
        directions = [direction or self.direction_of(text) for text in texts]
        lines = {
            (way, line): [line]
            for way, document in zip(directions, documents, strict=True)
            for line in document
            if line
        }
        self._split_long_lines(lines)
        translations = self._translate_pieces(lines, progress)
        return [
            "\n".join(
                join_pieces([translations[way, piece] for piece in lines[way, line]])
                if line
                else ""
                for line in document
            )
            for way, document in zip(directions, documents, strict=True)
        ]

    def direction_of(self, text: str) -> str:
        """The direction in which `translate` takes a text when none is given.

        Raises:
            ConfigError: If several are possible, or none.
        """
        if len(self.directions) == 1:
            return self.directions[0]
        found = directions_from(text, self.directions)
        if len(found) != 1:
            raise ConfigError(
                f"'{text[:_SHOWN_CHARACTERS]}' may be for {' or '.join(found or self.directions)}, "
                "its script does not tell; name one with --direction"
            )
        return found[0]

    def _split_long_lines(self, lines: dict[tuple[str, str], list[str]]) -> None:
        keys = list(lines)
        sizes = self._count_tokens([line for _, line in keys])
        for (direction, line), size in zip(keys, sizes, strict=True):
            limit = self._source_limit(self._prompt(direction))
            if size > limit:
                lines[direction, line] = split_to_fit(line, limit=limit, measure=self._count_tokens)

    def _translate_pieces(
        self,
        lines: dict[tuple[str, str], list[str]],
        progress: Callable[[int, int], None] | None,
    ) -> dict[tuple[str, str], str]:
        """Each different piece once: repeated sentences cost nothing."""
        pieces = list(
            dict.fromkeys((way, piece) for way, line in lines for piece in lines[way, line])
        )
        sources = self._tokenizer.encode_batch([piece for _, piece in pieces])
        prompts = [
            self._prompt(way).opening(ids) for (way, _), ids in zip(pieces, sources, strict=True)
        ]
        done = 0

        def count(sentences: int) -> None:
            nonlocal done
            done += sentences
            if progress is not None:
                progress(done, len(prompts))

        results = self._decode(prompts, count)
        # One line in is one line out, also when the model writes a line break.
        return {
            piece: " ".join(self._tokenizer.decode(ids).split())
            for piece, ids in zip(pieces, results, strict=True)
        }

    def _prompt(self, direction: str) -> Prompt:
        try:
            return self._prompts[direction]
        except KeyError:
            raise ModelError(
                f"model {self.folder} translates {', '.join(self.directions)}, not {direction}; "
                "use another model or name one of its directions"
            ) from None

    def _source_limit(self, prompt: Prompt) -> int:
        room = _SOURCE_SHARE * (self._settings.max_length - prompt.overhead)
        return max(_SHORTEST_SOURCE, min(int(room), self._max_new_tokens))

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._tokenizer.encode_batch(texts)]


def model_folder(config: Config, model: str | None) -> str:
    """The folder a command means: `model`, or the trained student."""
    return model or str(Path(config.student.output_dir) / "final")


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
    folder = Path(model_folder).expanduser()
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
            f"{lack}, nor has the configuration: {error}. Or copy the one it was trained with there"
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


def _load_decoder(
    folder: Path, tokenizer: Tokenizer, *, batch_size: int, max_new_tokens: int, beam_size: int
) -> Callable[[list[list[int]], Callable[[int], None]], list[list[int]]]:
    """Loads Paddle and the weights; gives the function from prompts to new ids."""
    from src.evaluation.decode import translate_ids
    from src.models.factory import load_model, require_vocabulary

    try:
        model = load_model(str(folder))
    except CheckpointCorrupt as error:
        raise ModelError(
            f"model folder {error.path} is damaged: {error.reason}; copy it again, or train again"
        ) from error
    require_vocabulary(model, vocab_size=tokenizer.vocab_size, name=str(folder))

    def decode(prompts: list[list[int]], progress: Callable[[int], None]) -> list[list[int]]:
        return translate_ids(
            model,
            prompts,
            eos_id=tokenizer.eos_id,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            vocab_size=tokenizer.vocab_size,
            beam_size=beam_size,
            progress=progress,
        )

    return decode
