"""The tokenizer: Qwen2.5's own files, or a small one trained on the corpus, behind one class.

It encodes through Hugging Face `tokenizers`, whose word is right. A whole corpus is encoded by a
faster encoder made from the same vocabulary (`src.tokens.column_encoder`).

**Text is only text.** A sentence that contains the characters `<|im_end|>` is encoded as those
characters; special ids come from prompts alone. Otherwise a line of the corpus could end its own
translation.

**Which special token does what.** Targets end with `<|im_end|>` (`eos_id`), in every prompt:
Qwen2.5 was trained to stop on it, and padding is another token (`<|endoftext|>`, `pad_id`).
Direction markers are `<to_en>`, `<to_zh>` … in our own tokenizers. Qwen2.5 has no such names, so
its two object-reference tokens, which belong to vision models, mark English and Chinese; their
neighbour `<|box_start|>`, followed by the language's code as text, marks any other language. Their
embeddings are learned in fine-tuning. Where embeddings stay frozen (LoRA), use the chatml prompt.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokenizers  # type: ignore[import-untyped]
from tokenizers import models, pre_tokenizers, trainers

from src.errors import ConfigError, DataError, ModelError
from src.files import write_text
from src.languages import LANGUAGES
from src.tokens.locate import find_tokenizer_folder
from src.tokens.reference import build_reference, set_text_rules, well_formed
from src.tokens.vocabulary import (
    PATTERN,
    SpecialToken,
    Vocabulary,
    byte_alphabet,
    read_vocabulary,
    vocabulary_of_document,
)

if TYPE_CHECKING:
    from src.schema import Config

END_OF_TARGET = "<|im_end|>"
PADDING = "<|endoftext|>"
SMALLEST_VOCABULARY = 300

_SPECIAL_TOKENS = (PADDING, "<|im_start|>", END_OF_TARGET)
_QWEN_MARKERS = {"en": "<|object_ref_start|>", "zh": "<|object_ref_end|>"}
_QWEN_OTHER_MARKER = "<|box_start|>"

logger = logging.getLogger(__name__)


class Tokenizer:
    """Text to ids and back.

    Can be sent to worker processes; the encoder is rebuilt there.

    Attributes:
        vocabulary: Everything that decides which ids a text gets.
        config: Content of tokenizer_config.json.
        folder: Where it was read from; None for one that was just trained.
        name: For messages.
        vocab_size: Highest id + 1; a model needs at least so many embedding rows.
        eos_id: Ends every target; generation stops on it.
        pad_id: Fills batches; never predicted.
    """

    def __init__(
        self, vocabulary: Vocabulary, config: dict[str, Any], folder: Path | None, name: str
    ) -> None:
        self.vocabulary = vocabulary
        self.config = config
        self.folder = folder
        self.name = name
        self.vocab_size = vocabulary.size
        self.eos_id = self._role_id(END_OF_TARGET, "eos_token")
        self.pad_id = self._role_id(PADDING, "pad_token")
        self._special_ids = frozenset(vocabulary.special_ids.values())
        self._reference = build_reference(vocabulary, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self.vocabulary, self.config, self.folder, self.name)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of vocabulary, merges and special tokens; the same in every file layout."""
        return self.vocabulary.fingerprint

    def encode(self, text: str) -> list[int]:
        """Ids of one text, without any special token.

        A lone surrogate (undecodable bytes on a command line) counts as U+FFFD.
        """
        try:
            return list(self._reference.encode(text).ids)
        except TypeError:  # lone surrogates
            return list(self._reference.encode(well_formed(text)).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without any special token."""
        # Its own `encode_batch` starts threads, which makes a later fork unsafe (and loud).
        return [self.encode(text) for text in texts]

    def marker(self, language: str) -> tuple[int, ...]:
        """The ids that say "translate into this language" in the compact prompt.

        Raises:
            ModelError: If the tokenizer has no such marker.
        """
        ids = self.vocabulary.special_ids
        for content in (f"<to_{language}>", _QWEN_MARKERS.get(language)):
            if content in ids:
                return (ids[content],)
        if _QWEN_OTHER_MARKER in ids and language not in _QWEN_MARKERS:
            return (ids[_QWEN_OTHER_MARKER], *self.encode(language))
        raise ModelError(
            f"tokenizer {self.name} has no direction marker <to_{language}>, which the compact "
            "prompt needs; use prompt: chatml, or train a tokenizer with this language in "
            "data.language_pairs"
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; special tokens and ids beyond the vocabulary are skipped."""
        ordinary = [int(index) for index in ids if index not in self._special_ids]
        return str(self._reference.decode(ordinary))

    def special_id(self, content: str) -> int:
        """Id of a special token by its spelling.

        Raises:
            ModelError: If the tokenizer has no such token.
        """
        try:
            return self.vocabulary.special_ids[content]
        except KeyError:
            raise ModelError(
                f"tokenizer {self.name} has no special token {content}; it has "
                f"{', '.join(self.vocabulary.special_ids) or 'none'}"
            ) from None

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json in Hugging Face layout.

        Raises:
            OSError: If the disk is full or the folder cannot be written.
        """
        config = {**self.config, **self._roles()}
        for name, content in (
            ("tokenizer.json", self.vocabulary.to_document()),
            ("tokenizer_config.json", config),
        ):
            write_text(folder / name, json.dumps(content, ensure_ascii=False, indent=2) + "\n")

    def _role_id(self, preferred: str, config_key: str) -> int:
        ids = self.vocabulary.special_ids
        named = self.config.get(config_key)
        content = named.get("content") if isinstance(named, dict) else named
        for candidate in (preferred, content):
            if candidate in ids:
                return ids[candidate]
        raise ModelError(
            f"tokenizer {self.name} has neither {preferred} nor a {config_key} among its special "
            f"tokens ({', '.join(ids) or 'none'}); name one in tokenizer_config.json"
        )

    def _roles(self) -> dict[str, str]:
        spelling = {index: content for content, index in self.vocabulary.special_ids.items()}
        return {"eos_token": spelling[self.eos_id], "pad_token": spelling[self.pad_id]}


def load_tokenizer(folder_or_name: str) -> Tokenizer:
    """The tokenizer in a local folder, or of a model that a local cache holds.

    Args:
        folder_or_name: A folder with tokenizer.json (or vocab.json and merges.txt) and
            tokenizer_config.json; or a name such as "Qwen/Qwen2.5-0.5B" whose files lie in
            PaddleNLP's or Hugging Face's download cache.

    Raises:
        ModelError: If nothing is found, with the places looked at; or if the files describe
            another kind of tokenizer.
    """
    folder = find_tokenizer_folder(folder_or_name)
    vocabulary, config = read_vocabulary(folder)
    return Tokenizer(vocabulary, config, folder, folder_or_name)


def find_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that `run.py process` uses with this configuration.

    Raises:
        ModelError: If it is not on this machine, or was not trained yet.
    """
    if config.data.train_tokenizer_vocab_size is None:
        return load_tokenizer(config.data.tokenizer or config.student.model_name)
    folder = Path(config.data.output_dir) / "tokenizer"
    if not folder.is_dir():
        raise ModelError(
            f"no trained tokenizer in {folder}; run `python run.py process` with this "
            "configuration first"
        )
    return load_tokenizer(str(folder))


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, languages: Iterable[str] = ("en", "zh")
) -> Tokenizer:
    """Learns a byte-level BPE with Qwen2.5's pre-tokenisation; the same text gives the same bytes.

    Args:
        texts: Sentences of all languages; read once.
        vocab_size: Tokens in all: 256 bytes, 3 special tokens and one for each language, the rest
            learned. Fewer are learned where the text has no more pairs to merge.
        languages: Codes of the languages that may be translated into, in any order.

    Raises:
        ConfigError: If `vocab_size` is below 300.
        DataError: If there is no text.
    """
    wanted = set(languages)
    markers = [f"<to_{code}>" for code in LANGUAGES if code in wanted]
    contents = (*_SPECIAL_TOKENS, *markers)
    if vocab_size < SMALLEST_VOCABULARY:
        raise ConfigError(
            f"train_tokenizer_vocab_size={vocab_size} is too small: 256 bytes and "
            f"{len(contents)} special tokens leave nothing to learn; use at least "
            f"{SMALLEST_VOCABULARY}"
        )
    learner = tokenizers.Tokenizer(models.BPE())
    set_text_rules(learner, PATTERN, "NFC")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(contents),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(map(well_formed, texts), trainer)
    learned = learner.get_vocab_size()
    if learned <= len(byte_alphabet()):
        raise DataError("no text to train a tokenizer on: every sentence was empty or one byte")
    special_tokens = tuple(
        SpecialToken(content, learned + index) for index, content in enumerate(contents)
    )
    document = json.loads(learner.to_str())
    document["added_tokens"] = [
        {"content": token.content, "id": token.id, "special": True} for token in special_tokens
    ]
    vocabulary = vocabulary_of_document(document, Path("tokenizer.json"))
    if vocabulary.size < vocab_size:
        logger.warning(
            "the text has only enough repetition for %d of %d tokens", vocabulary.size, vocab_size
        )
    return Tokenizer(vocabulary, _config_of(special_tokens), None, "trained tokenizer")


def _config_of(special_tokens: Sequence[SpecialToken]) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": None,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "split_special_tokens": False,
        "additional_special_tokens": [token.content for token in special_tokens],
        "added_tokens_decoder": {
            str(token.id): {"content": token.content, **flags, "special": True}
            for token in special_tokens
        },
    }
