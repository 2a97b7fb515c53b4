"""What a search for translations is asked for, checked before the model is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from src.errors import ModelError
from src.models.factory import Model


@dataclass(frozen=True)
class Search:
    """What one search needs besides the prompts; see `translate_ids` in `src.evaluation.decode`."""

    model: Model
    eos_id: int
    max_new_tokens: int
    vocab_size: int
    beam_size: int
    length_penalty: float


def check_search(search: Search, rows: int, batch_size: int) -> None:
    """Refuses sizes that are out of range.

    Raises:
        ModelError: If the end token or the beam does not fit the model.
        ValueError: If a size does not.
    """
    for name, value in (
        ("max_new_tokens", search.max_new_tokens),
        ("batch_size", batch_size),
        ("beam_size", search.beam_size),
    ):
        if value < 1:
            raise ValueError(f"{name}={value}; it must be at least 1")
    if not 0 <= search.eos_id < search.vocab_size <= rows:
        raise ModelError(
            f"end token {search.eos_id} and vocabulary size {search.vocab_size} do not fit a model "
            f"with {rows} vocabulary rows; use the tokenizer that belongs to the model"
        )
    check_beam(search.beam_size, search.vocab_size)


def check_beam(beam_size: int, vocab_size: int) -> None:
    """Refuses a beam wider than what a model can fill.

    Raises:
        ModelError: If it is.
    """
    if beam_size > 1 and 2 * beam_size > vocab_size:
        raise ModelError(
            f"beam_size={beam_size} is more than half of the {vocab_size} ids that the model "
            "knows; name a smaller one, such as 4"
        )


def check_prompts(prompts: Sequence[Sequence[int]], rows: int) -> None:
    """Refuses empty prompts and ids that the model does not know.

    Raises:
        ModelError: If an id is outside the model's vocabulary.
        ValueError: If a prompt is empty.
    """
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {index} is empty; it needs at least one id")
        if max(prompt) >= rows or min(prompt) < 0:
            raise ModelError(
                f"prompt {index} holds id {max(prompt)} but the model has {rows} vocabulary rows; "
                "use the tokenizer that belongs to the model"
            )
