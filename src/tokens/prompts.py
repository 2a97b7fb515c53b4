"""What stands around source and target: the ids before, between and after them.

A training sequence is `prefix + source + infix + target + suffix`. The loss counts the target and
the suffix, whose last id is the tokenizer's `eos_id`; generation starts after
`prefix + source + infix` and stops on that id. Because prompts are id tuples joined to cached
ids, one token cache serves every prompt and direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.errors import ConfigError
from src.languages import LANGUAGES, split_direction

if TYPE_CHECKING:
    from src.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """The ids around source and target for one direction.

    Attributes:
        prefix: Before the source.
        infix: Between source and target.
        suffix: After the target; counted in the loss, ends with the tokenizer's `eos_id`.
    """

    prefix: tuple[int, ...]
    infix: tuple[int, ...]
    suffix: tuple[int, ...]

    @property
    def overhead(self) -> int:
        """Ids that the prompt adds to source and target."""
        return len(self.prefix) + len(self.infix) + len(self.suffix)

    def length(self, source_length: int, target_length: int) -> int:
        """Ids of a whole training sequence."""
        return self.overhead + source_length + target_length

    def opening(self, source: Sequence[int]) -> list[int]:
        """What a model reads before it writes the target."""
        return [*self.prefix, *source, *self.infix]


def build_prompt(
    kind: str, tokenizer: Tokenizer, source_language: str, target_language: str
) -> Prompt:
    """The prompt of one direction.

    Args:
        kind: "compact" is source, direction marker, target. "chatml" is Qwen's chat format:
            a user turn with the instruction and the source, an assistant turn with the target,
            no system turn.
        tokenizer: Gives the ids; must have the special tokens of the kind.
        source_language: A code of `src.languages`, e.g. "en".
        target_language: Another one.

    Raises:
        ConfigError: If the kind or a language is unknown.
        ModelError: If the tokenizer lacks the special tokens.
    """
    for language in (source_language, target_language):
        if language not in LANGUAGES:
            raise ConfigError(
                f"language '{language}' is not supported; use one of {', '.join(LANGUAGES)}"
            )
    if kind == "compact":
        return _compact(tokenizer, target_language)
    if kind == "chatml":
        return _chatml(tokenizer, source_language, target_language)
    raise ConfigError(f"prompt '{kind}' is unknown; use compact or chatml")


def build_prompts(kind: str, tokenizer: Tokenizer, directions: Sequence[str]) -> tuple[Prompt, ...]:
    """One prompt for each direction such as "en-zh", in order; raises as `build_prompt`."""
    pairs = map(split_direction, directions)
    return tuple(build_prompt(kind, tokenizer, source, target) for source, target in pairs)


def _compact(tokenizer: Tokenizer, target_language: str) -> Prompt:
    marker = tokenizer.marker(target_language)
    return Prompt(prefix=(), infix=marker, suffix=(tokenizer.eos_id,))


def _chatml(tokenizer: Tokenizer, source_language: str, target_language: str) -> Prompt:
    start, end = tokenizer.special_id("<|im_start|>"), tokenizer.special_id("<|im_end|>")
    source, target = (LANGUAGES[code].name for code in (source_language, target_language))
    instruction = f"user\nTranslate the following text from {source} to {target}.\n\n"
    return Prompt(
        prefix=(start, *tokenizer.encode(instruction)),
        infix=(end, *tokenizer.encode("\n"), start, *tokenizer.encode("assistant\n")),
        suffix=(tokenizer.eos_id,),
    )
