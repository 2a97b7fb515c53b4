"""A report like that of a real run, and a reader of the page made from it."""

from html.parser import HTMLParser
from typing import Any

from src.corpus.report import Report, find_warnings


def make_report() -> Report:
    """A report like that of a real run."""
    report = Report(
        rows_in=74_222,
        kept=45_758,
        dropped={"untranslated": 10_419, "duplicate_pair": 9_700, "length_ratio": 8_345},
        sampled_out=15_758,
        splits={"train": 29_000, "dev": 500, "test": 500},
        by_source={
            "python_docs": {
                "rows_in": 61_234,
                "kept": 33_679,
                "dropped": {"untranslated": 10_410, "duplicate_pair": 9_000, "length_ratio": 8_145},
                "sampled_out": 13_679,
                "splits": {"train": 19_300, "dev": 400, "test": 300},
            },
            "tatoeba": {
                "rows_in": 12_988,
                "kept": 12_079,
                "dropped": {"untranslated": 9, "duplicate_pair": 700, "length_ratio": 200},
                "sampled_out": 2_079,
                "splits": {"train": 9_700, "dev": 100, "test": 200},
            },
        },
        languages=["en-zh"],
        repaired={"whitespace": 8_113, "mojibake": 3},
        histograms={
            "left_characters": {"edges": [0, 10, 20, 40], "before": [9, 5, 1], "after": [7, 5, 0]},
            "adequacy": {
                "edges": [0.0, 0.5, 1.0],
                "before": [3, 9],
                "after": [0, 9],
                "limits": [0.2],
            },
        },
        sampling={
            "strategy": "diverse",
            "wanted": 29_000,
            "candidates": 44_758,
            "chosen": 29_000,
            "gate": 0.83,
        },
        coverage={
            "selected": 0.2993,
            "random": 0.2438,
            "all": 0.3311,
            "curve": {
                "share": [0.25, 0.5, 1.0],
                "selected": [0.2, 0.25, 0.2993],
                "random": [0.1, 0.2, 0.2438],
            },
        },
        adequacy={"judged": 41_000, "unjudged": 4_758, "lexicon": "6f1a"},
        token_lengths={"en-zh": make_lengths(), "zh-en": make_lengths()},
        phases=[
            {"name": "filtering", "seconds": 48.0, "rows": 74_222, "peak_rss_bytes": 512 << 20},
            {"name": "tokens", "seconds": 12.5},
        ],
        seconds=71.3,
        pairs_per_second=31_234.5,
        peak_rss_bytes=612 << 20,
        examples={
            "untranslated": [
                {
                    "left": "Save now",
                    "right": "Save 吧",
                    "source": "python_docs",
                    "languages": "en-zh",
                    "left_marks": [[0, 4]],
                    "right_marks": [[0, 4]],
                }
            ]
            * 30,
            "duplicate_pair": [],
        },
    )
    report.warnings = find_warnings(report)
    return report


def make_lengths() -> dict[str, Any]:
    """Lengths in tokens of one direction."""
    return {
        "pairs": 29_000,
        "tokens": 1_400_000,
        "p50": 40,
        "p90": 90,
        "p95": 120,
        "p99": 240,
        "max": 900,
        "candidates": [
            {"max_seq_length": 128, "cut_pairs": 1_160, "cut_tokens": 210_000},
            {"max_seq_length": 256, "cut_pairs": 87, "cut_tokens": 40_000},
            {"max_seq_length": 384, "cut_pairs": 9, "cut_tokens": 6_000},
        ],
        "recommendation": 256,
        "configured": {"teacher": 256, "student": 256},
    }


class Elements(HTMLParser):
    """Counts start tags and finds tags that do not nest; collects what people read."""

    EMPTY = ("meta", "rect", "path", "polyline")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.marked: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] == "mark":
            self.marked.append(data)
