"""The account of a run: its sums, its warnings, and the page."""

import copy
import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.report import EXAMPLES_PER_REASON, Report, find_warnings, write_report
from src.corpus.report_charts import histogram
from src.corpus.report_page import render_page
from src.errors import DataError

BY_SOURCE: dict[str, dict[str, Any]] = {
    "python_docs": {
        "rows_in": 61_234,
        "kept": 33_679,
        "dropped": {"untranslated": 10_410, "duplicate": 9_000, "length_ratio": 8_145},
    },
    "tatoeba": {
        "rows_in": 12_988,
        "kept": 12_079,
        "dropped": {"untranslated": 9, "duplicate": 700, "length_ratio": 200},
    },
}


def make_report() -> Report:
    """A report like that of a real run."""
    report = Report(
        rows_in=74_222,
        kept=45_758,
        dropped={"untranslated": 10_419, "duplicate": 9_700, "length_ratio": 8_345},
        sampled_out=15_758,
        splits={"train": 29_000, "dev": 500, "test": 500},
        by_source=copy.deepcopy(BY_SOURCE),
        repaired={"whitespace": 8_113, "mojibake": 3},
        pairs_per_second=31_234.5,
        peak_rss_bytes=612 << 20,
        seconds=71.3,
        histograms={
            "english_words": {"edges": [0, 10, 20, 40], "before": [9, 5, 1], "after": [7, 5, 0]},
            "score": {"edges": [0.0, 0.5, 1.0], "before": [0, 0], "after": [0, 0]},
        },
        examples={
            "untranslated": [{"en": "Save", "zh": "Save", "source": "python_docs"}] * 30,
            "duplicate": [],
        },
        coverage={"selected": 0.2993, "random": 0.2438},
    )
    report.warnings = find_warnings(report)
    return report


class Elements(HTMLParser):
    """Counts start tags and finds tags that do not nest; collects what people read."""

    EMPTY = ("meta", "rect", "path")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
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


def test_report_survives_its_own_json(tmp_path: Path) -> None:
    report = make_report()
    write_report(report, tmp_path)
    assert Report.from_json(json.loads((tmp_path / "report.json").read_text("utf-8"))) == report


def test_a_report_of_another_version_is_refused_by_field() -> None:
    document = make_report().to_json()
    document["rows"] = document.pop("rows_in")
    with pytest.raises(DataError, match=r"missing fields \['rows_in'\], unknown fields \['rows'\]"):
        Report.from_json(document)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda report: setattr(report, "rows_in", 74_221),
            "rows_in=74221 but kept=45758 + dropped=28464 is 74222",
        ),
        (
            lambda report: report.splits.update(dev=501),
            "kept=45758 but sampled_out=15758 + splits=30001 is 45759",
        ),
        (
            lambda report: report.by_source["tatoeba"].update(kept=12_078),
            "source tatoeba: rows_in=12988 but kept=12078 + dropped=909 is 12987",
        ),
        (
            lambda report: report.by_source.pop("tatoeba"),
            "rows_in=74222 but the sources sum to 61234",
        ),
        (
            lambda report: report.dropped.update(untranslated=10_418, duplicate=9_701),
            "dropped[duplicate]=9701 but the sources sum to 9700",
        ),
        (
            lambda report: (report.splits.update(dev=-1), report.splits.update(train=29_501)),
            "splits[dev]=-1 is negative",
        ),
    ],
    ids=["total", "splits", "source", "missing source", "reason", "negative"],
)
def test_sums_that_do_not_hold_are_refused_with_their_numbers(
    tmp_path: Path, spoil: Callable[[Report], object], message: str
) -> None:
    report = make_report()
    spoil(report)
    with pytest.raises(DataError, match=re.escape(message)):
        write_report(report, tmp_path)
    assert list(tmp_path.iterdir()) == []


COUNTS = st.dictionaries(st.sampled_from(["empty", "numbers", "other"]), st.integers(0, 99))


@given(sources=st.dictionaries(st.text(max_size=4), st.tuples(st.integers(0, 99), COUNTS)))
def test_any_honest_account_passes_and_renders(
    sources: dict[str, tuple[int, dict[str, int]]],
) -> None:
    by_source: dict[str, dict[str, Any]] = {
        name: {"rows_in": kept + sum(dropped.values()), "kept": kept, "dropped": dropped}
        for name, (kept, dropped) in sources.items()
    }
    reasons = {reason for _, dropped in sources.values() for reason in dropped}
    kept = sum(kept for kept, _ in sources.values())
    report = Report(
        rows_in=sum(counts["rows_in"] for counts in by_source.values()),
        kept=kept,
        dropped={
            reason: sum(dropped.get(reason, 0) for _, dropped in sources.values())
            for reason in reasons
        },
        splits={"train": kept},
        by_source=by_source,
    )
    report.check()
    report.warnings = find_warnings(report)
    Elements(render_page(report))


def test_warnings_name_source_share_and_reason() -> None:
    assert find_warnings(make_report()) == ["17 % of python_docs is untranslated"]


@pytest.mark.parametrize(
    ("counts", "warnings"),
    [
        ({"rows_in": 100, "kept": 85, "dropped": {"numbers": 15}}, []),
        (
            {"rows_in": 100, "kept": 84, "dropped": {"numbers": 16}},
            ["16 % of web is inconsistent in its numbers"],
        ),
        (
            {"rows_in": 100, "kept": 80, "dropped": {"odd_rule": 20}},
            ["20 % of web was dropped as odd_rule"],
        ),
        ({"rows_in": 10, "kept": 5, "dropped": {"numbers": 5}}, []),
        (
            {"rows_in": 10, "kept": 0, "dropped": {"numbers": 10}},
            ["nothing of web was kept: all 10 rows were dropped"],
        ),
        ({"rows_in": 0, "kept": 0, "dropped": {}}, ["web holds no rows"]),
    ],
    ids=["at the limit", "above it", "unknown reason", "few rows", "all dropped", "no rows"],
)
def test_warnings_come_from_what_a_source_loses(
    counts: dict[str, Any], warnings: list[str]
) -> None:
    assert find_warnings(Report(by_source={"web": counts})) == warnings


def test_an_empty_split_is_a_warning() -> None:
    assert find_warnings(Report(splits={"train": 5, "dev": 0})) == ["the dev split is empty"]


def test_page_shows_numbers_warnings_and_pictures() -> None:
    page = Elements(render_page(make_report()))
    for text in (
        "74,222",
        "45,758",
        "61.7 % of all",
        "29,000 train",
        "1 min 11 s",
        "612.0 MiB",
        "17 % of python_docs is untranslated",
        "length ratio",
        "82.5 % → 73.6 %",
        "English length, words",
        "mojibake",
        "<0.1 %",
        "29.9 %",
    ):
        assert text in page.text
    assert page.text.count("Save") == 2 * EXAMPLES_PER_REASON
    assert page.tags.count("details") == 1
    assert page.tags.count("figure") == 2


def test_page_needs_nothing_from_elsewhere() -> None:
    html = render_page(make_report())
    page = Elements(html)
    assert not {"script", "link", "img", "iframe", "base", "object"} & set(page.tags)
    assert not {"href", "src", "onload"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import", html)


def test_corpus_text_stays_text() -> None:
    report = make_report()
    hostile = "<script>alert('x')</script> & \x00\x85\u202e </p>"
    report.examples["untranslated"] = [{"en": hostile, "zh": "", "source": '"><img src=x>'}]
    report.warnings = ["<em>warning</em>"]
    report.by_source["<i>s</i>"] = {"rows_in": 0, "kept": 0, "dropped": {}}
    report.repaired["<u>"] = 1
    report.histograms['"><hr>'] = {"edges": [0, 1], "before": [1], "after": [1]}
    page = Elements(render_page(report))
    assert not {"script", "img", "em", "hr", "u"} & set(page.tags)
    assert "<script>alert('x')</script> & \\u0000\\u0085\\u202e </p>" in page.text
    assert "(empty)" in page.text
    assert "<em>warning</em>" in page.text
    assert "<i>s</i>" in page.text


def test_long_examples_are_cut_and_broken_characters_written(tmp_path: Path) -> None:
    report = make_report()
    report.examples["untranslated"] = [{"en": "x" * 20_000, "zh": "\ud800", "source": "s"}]
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "x" * 240 + "…" in page
    assert "x" * 241 not in page
    assert Report.from_json(json.loads((tmp_path / "report.json").read_text("utf-8"))) == report


def test_report_of_nothing_renders(tmp_path: Path) -> None:
    write_report(Report(), tmp_path)
    assert "No rows were read." in (tmp_path / "report.html").read_text("utf-8")


@given(
    counts=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1),
    first=st.floats(-100, 100),
    width=st.floats(0.01, 1000),
)
def test_any_histogram_stays_within_its_picture(
    counts: list[tuple[int, int]], first: float, width: float
) -> None:
    edges = [first + width * index for index in range(len(counts) + 1)]
    before, after = [pair[0] for pair in counts], [pair[1] for pair in counts]
    html = histogram(edges, before, after, "lengths")
    page = Elements(html)
    numbers = re.findall(r">([^<]+)</text>", html)
    assert len(numbers) <= 7
    assert all(edges[0] - width <= float(number) <= edges[-1] + width for number in numbers)
    paths = [value for name, value in page.attributes if name == "d" and value]
    for path in paths:
        for command, place in re.findall(r"([HV])(-?[\d.]+)", path):
            assert 0 <= float(place) <= (360 if command == "H" else 150)


def test_an_almost_empty_tail_is_counted_in_the_last_bar() -> None:
    before = [500, 500, 300, *[0] * 96, 1]
    html = histogram([*range(101)], before, before, "lengths")
    assert re.findall(r">(\d+)<", html) == ["0", "1", "2", "3"]


def test_to_json_is_a_copy() -> None:
    report = make_report()
    report.to_json()["dropped"]["duplicate"] = 0
    assert report == dataclasses.replace(report, dropped=dict(make_report().dropped))
