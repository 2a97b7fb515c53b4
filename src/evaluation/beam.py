"""Beam search: the hypotheses of several continuations, for a batch of prompts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import paddle

from src.evaluation.loops import loop_lengths, without_loop
from src.evaluation.search import Search
from src.evaluation.states import Flags, Ids, States


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


def beam_batch(search: Search, prompts: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Every hypothesis that ended, the best first, for each prompt of a batch.

    A prompt is done when `beam_size` hypotheses ended.
    """
    beams = [_Beam() for _ in prompts]
    live = np.arange(len(prompts))
    # The width is 1 until the prompts have been read once.
    tokens = np.empty([len(prompts), 1, 0], dtype=np.int64)  # [live, width, steps]
    scores = np.zeros([len(prompts), 1])  # [live, width] log-probabilities
    states = States.of(search.model, prompts)
    for step in range(search.max_new_tokens):
        origins, new_tokens, scores = _expand(search, states, scores)  # each [live, 2 * beam_size]
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
        width = states.last.shape[0] // len(live)
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
        new_ids = np.ascontiguousarray(tokens[:, :, -1]).reshape(-1)
        states = states.chosen(rows.reshape(-1)).extended(paddle.to_tensor(new_ids))
    return [beam.ranked() for beam in beams]


def _expand(
    search: Search, states: States, scores: npt.NDArray[np.float64]
) -> tuple[Ids, Ids, npt.NDArray[np.float64]]:
    """The best `2 * beam_size` continuations per prompt, best first.

    Twice the beam, because up to `beam_size` of them may be end tokens.

    Returns:
        Hypothesis continued, token and log-probability of the whole, each `[live, 2 * beam_size]`.
    """
    count = 2 * search.beam_size
    values = states.next_logits(search)  # [live * width, V]
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
