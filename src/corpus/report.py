"""What `process` did to every row: counted, checked, and written for machines and for people.

A report is only written when its sums hold, so a number that reaches report.json can be trusted:

    rows_in = kept + sum(dropped.values())
    kept    = sampled_out + sum(splits.values())

and the same `rows_in`, `kept` and `dropped`, reason by reason, are the sums over the sources.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from src.corpus import report_page
from src.errors import DataError
from src.files import write_text

EXAMPLES_PER_REASON = report_page.EXAMPLES_SHOWN

_WARN_ABOVE_SHARE = 0.15
# Below this many rows a share says more about chance than about the source.
_WARN_FROM_ROWS = 50

# What a dropped row is, for the reasons whose names do not say it well in a sentence.
_REASON_IN_WORDS = {
    "bad_encoding": "not UTF-8",
    "duplicate_pair": "a repetition of other rows",
    "duplicate_side": "another translation of a sentence that is there already",
    "empty": "empty on one side or both",
    "encoding": "damaged by a wrong encoding",
    "leaks_held_out": "a repetition of held-out sentences",
    "length_ratio": "out of proportion (one side is far longer than the other)",
    "low_quality": "below the quality threshold",
    "low_vocabulary": "poor in vocabulary",
    "malformed_line": "malformed (not one pair to a line)",
    "numbers": "inconsistent in its numbers",
    "placeholders": "inconsistent in its placeholders",
    "punctuation": "mostly punctuation",
    "repetition": "repetitive",
    "swapped": "swapped (Chinese and English stand in each other's column)",
    "too_long": "too long",
    "untranslated": "untranslated",
    "wrong_script": "in the wrong language",
}


@dataclass
class Report:
    """The account of one `process` run; `check` says whether it adds up.

    Attributes:
        rows_in: Rows read from all sources, broken ones included.
        kept: Rows that passed every filter.
        dropped: Rows lost, by reason.
        sampled_out: Rows that passed but were not chosen for `sample_size`.
        splits: Rows written, by split.
        by_source: Per source `rows_in`, `kept` and `dropped` {reason: n}.
        repaired: Rows changed and kept, by repair. A row can count under several.
        pairs_per_second: `rows_in` over `seconds`.
        peak_rss_bytes: Largest resident memory of the run.
        seconds: Wall time of the run.
        histograms: Per quantity `edges` of equally wide bins (bins + 1 values), and counts per
            bin `before` filtering and `after` filtering and sampling.
        examples: Per reason a few dropped pairs, each with `en`, `zh` and `source`.
        coverage: Share (0 to 1) of held-out 1- to 3-gram types found in what was chosen
            (`selected`) and in as many pairs drawn at random (`random`); empty without sampling.
        warnings: Sentences for the person at the terminal; see `find_warnings`.
    """

    rows_in: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sampled_out: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    by_source: dict[str, dict[str, Any]] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    pairs_per_second: float = 0.0
    peak_rss_bytes: int = 0
    seconds: float = 0.0
    histograms: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
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
        problems = [
            *_total_problems(self),
            *_source_problems(self),
            *_negative_problems(self),
        ]
        if problems:
            raise DataError(
                "the report does not add up, rows were lost or counted twice: "
                + "; ".join(problems)
            )


def _total_problems(report: Report) -> list[str]:
    dropped, written = sum(report.dropped.values()), sum(report.splits.values())
    problems = []
    if report.rows_in != report.kept + dropped:
        problems.append(
            f"rows_in={report.rows_in} but kept={report.kept} + dropped={dropped} "
            f"is {report.kept + dropped}"
        )
    if report.kept != report.sampled_out + written:
        problems.append(
            f"kept={report.kept} but sampled_out={report.sampled_out} + splits={written} "
            f"is {report.sampled_out + written}"
        )
    return problems


def _source_problems(report: Report) -> list[str]:
    problems = []
    sums: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for name, counts in report.by_source.items():
        dropped = sum(counts["dropped"].values())
        if counts["rows_in"] != counts["kept"] + dropped:
            problems.append(
                f"source {name}: rows_in={counts['rows_in']} but kept={counts['kept']} + "
                f"dropped={dropped} is {counts['kept'] + dropped}"
            )
        sums.update({"rows_in": counts["rows_in"], "kept": counts["kept"]})
        reasons.update(counts["dropped"])
    problems += [
        f"{what}={total} but the sources sum to {sums[what]}"
        for what, total in (("rows_in", report.rows_in), ("kept", report.kept))
        if sums[what] != total
    ]
    problems += [
        f"dropped[{reason}]={report.dropped.get(reason, 0)} but the sources sum to "
        f"{reasons[reason]}"
        for reason in sorted({*report.dropped, *reasons})
        if report.dropped.get(reason, 0) != reasons[reason]
    ]
    return problems


def _negative_problems(report: Report) -> list[str]:
    counts = {
        "kept": report.kept,
        "sampled_out": report.sampled_out,
        **{f"dropped[{reason}]": count for reason, count in report.dropped.items()},
        **{f"splits[{split}]": count for split, count in report.splits.items()},
    }
    return [f"{name}={count} is negative" for name, count in counts.items() if count < 0]


def find_warnings(report: Report) -> list[str]:
    """What in the counts a person should look at, most telling first.

    A source that loses more than 15 % of its rows to one reason usually has one cause that can
    be mended at the source: a shifted file, a wrong encoding, pages nobody translated.
    """
    warnings: list[tuple[float, str]] = []
    for name, counts in report.by_source.items():
        rows = counts["rows_in"]
        if rows and not counts["kept"]:
            warnings.append((1.0, f"nothing of {name} was kept: all {rows:,} rows were dropped"))
        elif rows >= _WARN_FROM_ROWS:
            warnings += [
                (count / rows, _source_warning(name, count / rows, reason))
                for reason, count in counts["dropped"].items()
                if count > _WARN_ABOVE_SHARE * rows
            ]
        elif not rows:
            warnings.append((1.0, f"{name} holds no rows"))
    texts = [text for _, text in sorted(warnings, key=lambda item: (-item[0], item[1]))]
    texts += [f"the {split} split is empty" for split, n in report.splits.items() if not n]
    return texts


def _source_warning(name: str, share: float, reason: str) -> str:
    words = _REASON_IN_WORDS.get(reason)
    tail = f"is {words}" if words else f"was dropped as {reason}"
    return f"{100 * share:.0f} % of {name} {tail}"


def write_report(report: Report, folder: Path) -> None:
    """Writes `report.html`, then `report.json`: where the second is, the first is whole.

    Raises:
        DataError: If the report does not add up; nothing is written then.
    """
    report.check()
    document = json.dumps(report.to_json(), ensure_ascii=False, indent=2, allow_nan=False)
    # Text from broken sources can hold lone surrogates; JSON writes them as it escapes them.
    document = document.encode("utf-8", "backslashreplace").decode("utf-8")
    write_text(folder / "report.html", report_page.render_page(report))
    write_text(folder / "report.json", document + "\n")
