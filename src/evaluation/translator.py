"""Text to text with a trained model: the class behind evaluate, translate and serve.

Lines are cleaned, cut where they are too long, translated once each, mended where they lose what
must not change (`src.evaluation.repair`) and joined again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from src.errors import ConfigError
from src.evaluation.repair import Decoder, Piece, Warnings, repair
from src.evaluation.segments import clean_line, directions_from, join_pieces, split_to_fit
from src.evaluation.trained_model import TrainedModel
from src.evaluation.translation import Translation
from src.schema import Config
from src.tokens.prompts import Prompt

Progress = Callable[[int, int], None]

# A source may take this share of the length that the model was trained on, the prompt not counted;
# its translation needs the rest.
_SOURCE_SHARE = 0.6
_SHORTEST_SOURCE = 8
_SHOWN_CHARACTERS = 40
# Where the most likely translation loses something: so many others are looked through.
_ALTERNATIVES = 4


class Translator:
    """A model folder that translates.

    Attributes:
        folder: The model folder.
        directions: Directions that the model was trained for.
        trained: The folder's settings, tokenizer, prompts and weights.
    """

    def __init__(
        self,
        model_folder: str | Path,
        *,
        batch_size: int,
        max_new_tokens: int,
        beam_size: int = 1,
        preserve: bool = True,
        config: Config | None = None,
    ) -> None:
        """Reads the model.

        Args:
            model_folder: Folder in Hugging Face layout.
            batch_size: Sentences decoded together.
            max_new_tokens: Longest translation of one sentence, in tokens.
            beam_size: 1 is greedy search.
            preserve: Repairs translations that lose placeholders, markup or numbers, and warns of
                what they still lose.
            config: Names the tokenizer where the model folder holds none.

        Raises:
            ModelError: If the folder is missing, incomplete, or its parts do not fit together.
        """
        from src.evaluation.search import check_beam  # Paddle takes seconds to import

        self.trained = TrainedModel(model_folder, config=config)
        self.folder = self.trained.folder
        self.directions = self.trained.settings.directions
        self._tokenizer = self.trained.tokenizer
        check_beam(beam_size, self._tokenizer.vocab_size)
        self._batch_size = batch_size
        self._max_new_tokens = max_new_tokens
        self._beam_size = beam_size
        self._preserve = preserve
        _ = self.trained.model  # loaded now, so that what is wrong with it is said now

    def translate(
        self,
        texts: Sequence[str],
        *,
        direction: str | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """The texts of `translate_checked`, which says what the arguments mean."""
        found = self.translate_checked(texts, direction=direction, progress=progress)
        return [translation.text for translation in found]

    def translate_checked(
        self,
        texts: Sequence[str],
        *,
        direction: str | None = None,
        progress: Progress | None = None,
    ) -> list[Translation]:
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
        translations, warnings = self._translate_pieces(lines, progress)
        found = []
        for way, document in zip(directions, documents, strict=True):
            pieces = [[(way, piece) for piece in lines.get((way, line), [])] for line in document]
            text = "\n".join(
                join_pieces([translations[piece] for piece in line]) for line in pieces
            )
            told = [warning for line in pieces for piece in line for warning in warnings[piece]]
            found.append(Translation(text, tuple(dict.fromkeys(told))))
        return found

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

    def _split_long_lines(self, lines: dict[Piece, list[str]]) -> None:
        keys = list(lines)
        sizes = self._count_tokens([line for _, line in keys])
        for (direction, line), size in zip(keys, sizes, strict=True):
            limit = self._source_limit(self.trained.prompt(direction))
            if size > limit:
                lines[direction, line] = split_to_fit(line, limit=limit, measure=self._count_tokens)

    def _translate_pieces(
        self, lines: dict[Piece, list[str]], progress: Progress | None
    ) -> tuple[dict[Piece, str], Warnings]:
        """Each different piece once: repeated sentences cost nothing."""
        pieces = list(
            dict.fromkeys((way, piece) for way, line in lines for piece in lines[way, line])
        )
        translations = self._decode(pieces, progress)
        warnings: Warnings = dict.fromkeys(pieces, ())
        if self._preserve:
            warnings |= repair(translations, Decoder(self._decode, self._alternatives))
        return translations, warnings

    def _decode(
        self, pieces: Sequence[Piece], progress: Progress | None = None
    ) -> dict[Piece, str]:
        from src.evaluation.decode import translate_ids

        prompts = self._prompts_of(pieces)
        done = 0

        def count(sentences: int) -> None:
            nonlocal done
            done += sentences
            if progress is not None:
                progress(done, len(prompts))

        results = translate_ids(
            self.trained.model,
            prompts,
            eos_id=self._tokenizer.eos_id,
            max_new_tokens=self._max_new_tokens,
            batch_size=self._batch_size,
            vocab_size=self._tokenizer.vocab_size,
            beam_size=self._beam_size,
            progress=count,
        )
        return {piece: self._text(ids) for piece, ids in zip(pieces, results, strict=True)}

    def _alternatives(self, pieces: Sequence[Piece]) -> dict[Piece, list[str]]:
        from src.evaluation.decode import beam_candidates

        beam_size = max(self._beam_size, _ALTERNATIVES)
        results = beam_candidates(
            self.trained.model,
            self._prompts_of(pieces),
            eos_id=self._tokenizer.eos_id,
            max_new_tokens=self._max_new_tokens,
            batch_size=max(1, self._batch_size // beam_size),
            beam_size=beam_size,
            vocab_size=self._tokenizer.vocab_size,
        )
        return {
            piece: [self._text(ids) for ids in candidates]
            for piece, candidates in zip(pieces, results, strict=True)
        }

    def _prompts_of(self, pieces: Sequence[Piece]) -> list[list[int]]:
        sources = self._tokenizer.encode_batch([text for _, text in pieces])
        return [
            self.trained.prompt(way).opening(ids)
            for (way, _), ids in zip(pieces, sources, strict=True)
        ]

    def _text(self, ids: Sequence[int]) -> str:
        # One line in is one line out, also when the model writes a line break.
        return " ".join(self._tokenizer.decode(ids).split())

    def _source_limit(self, prompt: Prompt) -> int:
        room = _SOURCE_SHARE * (self.trained.settings.max_length - prompt.overhead)
        return max(_SHORTEST_SOURCE, min(int(room), self._max_new_tokens))

    def _count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._tokenizer.encode_batch(texts)]


def model_folder(config: Config, model: str | None) -> str:
    """The folder a command means: `model`, or the trained student."""
    return model or str(Path(config.student.output_dir) / "final")
