"""Translating token ids: greedy and beam search with a key-value cache.

Only prompts of exactly the same length share a batch, so there is no padding, no mask, and a
sentence's translation does not depend on its neighbours (except where two tokens tie within
float rounding). Rows leave the batch as soon as they end; bookkeeping runs in NumPy on a few
numbers per row, logits stay on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor

from src.errors import ModelError
from src.evaluation.loops import loop_lengths, without_loop
from src.evaluation.search import Search, check_prompts, check_search
from src.models.factory import Model, hidden_states_cached, logits

Cache = list[tuple[Tensor, Tensor]]
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


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
        for batch in _equal_length_batches(prompts, batch_size):
            found = _beam_batch(search, np.array([prompts[i] for i in batch], dtype=np.int64))
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
        for batch in _equal_length_batches(prompts, batch_size):
            tokens = decode(search, np.array([prompts[index] for index in batch], dtype=np.int64))
            for index, ids in zip(batch, tokens, strict=True):
                results[index] = ids
            if progress is not None:
                progress(len(batch))
    return results


def _greedy_batch(search: Search, prompts: Ids) -> list[list[int]]:
    """Greedy search for prompts `[B, T]`."""
    count = len(prompts)
    output = np.full([count, search.max_new_tokens], search.eos_id, dtype=np.int64)
    results: list[list[int]] = [[] for _ in range(count)]
    live = np.arange(count)  # output rows that the batch still holds, in batch order
    hidden, cache = _first_states(search, prompts)
    for step in range(search.max_new_tokens):
        new_tokens = paddle.argmax(_next_logits(search, hidden), axis=-1)  # [live]
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
            kept = paddle.to_tensor(np.flatnonzero(stays))
            cache = _select_rows(cache, kept)
            new_tokens = paddle.index_select(new_tokens, kept)
        hidden, cache = hidden_states_cached(search.model, new_tokens.unsqueeze(1), cache)
    for index in live:
        results[index] = output[index].tolist()
    return results


@dataclass
class _Beam:
    """One prompt's search.

    Attributes:
        finished: Log-probability divided by length penalty, and ids, of hypotheses that ended.
        loops: Ids of hypotheses that got caught in a loop, the first one first: taken only when
            none ended, and not by score, which favours what stayed in loops for longest.
    """

    finished: list[tuple[float, list[int]]] = field(default_factory=list)
    loops: list[list[int]] = field(default_factory=list)

    def is_done(self, beam_size: int) -> bool:
        # Loops count, else the search would creep out of each just before it is recognised.
        return len(self.finished) + len(self.loops) >= beam_size

    def ranked(self) -> list[list[int]]:
        """Ids of all that ended, the best first; of the first loop where nothing did."""
        if not self.finished:
            return self.loops[:1]
        # Sorting is stable: of equal scores the earlier hypothesis stays first.
        return [ids for _, ids in sorted(self.finished, key=lambda scored: -scored[0])]


def _best_of_beam(search: Search, prompts: Ids) -> list[list[int]]:
    return [candidates[0] for candidates in _beam_batch(search, prompts)]


def _beam_batch(search: Search, prompts: Ids) -> list[list[list[int]]]:
    """Beam search for prompts `[B, T]`; a prompt is done when `beam_size` hypotheses ended."""
    beams = [_Beam() for _ in prompts]
    live = np.arange(len(prompts))
    # The width is 1 until the prompts have been read once.
    tokens = np.empty([len(prompts), 1, 0], dtype=np.int64)  # [live, width, steps]
    scores = np.zeros([len(prompts), 1])  # [live, width] log-probabilities
    hidden, cache = _first_states(search, prompts)
    for step in range(search.max_new_tokens):
        origins, new_tokens, scores = _expand(search, hidden, scores)  # each [live, 2 * beam_size]
        tokens = np.concatenate(
            [np.take_along_axis(tokens, origins[:, :, None], axis=1), new_tokens[:, :, None]],
            axis=2,
        )
        alive = _collect_finished(search, [beams[row] for row in live], tokens, scores)
        is_last = step + 1 == search.max_new_tokens
        # The best candidates that go on: dead ones sort to the end, order is kept otherwise.
        chosen = np.argsort(~alive, axis=1, kind="stable")[:, : search.beam_size]
        scores = np.take_along_axis(np.where(alive, scores, -np.inf), chosen, axis=1)
        tokens = np.take_along_axis(tokens, chosen[:, :, None], axis=1)
        width = hidden.shape[0] // len(live)
        rows = np.arange(len(live))[:, None] * width + np.take_along_axis(origins, chosen, axis=1)
        stays = np.array(
            [
                not beams[row].is_done(search.beam_size) and bool(np.isfinite(best))
                for row, best in zip(live, scores[:, 0], strict=True)
            ]
        )
        if is_last or not stays.any():
            _collect_unfinished(search, [beams[row] for row in live], tokens, scores)
            break
        live, tokens, scores, rows = live[stays], tokens[stays], scores[stays], rows[stays]
        cache = _select_rows(cache, paddle.to_tensor(rows.reshape(-1)))
        new_ids = paddle.to_tensor(np.ascontiguousarray(tokens[:, :, -1]).reshape(-1, 1))
        hidden, cache = hidden_states_cached(search.model, new_ids, cache)
    return [beam.ranked() for beam in beams]


def _expand(
    search: Search, hidden: Tensor, scores: npt.NDArray[np.float64]
) -> tuple[Ids, Ids, npt.NDArray[np.float64]]:
    """The best `2 * beam_size` continuations per prompt, best first.

    Twice the beam, because up to `beam_size` of them may be end tokens.

    Returns:
        Hypothesis continued, token and log-probability of the whole, each `[live, 2 * beam_size]`.
    """
    count = 2 * search.beam_size
    values = _next_logits(search, hidden)  # [live * width, V]
    normaliser = paddle.logsumexp(values, axis=-1, keepdim=True)
    top_values, top_tokens = paddle.topk(values, count, axis=-1)
    log_probabilities = (top_values - normaliser).numpy().astype(np.float64)
    live, width = scores.shape
    totals = (scores[:, :, None] + log_probabilities.reshape(live, width, count)).reshape(live, -1)
    order = np.argsort(-totals, axis=1, kind="stable")[:, :count]
    tokens = top_tokens.numpy().astype(np.int64).reshape(live, -1)
    return (
        order // count,
        np.take_along_axis(tokens, order, axis=1),
        np.take_along_axis(totals, order, axis=1),
    )


def _collect_finished(
    search: Search, beams: list[_Beam], tokens: Ids, scores: npt.NDArray[np.float64]
) -> Flags:
    """Stores ended and looping candidates `[live, 2 * beam_size, steps]`; tells which go on.

    They are stored only from among the best `beam_size`: further down, better hypotheses that
    still go on have already passed them.
    """
    live, count, steps = tokens.shape
    ended = tokens[:, :, -1] == search.eos_id
    loops = loop_lengths(tokens.reshape(live * count, steps)).reshape(live, count)
    possible = np.isfinite(scores)
    judged = scores / steps**search.length_penalty
    for row, column in np.argwhere((ended | (loops > 0)) & possible):
        if column >= search.beam_size:
            continue
        ids = tokens[row, column]
        if ended[row, column]:
            beams[row].finished.append((float(judged[row, column]), ids[:-1].tolist()))
        else:
            beams[row].loops.append(without_loop(ids, int(loops[row, column])))
    alive: Flags = ~ended & (loops == 0) & possible
    return alive


def _collect_unfinished(
    search: Search, beams: list[_Beam], tokens: Ids, scores: npt.NDArray[np.float64]
) -> None:
    """At the length limit, hypotheses without end count where there is nothing better."""
    steps = tokens.shape[2]
    for beam, rows, values in zip(beams, tokens, scores, strict=True):
        if not beam.finished and not beam.loops:
            for ids, value in zip(rows, values, strict=True):
                if np.isfinite(value):
                    judged = float(value) / steps**search.length_penalty
                    beam.finished.append((judged, ids.tolist()))


def _first_states(search: Search, prompts: Ids) -> tuple[Tensor, Cache]:
    """Reads the prompts `[B, T]` into a cache."""
    return hidden_states_cached(search.model, paddle.to_tensor(prompts), None)


def _next_logits(search: Search, hidden: Tensor) -> Tensor:
    """Float32 logits `[B, vocab_size]` after the last of the positions `[B, T, D]`."""
    values = logits(search.model, hidden[:, -1]).astype("float32")
    # The mean is NaN or infinite if any logit is; the tokens are needed on the host anyway.
    if not paddle.isfinite(values.mean()).item():
        raise ModelError(
            "the model computes numbers that are not finite, so its weights are damaged or its "
            "training diverged; use an earlier checkpoint"
        )
    return values if values.shape[-1] == search.vocab_size else values[:, : search.vocab_size]


def _select_rows(cache: Cache, rows: Tensor) -> Cache:
    return [
        (paddle.index_select(keys, rows), paddle.index_select(values, rows))
        for keys, values in cache
    ]


def _equal_length_batches(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of prompts of one length at a time, the longest first: memory runs out at once."""
    by_length: dict[int, list[int]] = {}
    for index, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(index)
    for length in sorted(by_length, reverse=True):
        group = by_length[length]
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


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
