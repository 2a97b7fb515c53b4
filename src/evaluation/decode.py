"""Translating token ids: greedy and beam search with a key-value cache.

Prompts of similar length share a batch. A sentence's translation does not depend on its
neighbours, except where two tokens tie within float rounding. Rows leave the batch as soon as they
end; bookkeeping runs in NumPy on a few numbers per row, logits stay on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import paddle

from src.evaluation.beam import beam_batch
from src.evaluation.loops import loop_lengths, without_loop
from src.evaluation.search import Search, check_prompts, check_search
from src.evaluation.states import States
from src.models.factory import Model


def beam_candidates(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    eos_id: int,
    max_new_tokens: int,
    batch_size: int,
    beam_size: int,
    vocab_size: int | None = None,
    length_penalty: float = 1.0,
) -> list[list[list[int]]]:
    """Every hypothesis that beam search finished, the best first; see `translate_ids`.

    Returns:
        One or more continuations per prompt.

    Raises:
        ModelError, ValueError: As `translate_ids`.
    """
    rows = int(model.config.vocab_size)
    known = rows if vocab_size is None else vocab_size
    search = Search(model, eos_id, max_new_tokens, known, beam_size, length_penalty)
    check_search(search, rows, batch_size)
    check_prompts(prompts, rows)
    results: list[list[list[int]]] = [[] for _ in prompts]
    with evaluation_mode(model), paddle.no_grad():
        for batch in _batches_by_length(prompts, batch_size):
            found = beam_batch(search, [prompts[index] for index in batch])
            for index, candidates in zip(batch, found, strict=True):
                results[index] = candidates
    return results


def translate_ids(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    eos_id: int,
    max_new_tokens: int,
    batch_size: int,
    vocab_size: int | None = None,
    beam_size: int = 1,
    length_penalty: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Continues each prompt until the end token: the most likely token each time, or a beam.

    Args:
        model: Put into evaluation mode meanwhile; its mode is restored.
        prompts: Token ids of each prompt, at least one each.
        eos_id: Ends a translation; not part of the result.
        max_new_tokens: Longest result, the end token included.
        batch_size: Prompts decoded together, `beam_size` rows each.
        vocab_size: Ids from here on are never produced (rows of the embedding matrix that no
            token uses). None: all rows of the model.
        beam_size: Hypotheses kept per prompt; 1 is greedy search.
        length_penalty: A finished hypothesis is judged by its log-probability divided by its
            length to this power: 0.0 favours short ones, 1.0 compares means. Beam search only.
        progress: Called after each batch with the number of prompts it held.

    Returns:
        New ids per prompt, in the order of the prompts. One that got caught in a loop ends with
        the first copy of what it repeated.

    Raises:
        ModelError: If an id is outside the model's vocabulary, or the model computes NaN.
        ValueError: If a size is out of range or a prompt is empty.
    """
    rows = int(model.config.vocab_size)
    search = Search(
        model,
        eos_id,
        max_new_tokens,
        rows if vocab_size is None else vocab_size,
        beam_size,
        length_penalty,
    )
    check_search(search, rows, batch_size)
    check_prompts(prompts, rows)
    decode = _greedy_batch if beam_size == 1 else _best_of_beam
    results: list[list[int]] = [[] for _ in prompts]
    with evaluation_mode(model), paddle.no_grad():
        for batch in _batches_by_length(prompts, batch_size):
            tokens = decode(search, [prompts[index] for index in batch])
            for index, ids in zip(batch, tokens, strict=True):
                results[index] = ids
            if progress is not None:
                progress(len(batch))
    return results


def _best_of_beam(search: Search, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    return [candidates[0] for candidates in beam_batch(search, prompts)]


def _greedy_batch(search: Search, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Greedy search for B prompts."""
    count = len(prompts)
    output = np.full([count, search.max_new_tokens], search.eos_id, dtype=np.int64)
    results: list[list[int]] = [[] for _ in range(count)]
    live = np.arange(count)  # output rows that the batch still holds, in batch order
    states = States.of(search.model, prompts)
    for step in range(search.max_new_tokens):
        new_tokens = paddle.argmax(states.next_logits(search), axis=-1)  # [live]
        output[live, step] = new_tokens.numpy()
        ended = output[live, step] == search.eos_id
        loops = loop_lengths(output[live, : step + 1])
        stays = ~ended & (loops == 0)
        for row in np.flatnonzero(~stays):
            length = step if ended[row] else step + 1
            results[live[row]] = without_loop(output[live[row], :length], int(loops[row]))
        if step + 1 == search.max_new_tokens or not stays.any():
            live = live[stays]
            break
        if not stays.all():
            live = live[stays]
            kept = np.flatnonzero(stays)
            states = states.chosen(kept)
            new_tokens = paddle.index_select(new_tokens, paddle.to_tensor(kept))
        states = states.extended(new_tokens)
    for index in live:
        results[index] = output[index].tolist()
    return results


def _batches_by_length(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of prompts of similar length, the longest first: memory runs out at once."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


@contextmanager
def evaluation_mode(model: Model) -> Iterator[None]:
    """Dropout off inside the block; the model's mode is restored."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
