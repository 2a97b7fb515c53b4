"""What becomes of every row: the questions that need all rows together, one after another.

Rules on scores, exact duplicates, adequacy, sentences and templates that occur too often, near
duplicates, sentences of evaluation sets, held-out splits, sampling: each looks only at rows that
are still alive, so every dropped row has the first reason that applies. Decisions are one byte per
row; keys, scores and texts are read block by block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.corpus.adequacy_stage import AdequacyScores
from src.corpus.candidates import Candidates
from src.corpus.decontamination import SideKeys, contaminated
from src.corpus.dedup import surplus
from src.corpus.filters import KEPT, build_rules, first_broken
from src.corpus.keys import LEFT, PAIR, RIGHT, TEMPLATE
from src.corpus.near_duplicates import near_duplicates
from src.corpus.sampling import choose, coverage
from src.corpus.splits import hold_out
from src.corpus.texts import Texts, concatenated
from src.corpus.unit_rows import Corpus, Languages
from src.corpus.verdicts import FIRST_RULE, Mask, Verdict, Verdicts, reasons
from src.schema.data import DataConfig
from src.tasks.engine import Engine
from src.tasks.progress import Progress

logger = logging.getLogger(__name__)

_REASONS_SHOWN = 3
_WRONG_COLUMNS = {"swapped", "one_language"}


@dataclass
class Decision:
    """What becomes of the rows of a corpus, and what was learned on the way.

    Attributes:
        verdicts: `[N]` uint8 code of each row, see `src.corpus.verdicts`.
        adequacy: Counts of judged and unjudged rows for the report; empty when switched off.
        sampling: Facts about the sampler, for the report.
        coverage: What the sample covers, for the report.
        seconds: Per phase, in order.
    """

    verdicts: Verdicts
    adequacy: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)


class Decisions:
    """Decides about the rows of a corpus; `run` does all of it.

    Args:
        corpus: Rows of finished units.
        data: The configuration of the stage.
        adequacy: Scores of the same corpus.
        evaluation_keys: Gives the sides of the evaluation sets of a pair of languages.
        engine: What runs tasks.
        phase: Called with the name of each phase when it starts.
    """

    def __init__(
        self,
        corpus: Corpus,
        data: DataConfig,
        *,
        adequacy: AdequacyScores,
        evaluation_keys: Callable[[Languages], SideKeys],
        engine: Engine,
        phase: Callable[[str], None],
    ) -> None:
        self._corpus = corpus
        self._data = data
        self._adequacy = adequacy
        self._evaluation_keys = evaluation_keys
        self._engine = engine
        self._phase = phase
        self.result = Decision(np.full(len(corpus), Verdict.TRAIN, dtype=np.uint8))

    def run(self) -> Decision:
        """Decides everything.

        Raises:
            DataError: If too few pairs are left for the splits.
            WorkerLost: If a worker process dies.
        """
        self._apply_rules()
        pairs = self._corpus.languages()
        for languages in pairs:
            rows = self._corpus.rows_of(languages)
            self._drop_duplicates(rows)
            self._drop_inadequate(languages, rows)
            self._drop_repetitious(rows)
            self._drop_evaluation_sentences(languages, rows)
            self._hold_out(rows)
        self._phase("sampling")
        self._sample(pairs)
        return self.result

    def _alive(self, rows: Mask) -> Mask:
        return np.asarray(rows & (self.result.verdicts == Verdict.TRAIN))

    def _drop(self, positions: Iterable[Any], verdict: Verdict) -> None:
        for part in positions:
            self.result.verdicts[part] = verdict

    def _apply_rules(self) -> None:
        rules = build_rules(self._data.filters, self._data.quality_threshold)
        columns = sorted({rule.column for rule in rules})
        for place in self._corpus.blocks:
            batch = self._corpus.read(place, columns)
            scores = {name: batch[name].to_numpy() for name in columns}
            broken = first_broken(scores, rules)
            is_broken = broken != KEPT
            here = self.result.verdicts[place.rows]
            here[is_broken] = FIRST_RULE + broken[is_broken].astype(np.uint8)

    def _drop_duplicates(self, rows: Mask) -> None:
        self._phase("duplicates")
        alive = self._alive(rows)
        logger.info("looking for duplicates among %s pairs", f"{np.count_nonzero(alive):,}")
        self._drop(surplus(self._corpus.keys, PAIR, alive, limit=1), Verdict.DUPLICATE_PAIR)

    def _drop_inadequate(self, languages: Languages, rows: Mask) -> None:
        limit = np.float32(self._data.adequacy.min_score)
        if limit <= 0:
            return
        self._phase("adequacy")
        alive = self._alive(rows)
        self._adequacy.ensure(languages, alive, self._engine)
        counts = self.result.adequacy
        for place in self._corpus.blocks:
            here = alive[place.rows]
            if not here.any():
                continue
            scores = self._adequacy.of(place)
            unjudged = int(np.count_nonzero(np.isnan(scores) & here))
            counts["unjudged"] = counts.get("unjudged", 0) + unjudged
            counts["judged"] = counts.get("judged", 0) + int(np.count_nonzero(here)) - unjudged
            # NaN is below nothing: what cannot be judged stays.
            self.result.verdicts[place.rows][here & (scores < limit)] = Verdict.LOW_ADEQUACY

    def _drop_repetitious(self, rows: Mask) -> None:
        self._phase("duplicates")
        filters, keys = self._data.filters, self._corpus.keys
        for column, limit, verdict in (
            (LEFT, filters.max_pairs_per_sentence, Verdict.DUPLICATE_SIDE),
            (RIGHT, filters.max_pairs_per_sentence, Verdict.DUPLICATE_SIDE),
            (TEMPLATE, filters.max_pairs_per_template, Verdict.TEMPLATE),
        ):
            if limit is None:
                continue
            self._drop(surplus(keys, column, self._alive(rows), limit=limit), verdict)
        if filters.near_duplicates == "drop":
            found = near_duplicates(keys, self._alive(rows), bits=filters.near_duplicate_bits)
            self._drop(found, Verdict.NEAR_DUPLICATE)

    def _drop_evaluation_sentences(self, languages: Languages, rows: Mask) -> None:
        held = self._evaluation_keys(languages)
        found = contaminated(self._corpus.keys, held, self._alive(rows))
        self._drop([found], Verdict.LEAKS_EVALUATION)

    def _hold_out(self, rows: Mask) -> None:
        self._phase("held-out splits")
        alive = self._alive(rows)
        splits, seed = self._data.splits, self._data.seed
        lost = self._why_lost(rows)
        dev, test, leaks = hold_out(self._corpus.keys, alive, splits, seed, lost=lost)
        verdicts = self.result.verdicts
        verdicts[dev], verdicts[test], verdicts[leaks] = (
            Verdict.DEV,
            Verdict.TEST,
            Verdict.LEAKS_HELD_OUT,
        )

    def _why_lost(self, rows: Mask) -> str:
        """Most frequent reasons for which readable rows were dropped, in words."""
        rules = build_rules(self._data.filters, self._data.quality_threshold)
        names = reasons(rules)
        counts = np.bincount(self.result.verdicts[rows], minlength=256)
        worst = [code for code in np.argsort(-counts, kind="stable").tolist() if code in names]
        named = [
            f"{names[code]} {counts[code]:,}" for code in worst[:_REASONS_SHOWN] if counts[code]
        ]
        if not named:
            return ""
        hint = ""
        if names[worst[0]] in _WRONG_COLUMNS:
            hint = "; are the columns the right languages? `languages: zh-en` in the source says so"
        return f" of {np.count_nonzero(rows):,} ({', '.join(named)}{hint})"

    def _sample(self, pairs: list[Languages]) -> None:
        """Marks the training rows that are not chosen; pairs of languages share in proportion."""
        data, verdicts = self._data, self.result.verdicts
        train = int(np.count_nonzero(verdicts == Verdict.TRAIN))
        if data.sample_size is None or data.sample_size >= train:
            return
        seen = taken = 0
        for languages in pairs:
            alive = self._alive(self._corpus.rows_of(languages))
            seen += int(np.count_nonzero(alive))
            # Rounding never loses or adds a pair.
            size = data.sample_size * seen // train - taken
            taken += size
            self._sample_pair(languages, alive, size)

    def _sample_pair(self, languages: Languages, alive: Mask, size: int) -> None:
        data, verdicts = self._data, self.result.verdicts
        pool = Candidates(self._corpus, alive, self._adequacy)
        progress = Progress("sampling", int(np.count_nonzero(alive)))
        choice = choose(
            pool,
            data.sample_strategy,
            size,
            data.seed,
            workers=self._engine.workers,
            progress=progress.add,
        )
        for rows, is_chosen in zip(pool.positions(), choice.masks, strict=True):
            verdicts[rows[~is_chosen]] = Verdict.SAMPLED_OUT
        self.result.sampling = {
            "strategy": data.sample_strategy,
            "wanted": data.sample_size,
            "candidates": self.result.sampling.get("candidates", 0) + int(np.count_nonzero(alive)),
            "chosen": self.result.sampling.get("chosen", 0) + size,
            "gates": self.result.sampling.get("gates", {}),
        }
        if choice.gate is not None:
            self.result.sampling["gates"]["-".join(languages)] = {
                "candidates": int(np.count_nonzero(alive)),
                "left_out": choice.gate.left_out,
                "lowest_score": choice.gate.lowest,
            }
        held_out = self._texts(
            self._corpus.rows_of(languages)
            & ((verdicts == Verdict.DEV) | (verdicts == Verdict.TEST))
        )
        if not self.result.coverage and len(held_out[0]):
            self.result.coverage = coverage(
                pool, choice.masks, *held_out, seed=data.seed, workers=self._engine.workers
            )

    def _texts(self, mask: Mask) -> tuple[Texts, Texts]:
        parts = list(self._blocks(mask))
        return concatenated([left for left, _ in parts]), concatenated([r for _, r in parts])

    def _blocks(self, mask: Mask) -> Iterator[tuple[Texts, Texts]]:
        for place in self._corpus.blocks:
            rows = np.flatnonzero(mask[place.rows])
            if len(rows):
                yield self._corpus.texts(place, rows)
