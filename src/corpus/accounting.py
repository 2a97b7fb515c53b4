"""From verdicts to the report: every row counted, per source and in total, with examples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from src.corpus.adequacy_stage import AdequacyScores
from src.corpus.keys import PAIR
from src.corpus.mixing import mixed
from src.corpus.quantities import HISTOGRAM_EDGES, Histograms, counts_per_bin
from src.corpus.report import EXAMPLES_PER_REASON, ExampleBox, Report
from src.corpus.texts import Texts
from src.corpus.unit_files import read_unreadable
from src.corpus.unit_rows import BlockPlace, Corpus
from src.corpus.verdicts import SPLITS, Verdict, Verdicts
from src.corpus.write_corpus import verdict_counts
from src.schema.data import DataConfig


def account(
    corpus: Corpus,
    verdicts: Verdicts,
    reasons: dict[int, str],
    *,
    adequacy: AdequacyScores,
    after: Histograms,
    data: DataConfig,
) -> Report:
    """What happened to every row of a corpus.

    Args:
        corpus: Rows of finished units.
        verdicts: `[N]` what became of each.
        reasons: Reason by code of a verdict.
        adequacy: Scores of the same corpus.
        after: Histograms of the rows in the splits, without adequacy.
        data: The limits, for the pictures.

    Returns:
        Counts, histograms and examples; time, memory and what the sampler did are not in it.
    """
    report = Report(splits=dict.fromkeys(SPLITS, 0))
    report.languages = ["-".join(languages) for languages in corpus.languages()]
    counts = verdict_counts(corpus, verdicts)
    for index in range(len(corpus.units)):
        _add_unit(report, corpus, index, counts[index], reasons)
    report.histograms = _histograms(corpus, verdicts, adequacy, after)
    for name, limits in _limits(data).items():
        if name in report.histograms:
            report.histograms[name]["limits"] = limits
    report.examples = _examples(corpus, verdicts, reasons)
    return report


def _add_unit(
    report: Report,
    corpus: Corpus,
    index: int,
    codes: npt.NDArray[np.int64],
    reasons: dict[int, str],
) -> None:
    unit = corpus.counts[index]
    dropped = Counter(unit.unreadable)
    for code, reason in reasons.items():
        dropped[reason] += int(codes[code])
    dropped = +dropped  # without zeros
    splits = {name: int(codes[verdict]) for name, verdict in SPLITS.items()}
    sampled_out = int(codes[Verdict.SAMPLED_OUT])
    entry: dict[str, Any] = report.by_source.setdefault(
        corpus.units[index].table.source,
        {
            "rows_in": 0,
            "kept": 0,
            "sampled_out": 0,
            "dropped": {},
            "splits": dict.fromkeys(SPLITS, 0),
        },
    )
    kept = unit.rows_in - dropped.total()
    report.rows_in += unit.rows_in
    report.kept += kept
    report.sampled_out += sampled_out
    entry["rows_in"] += unit.rows_in
    entry["kept"] += kept
    entry["sampled_out"] += sampled_out
    for totals, more in (
        (report.dropped, dropped),
        (entry["dropped"], dropped),
        (report.splits, splits),
        (entry["splits"], splits),
        (report.repaired, unit.repaired),
    ):
        for name, count in sorted(more.items()):
            totals[name] = totals.get(name, 0) + count


def _histograms(
    corpus: Corpus, verdicts: Verdicts, adequacy: AdequacyScores, after: Histograms
) -> dict[str, dict[str, list[float]]]:
    nothing = {name: np.zeros(len(edges) - 1, np.int64) for name, edges in HISTOGRAM_EDGES.items()}
    before = dict(nothing)
    for counts in corpus.counts:
        for name, bins in counts.histograms.items():
            before[name] = before[name] + np.asarray(bins)
    after = {**nothing, **after}
    for place in corpus.blocks:
        scores = adequacy.of(place)
        scores = np.where(scores < 0, np.float32(np.nan), scores)
        is_written = verdicts[place.rows] <= Verdict.TEST
        edges = HISTOGRAM_EDGES["adequacy"]
        before["adequacy"] = before["adequacy"] + counts_per_bin(scores, edges)
        after["adequacy"] = after["adequacy"] + counts_per_bin(scores[is_written], edges)
    return {
        name: {
            "edges": edges.tolist(),
            "before": before[name].tolist(),
            "after": after[name].tolist(),
        }
        for name, edges in HISTOGRAM_EDGES.items()
        if before[name].any()
    }


def _limits(data: DataConfig) -> dict[str, list[float]]:
    return {
        "length_ratio": [data.filters.length_ratio_min, data.filters.length_ratio_max],
        "quality": [data.quality_threshold],
        "adequacy": [data.adequacy.min_score],
    }


def _examples(
    corpus: Corpus, verdicts: Verdicts, reasons: dict[int, str]
) -> dict[str, list[dict[str, Any]]]:
    box = ExampleBox()
    for place in corpus.blocks:
        _offer_dropped(box, corpus, place, verdicts[place.rows], reasons)
    for unit in corpus.units:
        table = read_unreadable(unit.folder)
        for reason in dict.fromkeys(table["reason"].to_pylist()):
            rows = np.flatnonzero(table["reason"].to_numpy() == reason)
            rows = rows[:EXAMPLES_PER_REASON]
            box.offer(
                reason,
                unit.table.source,
                languages=unit.table.languages,
                left=Texts.from_arrow(table["text"]).take(rows),
                right=Texts.of([""] * len(rows)),
                keys=table["row"].to_numpy()[rows].astype(np.uint64),
            )
    return box.examples()


def _offer_dropped(
    box: ExampleBox, corpus: Corpus, place: BlockPlace, here: Verdicts, reasons: dict[int, str]
) -> None:
    """Offers, of every reason in a block, the few rows that could become examples."""
    if not (here >= Verdict.DUPLICATE_PAIR).any():
        return
    keys = corpus.block_keys(place, PAIR)
    codes: dict[str, list[int]] = {}
    for code in np.unique(here).tolist():
        if code in reasons:
            codes.setdefault(reasons[code], []).append(code)
    chosen: dict[str, npt.NDArray[np.int64]] = {}
    for reason, same in codes.items():
        rows = np.flatnonzero(np.isin(here, same))
        # The box ranks by hash and wants distinct pairs: no later row of a block can win.
        _, first = np.unique(mixed(keys[rows]), return_index=True)
        chosen[reason] = rows[first[:EXAMPLES_PER_REASON]]
    everything = np.concatenate(list(chosen.values()))
    left, right = corpus.texts(place, everything)
    unit, start = corpus.units[place.unit], 0
    for reason, rows in chosen.items():
        part = slice(start, start + len(rows))
        start += len(rows)
        box.offer(
            reason,
            unit.table.source,
            languages=unit.table.languages,
            left=left.slice(part.start, part.stop),
            right=right.slice(part.start, part.stop),
            keys=keys[rows],
        )
