"""A few dropped pairs per reason, the same ones whatever the order in which rows were judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.corpus.mixing import mixed
from src.corpus.report.offending import offending_parts
from src.corpus.report.spans import Spans
from src.corpus.texts import Texts

EXAMPLES_PER_REASON = 20

_LONGEST = 400  # characters of a side
_LEAD_IN = 80  # characters shown before the first mark


class _Candidate(NamedTuple):
    rank: int
    left: str
    right: str
    source: str
    languages: tuple[str, str]


class ExampleBox:
    """Collects dropped pairs and keeps few of each reason, drawn by a hash of their keys.

    So they come from all sources alike, and the same ones whatever the workers and blocks.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[_Candidate]] = {}

    def offer(
        self,
        reason: str,
        source: str,
        *,
        languages: tuple[str, str],
        left: Texts,
        right: Texts,
        keys: NDArray[np.uint64],
    ) -> None:
        """Takes N pairs into consideration, all dropped for one reason.

        Args:
            reason: Why they were dropped.
            source: Where they come from.
            languages: Codes of both sides.
            left: `[N]` texts.
            right: `[N]` texts, empty ones where a row could not be taken apart.
            keys: `[N]` any numbers that stay the same from run to run.
        """
        ranks = mixed(keys)
        kept = self._kept.setdefault(reason, [])
        if len(kept) == EXAMPLES_PER_REASON:
            rows = np.flatnonzero(ranks <= np.uint64(kept[-1].rank))
        else:
            rows = np.arange(len(ranks))
        # Equal pairs have equal keys and stand for each other.
        _, first = np.unique(ranks[rows], return_index=True)
        for row in rows[first[:EXAMPLES_PER_REASON]].tolist():
            kept.append(_Candidate(int(ranks[row]), left[row], right[row], source, languages))
        distinct = {(pair.left, pair.right): pair for pair in sorted(kept, reverse=True)}
        self._kept[reason] = sorted(distinct.values())[:EXAMPLES_PER_REASON]

    def examples(self) -> dict[str, list[dict[str, Any]]]:
        """Per reason the pairs, cut to what is telling, with the parts to blame marked.

        Returns:
            Per pair `left`, `right`, `source`, `languages` (such as `en-zh`), and `left_marks` and
            `right_marks`, begins and ends in characters.
        """
        return {
            reason: [_shown(reason, pair) for pair in kept] for reason, kept in self._kept.items()
        }


def _shown(reason: str, pair: _Candidate) -> dict[str, Any]:
    left_spans, right_spans = offending_parts(reason, pair.left, pair.right, pair.languages)
    left, left_marks = _cut(pair.left, left_spans)
    right, right_marks = _cut(pair.right, right_spans)
    return {
        "left": left,
        "right": right,
        "source": pair.source,
        "languages": "-".join(pair.languages),
        "left_marks": left_marks,
        "right_marks": right_marks,
    }


def _cut(text: str, spans: Spans) -> tuple[str, list[list[int]]]:
    """At most `_LONGEST` characters, so placed that the first mark is among them."""
    first = spans[0][0] if spans else 0
    begin = max(0, first - _LEAD_IN) if first >= _LONGEST - _LEAD_IN else 0
    end = min(len(text), begin + _LONGEST)
    before, after = "… " if begin else "", " …" if end < len(text) else ""
    shift = len(before) - begin
    return f"{before}{text[begin:end]}{after}", _shifted(spans, begin, end, shift)


def _shifted(spans: Iterable[tuple[int, int]], begin: int, end: int, shift: int) -> list[list[int]]:
    return [
        [max(first, begin) + shift, min(last, end) + shift]
        for first, last in spans
        if first < end and last > begin
    ]
