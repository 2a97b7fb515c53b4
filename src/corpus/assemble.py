"""From finished work units to the processed corpus: global decisions, then the text shards.

Up to here every row was judged alone. Three questions need all rows together: which are duplicates,
which are held out, which are chosen. They are answered on fixed-size columns (three keys, a score,
one verdict a row); text is read one unit at a time, except that choosing by diversity sees a block
of a million pairs at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from src.corpus import sampling
from src.corpus.dedup import CHINESE, ENGLISH, PAIR, KeyColumns, surplus
from src.corpus.quantities import HISTOGRAM_EDGES, measure
from src.corpus.report import EXAMPLES_PER_REASON, Report
from src.corpus.shards import REJECTED_SCHEMA, TEXT_SCHEMA, ShardWriter
from src.corpus.splits import hold_out
from src.corpus.work_units import UnitCounts, WorkUnit
from src.schema import DataConfig

_SAMPLING_BLOCK_ROWS = 1_000_000
_EXAMPLE_CHARACTERS = 400


class Verdict(IntEnum):
    """What becomes of a row that passed the filters."""

    TRAIN = 0
    DEV = 1
    TEST = 2
    SAMPLED_OUT = 3
    DUPLICATE_PAIR = 4
    DUPLICATE_SIDE = 5
    LEAKS_HELD_OUT = 6


SPLITS = {"train": Verdict.TRAIN, "dev": Verdict.DEV, "test": Verdict.TEST}
_REASONS = {
    Verdict.DUPLICATE_PAIR: "duplicate_pair",
    Verdict.DUPLICATE_SIDE: "duplicate_side",
    Verdict.LEAKS_HELD_OUT: "leaks_held_out",
}
Verdicts = NDArray[np.uint8]


class Corpus:
    """The rows that passed the filters, over all units in order."""

    def __init__(self, units: Sequence[WorkUnit]) -> None:
        self.units = units
        self.keys = KeyColumns([unit.folder / "keys.npy" for unit in units])

    def __len__(self) -> int:
        return len(self.keys)

    def tables(self, columns: Sequence[str]) -> Iterator[tuple[slice, pa.Table]]:
        """Per unit its place in the corpus and the named columns of its rows."""
        for index, unit in enumerate(self.units):
            place = slice(int(self.keys.starts[index]), int(self.keys.starts[index + 1]))
            yield place, _read(unit.folder / "kept.parquet", columns)

    def column(self, name: str) -> NDArray[Any]:
        """One fixed-size column of all rows."""
        parts = [table[name].to_numpy() for _, table in self.tables([name])]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def texts(self, chosen: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
        """English and Chinese sides of the chosen rows, in order."""
        english: list[str] = []
        chinese: list[str] = []
        for place, table in self.tables(["en", "zh"]):
            if chosen[place].any():
                rows = table.filter(pa.array(chosen[place]))
                english += rows["en"].to_pylist()
                chinese += rows["zh"].to_pylist()
        return english, chinese


def decide(corpus: Corpus, data: DataConfig) -> tuple[Verdicts, dict[str, float]]:
    """Finds duplicates, holds out dev and test, and chooses `sample_size` pairs of the rest.

    Returns:
        `[N]` one `Verdict` per row, and the coverage of the choice for the report.

    Raises:
        DataError: If too few pairs are left for the splits.
    """
    verdicts = np.full(len(corpus), Verdict.TRAIN, dtype=np.uint8)
    verdicts[surplus(corpus.keys, PAIR, verdicts == Verdict.TRAIN, limit=1)] = (
        Verdict.DUPLICATE_PAIR
    )
    for side in (ENGLISH, CHINESE):
        limit = data.filters.max_pairs_per_sentence
        verdicts[surplus(corpus.keys, side, verdicts == Verdict.TRAIN, limit=limit)] = (
            Verdict.DUPLICATE_SIDE
        )
    dev, test, leaks = hold_out(corpus.keys, verdicts == Verdict.TRAIN, data.splits, data.seed)
    verdicts[dev], verdicts[test], verdicts[leaks] = (
        Verdict.DEV,
        Verdict.TEST,
        Verdict.LEAKS_HELD_OUT,
    )
    return verdicts, _sample(corpus, verdicts, data)


def _sample(corpus: Corpus, verdicts: Verdicts, data: DataConfig) -> dict[str, float]:
    """Marks the training rows that are not chosen; returns the coverage of the choice."""
    rows = np.flatnonzero(verdicts == Verdict.TRAIN)
    if data.sample_size is None or data.sample_size >= len(rows):
        return {}
    keys = np.concatenate([unit for _, unit in corpus.keys.units(PAIR)])[rows]
    scores = corpus.column("score")[rows]
    needs_text = data.sample_strategy == "diverse"
    step = _SAMPLING_BLOCK_ROWS if needs_text else len(rows)
    coverage: dict[str, float] = {}
    taken = 0
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        # Blocks share the budget in proportion; rounding never loses or adds a pair.
        size = data.sample_size * (start + len(block)) // len(rows) - taken
        taken += size
        here = np.zeros(len(corpus), dtype=np.bool_)
        here[block] = True
        # Without diversity only hashes and scores count, so no text is read.
        english, chinese = corpus.texts(here) if needs_text else ([""] * len(block),) * 2
        choice: dict[str, Any] = {
            "english": english,
            "chinese": chinese,
            "scores": scores[start : start + step],
            "keys": keys[start : start + step],
            "size": size,
            "seed": data.seed,
        }
        chosen = sampling.select(data.sample_strategy, **choice)
        verdicts[block[~chosen]] = Verdict.SAMPLED_OUT
        if needs_text and step >= len(rows):
            coverage = _coverage(corpus, verdicts, chosen, choice)
    return coverage


def _coverage(
    corpus: Corpus, verdicts: Verdicts, chosen: NDArray[np.bool_], choice: dict[str, Any]
) -> dict[str, float]:
    held_out = corpus.texts((verdicts == Verdict.DEV) | (verdicts == Verdict.TEST))
    if not held_out[0]:
        return {}
    return {
        name: sampling.coverage(
            english=choice["english"],
            chinese=choice["chinese"],
            chosen=mask,
            held_out_english=held_out[0],
            held_out_chinese=held_out[1],
        )
        for name, mask in (
            ("selected", chosen),
            ("random", sampling.select("random", **choice)),
        )
    }


def write_corpus(corpus: Corpus, verdicts: Verdicts, folder: Path) -> Report:
    """Writes `text/` and `rejected/` below a folder and accounts for every row.

    Returns:
        The counts, histograms and examples; time and memory are the caller's to add.
    """
    report = Report(splits=dict.fromkeys(SPLITS, 0))
    after = {name: np.zeros(len(edges) - 1) for name, edges in HISTOGRAM_EDGES.items()}
    before = {name: np.zeros(len(edges) - 1) for name, edges in HISTOGRAM_EDGES.items()}
    with ExitStack() as stack:
        for name in ("text", "rejected"):
            (folder / name).mkdir(parents=True)
        writers = {
            name: stack.enter_context(ShardWriter(folder / "text", name, TEXT_SCHEMA))
            for name in SPLITS
        }
        rejected_writer = stack.enter_context(
            ShardWriter(folder / "rejected", "rejected", REJECTED_SCHEMA)
        )
        columns = ["en", "zh", "score", "length_ratio"]
        for unit, (place, pairs) in zip(corpus.units, corpus.tables(columns), strict=True):
            counts = UnitCounts.load(unit.folder)
            here = verdicts[place]
            table = pairs.append_column("source", _constant(unit.table.source, pairs.num_rows))
            for name, verdict in SPLITS.items():
                rows = table.filter(pa.array(here == verdict))
                writers[name].write(rows)
                report.splits[name] += rows.num_rows
                _add_histograms(after, rows)
            rejected = _rejected_rows(unit, table, here)
            rejected_writer.write(rejected)
            _add_examples(report, rejected)
            _add_counts(report, unit.table.source, counts, here)
            for name, bins in counts.histograms.items():
                before[name] += bins
    report.histograms = {
        name: {
            "edges": edges.tolist(),
            "before": before[name].tolist(),
            "after": after[name].tolist(),
        }
        for name, edges in HISTOGRAM_EDGES.items()
    }
    return report


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    return pq.read_table(path, columns=list(columns), use_threads=False, memory_map=True)


def _constant(text: str, count: int) -> pa.Array:
    return pa.array([text] * count, pa.string())


def _rejected_rows(unit: WorkUnit, table: pa.Table, here: Verdicts) -> pa.Table:
    """Rows dropped within the unit, then those dropped for what other rows hold."""
    own = _read(unit.folder / "rejected.parquet", ["en", "zh", "score", "reason"])
    own = own.append_column("source", _constant(unit.table.source, own.num_rows))
    is_dropped = here >= min(_REASONS)
    reasons = [_REASONS[Verdict(verdict)] for verdict in here[is_dropped].tolist()]
    others = table.filter(pa.array(is_dropped)).append_column(
        "reason", pa.array(reasons, pa.string())
    )
    names = REJECTED_SCHEMA.names
    return pa.concat_tables([own.select(names), others.select(names)])


def _add_histograms(totals: dict[str, NDArray[np.float64]], rows: pa.Table) -> None:
    for name, values in measure(rows).items():
        totals[name] += np.histogram(values, bins=HISTOGRAM_EDGES[name])[0]


def _add_examples(report: Report, rejected: pa.Table) -> None:
    for row in rejected.select(["en", "zh", "source", "reason"]).to_batches():
        for english, chinese, source, reason in zip(*(c.to_pylist() for c in row), strict=True):
            examples = report.examples.setdefault(reason, [])
            if len(examples) < EXAMPLES_PER_REASON:
                examples.append({"en": _cut(english), "zh": _cut(chinese), "source": source})


def _cut(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[:_EXAMPLE_CHARACTERS] + " …"


def _add_counts(report: Report, source: str, counts: UnitCounts, here: Verdicts) -> None:
    dropped = Counter(counts.dropped)
    dropped.update(
        {reason: int(np.count_nonzero(here == verdict)) for verdict, reason in _REASONS.items()}
    )
    dropped = +dropped  # without zeros
    sampled_out = int(np.count_nonzero(here == Verdict.SAMPLED_OUT))
    kept = counts.rows_in - dropped.total()
    entry = report.by_source.setdefault(
        source, {"rows_in": 0, "kept": 0, "dropped": {}, "sampled_out": 0}
    )
    report.rows_in += counts.rows_in
    report.kept += kept
    report.sampled_out += sampled_out
    entry["rows_in"] += counts.rows_in
    entry["kept"] += kept
    entry["sampled_out"] += sampled_out
    for target in (report.dropped, entry["dropped"]):
        for reason, count in sorted(dropped.items()):
            target[reason] = target.get(reason, 0) + count
    for repair, count in sorted(counts.repaired.items()):
        report.repaired[repair] = report.repaired.get(repair, 0) + count
