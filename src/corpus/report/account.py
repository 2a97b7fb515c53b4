"""The account of one `process` run, and the sums that it has to hold.

A report is only written when its sums hold, so a number that reaches report.json can be trusted:

    rows_in = kept + sum(dropped.values())
    kept    = sampled_out + sum(splits.values())

for the whole and for each source; and each of these numbers, reason by reason and split by split,
is the sum over the sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from src.errors import DataError


@dataclass
class Report:
    """The account of one `process` run; `check` says whether it adds up.

    Left and right are the first and second language of a corpus pair. What is empty is unknown and
    not shown.

    Attributes:
        rows_in: Rows read from all sources, broken ones included.
        kept: Rows that passed every filter.
        dropped: Rows lost, by reason.
        sampled_out: Rows that passed but were not chosen for `sample_size`.
        splits: Rows written, by split.
        by_source: Per source the same five, and `unjudged`, rows whose adequacy could not be
            judged, where that is known.
        languages: Corpus pairs, such as `en-zh`.
        repaired: Rows changed and kept, by repair. A row can count under several.
        histograms: Per quantity `edges` of equally wide bins (bins + 1 values), and counts per
            bin `before` filtering and `after` filtering and sampling; perhaps `limits`, the
            thresholds that decided.
        sampling: `strategy`, `wanted`, `candidates` and `chosen` pairs, and whatever else the
            sampler tells of what it did; empty without sampling.
        coverage: Share (0 to 1) of held-out 1- to 3-gram types found in what was chosen
            (`selected`), in as many pairs drawn at random (`random`) and in all candidates
            (`all`); `curve` has both as the sample grows, by its `share` of the full size.
        adequacy: Rows `judged` and `unjudged` (too rare words), and what else is to tell.
        token_lengths: Per direction `pairs`, `tokens`, percentiles `p50` to `max` in tokens of a
            sequence, `candidates` for max_seq_length with the `cut_pairs` and `cut_tokens` of
            each, the `recommendation`, and what is `configured`: a number, or one by model.
        phases: In order, `name` and `seconds`, and perhaps `rows` and `peak_rss_bytes`.
        seconds: Wall time of the run.
        pairs_per_second: `rows_in` over `seconds`.
        peak_rss_bytes: Largest resident memory of the run.
        examples: Per reason a few dropped pairs; see `src.corpus.report.examples`.
        warnings: Sentences for the person at the terminal; see `find_warnings`.
    """

    rows_in: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sampled_out: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    by_source: dict[str, dict[str, Any]] = field(default_factory=dict)
    languages: list[str] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    adequacy: dict[str, Any] = field(default_factory=dict)
    token_lengths: dict[str, dict[str, Any]] = field(default_factory=dict)
    phases: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    pairs_per_second: float = 0.0
    peak_rss_bytes: int = 0
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers, ready for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """The report that `to_json` gave.

        Raises:
            DataError: If a field is missing or unknown.
        """
        names = {item.name for item in fields(cls)}
        missing, unknown = sorted(names - set(document)), sorted(set(document) - names)
        if missing or unknown:
            raise DataError(
                f"not a report of this version: missing fields {missing}, unknown fields "
                f"{unknown}; run `python run.py process` again"
            )
        return cls(**document)

    def check(self) -> None:
        """Holds the identities of the module docstring.

        Raises:
            DataError: Listing every sum that does not hold, with its numbers.
        """
        totals = {
            "rows_in": self.rows_in,
            "kept": self.kept,
            "dropped": self.dropped,
            "sampled_out": self.sampled_out,
            "splits": self.splits,
        }
        problems = [
            *_identity_problems("", totals),
            *(
                problem
                for name, counts in self.by_source.items()
                for problem in _identity_problems(f"source {name}: ", counts)
            ),
            *_sum_problems(totals, self.by_source),
        ]
        if problems:
            raise DataError(
                "the report does not add up, rows were lost or counted twice: "
                + "; ".join(problems)
            )


def _identity_problems(where: str, counts: Mapping[str, Any]) -> Iterator[str]:
    rows_in, kept, sampled_out = (counts.get(k, 0) for k in ("rows_in", "kept", "sampled_out"))
    dropped = sum(counts.get("dropped", {}).values())
    written = sum(counts.get("splits", {}).values())
    if rows_in != kept + dropped:
        yield (f"{where}rows_in={rows_in} but kept={kept} + dropped={dropped} is {kept + dropped}")
    if kept != sampled_out + written:
        yield (
            f"{where}kept={kept} but sampled_out={sampled_out} + splits={written} "
            f"is {sampled_out + written}"
        )
    for name, count in _flat(counts).items():
        if count < 0:
            yield f"{where}{name}={count} is negative"


def _sum_problems(
    totals: Mapping[str, Any], by_source: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    sums: Counter[str] = Counter()
    for counts in by_source.values():
        sums.update(_flat(counts))
    expected = _flat(totals)
    for name in sorted({*expected, *sums}):
        if expected.get(name, 0) != sums[name]:
            yield f"{name}={expected.get(name, 0)} but the sources sum to {sums[name]}"


def _flat(counts: Mapping[str, Any]) -> dict[str, int]:
    """`{"dropped": {"empty": 3}}` as `{"dropped[empty]": 3}`."""
    flat = {name: counts.get(name, 0) for name in ("rows_in", "kept", "sampled_out")}
    for group in ("dropped", "splits"):
        flat |= {f"{group}[{name}]": count for name, count in counts.get(group, {}).items()}
    return flat
