"""What defines a byte-level BPE tokenizer of the Qwen2 kind, apart from the file it came in.

Three file layouts hold the same thing: `tokenizer.json`; `vocab.json` with `merges.txt`; and the
tokenizer that was just trained. All become one `Vocabulary`, and everything else (the reference
encoder, the fast one, the fingerprint, the saved files) is derived from it, so that they cannot
disagree. Tokens are spelt with GPT-2's byte alphabet, in which every byte is one printable
character: the space is `Ġ`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from src.errors import ModelError

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2.5's pre-tokenisation: contractions, words, single digits, punctuation, white space."""

_MODEL_OPTIONS_THAT_CHANGE_IDS = ("dropout", "unk_token", "byte_fallback", "ignore_merges")


def byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in the spelling of tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(256 + index): byte for index, byte in enumerate(others)})
    return alphabet


class SpecialToken(NamedTuple):
    """A token that text can never produce.

    Attributes:
        is_control: Whether Hugging Face decoders leave it out of text ("special": true).
    """

    content: str
    id: int
    is_control: bool = True


@dataclass(frozen=True)
class Vocabulary:
    """Tokens, merges and the rules that cut text before merging.

    Attributes:
        tokens: Spelling in the byte alphabet → id; special tokens are not among them.
        merges: Pairs of spellings, the first merge first.
        special_tokens: In the order of their ids.
        pattern: Regular expression that cuts text into pieces.
        normal_form: Unicode form that text is brought to first.
    """

    tokens: dict[str, int]
    merges: tuple[tuple[str, str], ...]
    special_tokens: tuple[SpecialToken, ...]
    pattern: str = PATTERN
    normal_form: Literal["NFC"] | None = "NFC"

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """Spelling of each special token → id."""
        return {token.content: token.id for token in self.special_tokens}

    @cached_property
    def size(self) -> int:
        """Highest id + 1: the number of rows that an embedding needs at least."""
        return 1 + max(itertools.chain(self.tokens.values(), self.special_ids.values()))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides which ids a text gets; no file formatting."""
        parts = [
            sorted(self.tokens.items(), key=lambda item: item[1]),
            self.merges,
            sorted(self.special_ids.items(), key=lambda item: item[1]),
            self.pattern,
            self.normal_form,
        ]
        text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """The content of a `tokenizer.json` that Hugging Face `tokenizers` reads."""
        byte_level = {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": False,
            "use_regex": False,
        }
        split = {
            "type": "Split",
            "pattern": {"Regex": self.pattern},
            "behavior": "Isolated",
            "invert": False,
        }
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": token.id,
                    "content": token.content,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": token.is_control,
                }
                for token in self.special_tokens
            ],
            "normalizer": {"type": self.normal_form} if self.normal_form else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": dict(sorted(self.tokens.items(), key=lambda item: item[1])),
                "merges": [" ".join(merge) for merge in self.merges],
            },
        }


def read_vocabulary(folder: Path) -> tuple[Vocabulary, dict[str, Any]]:
    """The vocabulary in `folder` and the content of its tokenizer_config.json ({} if absent).

    Raises:
        ModelError: If files are missing, cannot be parsed, or describe another kind of
            tokenizer.
    """
    config_path = folder / "tokenizer_config.json"
    config = _read_json(config_path) if config_path.is_file() else {}
    document_path = folder / "tokenizer.json"
    if document_path.is_file():
        return vocabulary_of_document(_read_json(document_path), document_path), config
    vocabulary_path, merges_path = folder / "vocab.json", folder / "merges.txt"
    if vocabulary_path.is_file() and merges_path.is_file():
        return _read_vocabulary_and_merges(vocabulary_path, merges_path, config), config
    raise ModelError(
        f"{folder} holds no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt, "
        "and tokenizer_config.json"
    )


def vocabulary_of_document(document: dict[str, Any], path: Path) -> Vocabulary:
    """Reads the content of a tokenizer.json; `path` is for messages.

    Raises:
        ModelError: If it is not a byte-level BPE that this project can reproduce exactly.
    """
    try:
        model = document["model"]
        _refuse_unless(model["type"] == "BPE", path, f"a {model['type']} model")
        for option in _MODEL_OPTIONS_THAT_CHANGE_IDS:
            _refuse_unless(not model.get(option), path, f"{option}={model.get(option)}")
        normaliser = document.get("normalizer")
        normal_form = normaliser["type"] if normaliser else None
        _refuse_unless(normal_form in ("NFC", None), path, f"the normalizer {normal_form}")
        special_tokens = tuple(
            SpecialToken(str(token["content"]), int(token["id"]), bool(token["special"]))
            for token in sorted(document["added_tokens"], key=lambda token: token["id"])
        )
        return Vocabulary(
            tokens=_ordinary_tokens(model["vocab"], special_tokens),
            merges=tuple(_parse_merge(merge) for merge in model["merges"]),
            special_tokens=special_tokens,
            pattern=_pattern_of(document["pre_tokenizer"], path),
            normal_form=normal_form,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a tokenizer.json of the Qwen2 kind ({type(error).__name__}: {error}); "
            "use the file that was published with the model"
        ) from error


def _pattern_of(pre_tokenizer: dict[str, Any], path: Path) -> str:
    steps = pre_tokenizer.get("pretokenizers", [])
    kinds = [step["type"] for step in steps]
    is_known = (
        kinds == ["Split", "ByteLevel"]
        and steps[0]["behavior"] == "Isolated"
        and not steps[0]["invert"]
        and not steps[1]["add_prefix_space"]
        and not steps[1]["use_regex"]
    )
    _refuse_unless(is_known, path, f"the pre-tokenizer {kinds or pre_tokenizer['type']}")
    return str(steps[0]["pattern"]["Regex"])


def _refuse_unless(is_known: bool, path: Path, found: str) -> None:  # noqa: FBT001
    if not is_known:
        raise ModelError(
            f"{path} has {found}; only byte-level BPE tokenizers of the Qwen2 kind are supported"
        )


def _ordinary_tokens(
    entries: dict[str, Any], special_tokens: tuple[SpecialToken, ...]
) -> dict[str, int]:
    """The entries without special tokens, which some files list here too."""
    special = {token.content for token in special_tokens}
    tokens = {str(token): int(index) for token, index in entries.items() if token not in special}
    missing = [character for character in byte_alphabet() if character not in tokens]
    if missing:
        raise ValueError(f"{len(missing)} of the 256 bytes have no token")
    return tokens


def _parse_merge(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _read_vocabulary_and_merges(
    vocabulary_path: Path, merges_path: Path, config: dict[str, Any]
) -> Vocabulary:
    if not config.get("added_tokens_decoder"):
        raise ModelError(
            f"{vocabulary_path.parent} has no special tokens: without a tokenizer.json they are "
            "read from added_tokens_decoder in tokenizer_config.json, which is missing there"
        )
    try:
        lines = merges_path.read_text(encoding="utf-8").split("\n")
        special_tokens = tuple(
            SpecialToken(str(entry["content"]), int(index), bool(entry.get("special", True)))
            for index, entry in sorted(
                config["added_tokens_decoder"].items(), key=lambda item: int(item[0])
            )
        )
        return Vocabulary(
            tokens=_ordinary_tokens(_read_json(vocabulary_path), special_tokens),
            merges=tuple(_parse_merge(line) for line in lines if _is_merge(line)),
            special_tokens=special_tokens,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ModelError(
            f"{vocabulary_path} and {merges_path.name} cannot be used "
            f"({type(error).__name__}: {error}); use the files published with the model"
        ) from error


def _is_merge(line: str) -> bool:
    return bool(line) and not line.startswith("#version")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read as JSON ({error}); download the tokenizer again"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a JSON object")
    return content
