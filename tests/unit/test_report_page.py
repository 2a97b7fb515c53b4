"""report.html: what it shows, and that it is safe and whole."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.report import EXAMPLES_PER_REASON, Report, write_report
from src.corpus.report.charts import bar, curves, histogram
from src.corpus.report.page import render_page
from tests.fakes.report_samples import Elements, make_report


def test_page_shows_numbers_warnings_and_pictures() -> None:
    page = Elements(render_page(make_report()))
    for text in (
        "74,222",
        "45,758",
        "61.7 % of all",
        "29,000 train",
        "1 min 11 s",
        "612.0 MiB",
        "17\u00a0% of python_docs is untranslated",
        "length ratio",
        "82.5 % → 73.6 %",
        "English length, characters",
        "Adequacy",
        "mojibake",
        "<0.1 %",
        "29.9 %",
        "33.1 %",
        "gate 0.83",
        "29,000 of 44,758 pairs chosen (64.8 %)",
        "89.6 % of 45,758 pairs could be judged",
        "Coverage as the sample grows",
    ):
        assert text in page.text
    assert page.text.count("Save") == 2 * EXAMPLES_PER_REASON
    assert page.marked == ["Save", "Save"] * EXAMPLES_PER_REASON
    assert page.tags.count("figure") == 3


def _rows(html: str, style: str) -> list[list[str]]:
    """Texts of the cells of a table's rows."""
    table = re.search(rf'<table class="{style}">.*?</table>', html, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table[0])
    return [re.findall(r">([^<]*)</t[hd]>", row) for row in rows]


def test_the_funnel_goes_down_from_rows_read_to_splits() -> None:
    rows = _rows(render_page(make_report()), "funnel")
    assert [[row[0], row[-3], row[-1]] for row in rows[1:]] == [
        ["read", "74,222", ""],
        ["untranslated", "−10,419", "63,803"],
        ["length ratio", "−8,345", "55,458"],
        ["duplicate pair", "−9,700", "45,758"],
        ["good, not chosen", "−15,758", "30,000"],
        ["train", "29,000", ""],
        ["dev", "500", ""],
        ["test", "500", ""],
    ]


def test_every_reason_is_shown_by_source() -> None:
    assert _rows(render_page(make_report()), "matrix") == [
        ["Of the rows of", "all", "python_docs", "tatoeba"],
        ["untranslated", "14.0 %", "17.0 %", "0.1 %"],
        ["length ratio", "11.2 %", "13.3 %", "1.5 %"],
        ["duplicate pair", "13.1 %", "14.7 %", "5.4 %"],
        ["good, not chosen", "21.2 %", "22.3 %", "16.0 %"],
        ["train", "39.1 %", "31.5 %", "74.7 %"],
        ["dev", "0.7 %", "0.7 %", "0.8 %"],
        ["test", "0.7 %", "0.5 %", "1.5 %"],
    ]


def test_source_shares_before_and_after_sampling_are_shown() -> None:
    rows = _rows(render_page(make_report()), "shares")
    assert [[row[0], *row[-4:]] for row in rows[1:]] == [
        ["python_docs", "73.7 %", "66.6 %", "−7.1", "58.5 %"],
        ["tatoeba", "26.3 %", "33.4 %", "+7.1", "82.3 %"],
    ]


def test_the_gate_of_the_sampler_is_told_with_its_score() -> None:
    report = make_report()
    report.sampling["gates"] = {
        "en-zh": {"candidates": 8000, "left_out": 2000, "lowest_score": 0.73456},
        "de-fr": {"candidates": 10, "left_out": 0, "lowest_score": None},
    }
    text = " ".join(re.sub(r"<[^>]*>", " ", render_page(report)).split())
    assert (
        "en-zh: the gate left out 2,000 pairs (25.0 %), those with a score below 0.735 "
        "de-fr: the gate left out nothing"
    ) in text


def test_token_lengths_show_what_each_limit_costs_and_which_is_recommended() -> None:
    html = render_page(make_report())
    rows = re.findall(r"<tr.*?</tr>", html[html.index('<table class="candidates">') :])[:4]
    texts = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows[1:]]
    assert texts == [
        "128 4.0 % 15.0 % 4.0 % 15.0 %",
        "256 recommended teacher has this student has this 0.3 % 2.9 % 0.3 % 2.9 %",
        "384 &lt;0.1 % 0.4 % &lt;0.1 % 0.4 %",
    ]


def test_phases_show_time_speed_and_memory() -> None:
    rows = _rows(render_page(make_report()), "phases")
    assert [[row[0], *row[-4:]] for row in rows[1:]] == [
        ["filtering", "48 s", "67.3 %", "1.5k", "512.0 MiB"],
        ["tokens", "12 s", "17.5 %", "", ""],
    ]


@pytest.mark.parametrize(
    ("languages", "names"),
    [
        (["de-fr"], ["German", "French"]),
        (["en-zh", "de-fr"], ["Left side", "Right side"]),
        ([], ["Left side", "Right side"]),
    ],
)
def test_sides_are_named_by_their_languages(languages: list[str], names: list[str]) -> None:
    report = make_report()
    report.languages = languages
    report.examples["untranslated"] = report.examples["untranslated"][:1]
    report.examples["untranslated"][0]["languages"] = "de-fr"
    html = render_page(report)
    assert f"{names[0]} length, characters" in html
    assert f"<span>{names[0]}</span><span>{names[1]}</span>" in html
    assert '<p lang="de"' in html
    assert ("python_docs · de-fr" in html) == (len(languages) > 1)
    assert "Chinese" not in html


def test_many_warnings_are_folded() -> None:
    report = Report(warnings=[f"warning {number}" for number in range(11)])
    page = Elements(render_page(report))
    assert "3 more" in page.text
    assert page.text.count("warning ") == 11


def test_what_is_unknown_has_no_section() -> None:
    page = Elements(render_page(Report()))
    assert "No rows were read." in page.text
    assert page.tags.count("section") == 1


def test_page_needs_nothing_from_elsewhere() -> None:
    html = render_page(make_report())
    page = Elements(html)
    assert not {"script", "link", "img", "iframe", "base", "object"} & set(page.tags)
    assert not {"href", "src", "onload"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import", html)


def test_corpus_text_stays_text() -> None:
    report = make_report()
    hostile = "<script>alert('x')</script> & \x00\x85\u202e </p>"
    report.examples = {
        '"><b>': [
            {
                "left": hostile,
                "right": "",
                "source": '"><img src=x>',
                "languages": '"><hr>-<hr>',
                "left_marks": [[0, 8]],
                "right_marks": [],
            }
        ]
    }
    report.warnings = ["<em>warning</em>"]
    report.by_source["<i>s</i>"] = {
        "rows_in": 1,
        "kept": 0,
        "dropped": {"<hr>": 1},
        "sampled_out": 0,
        "splits": {"train": 0},
    }
    report.dropped["<hr>"] = 1
    report.repaired["<u>"] = 1
    report.sampling["<u>"] = {"<u>": "<u>"}
    report.adequacy["<u>"] = "<u>"
    report.phases.append({"name": "<u>", "seconds": 1.0})
    report.token_lengths["<u>"] = {"configured": {"<u>": 256}, "recommendation": 256}
    report.histograms['"><hr>'] = {"edges": [0, 1], "before": [1], "after": [1]}
    page = Elements(render_page(report))
    assert not {"script", "img", "hr", "u"} & set(page.tags)
    assert "<script>alert('x')</script> & \\u0000\\u0085\\u202e </p>" in page.text
    assert page.marked == ["<script>", "(empty)"]
    assert "<em>warning</em>" in page.text
    assert "<i>s</i>" in page.text


def test_long_text_is_cut_with_its_marks_and_broken_characters_are_written(tmp_path: Path) -> None:
    report = make_report()
    example = report.examples["untranslated"][0]
    report.examples["untranslated"] = [
        example | {"left": "x" * 20_000, "left_marks": [[470, 20_000]], "right": "\ud800"}
    ]
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "x" * 470 + "<mark>" + "x" * 10 + "</mark>…" in page
    assert "\\ud800" in (tmp_path / "report.json").read_text("utf-8")


@given(
    counts=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1),
    first=st.floats(-100, 100),
    width=st.floats(0.01, 1000),
    limits=st.lists(st.floats(-1e6, 1e6), max_size=3),
)
def test_any_histogram_stays_within_its_picture(
    counts: list[tuple[int, int]], first: float, width: float, limits: list[float]
) -> None:
    edges = [first + width * index for index in range(len(counts) + 1)]
    before, after = [pair[0] for pair in counts], [pair[1] for pair in counts]
    html = histogram(edges, before, after, "lengths", limits=limits)
    page = Elements(html)
    numbers = re.findall(r">([^<]+)</text>", html)
    assert len(numbers) <= 7
    assert all(edges[0] - width <= float(number) <= edges[-1] + width for number in numbers)
    paths = [value for name, value in page.attributes if name == "d" and value]
    for path in paths:
        for command, place in re.findall(r"([HVM])(-?[\d.]+)", path):
            assert 0 <= float(place) <= (150 if command == "V" else 360)


def test_limits_outside_of_a_histogram_are_left_out() -> None:
    html = histogram([0, 1, 2], [1, 1], [1, 1], "ratio", limits=[-1, 0.5, 9])
    assert re.findall(r'class="limit" d="M([\d.]+)', html) == ["92.0"]


def test_an_almost_empty_tail_is_counted_in_the_last_bar() -> None:
    before = [500, 500, 300, *[0] * 96, 1]
    html = histogram([*range(101)], before, before, "lengths")
    assert re.findall(r">(\d+)<", html) == ["0", "1", "2", "3"]


SHARES = st.floats(0, 1)


@given(
    points=st.lists(st.tuples(SHARES, SHARES, SHARES), min_size=2, max_size=20).map(sorted),
)
def test_any_curve_stays_within_its_picture(points: list[tuple[float, float, float]]) -> None:
    shares, selected, chance = zip(*points, strict=True)
    html = curves(shares, {"kept": selected, "chance": chance}, "coverage", "curves")
    Elements(html)
    for line in re.findall(r'points="([^"]*)"', html):
        places = [tuple(map(float, point.split(","))) for point in line.split()]
        assert len(places) == len(points)
        assert all(50 <= x <= 552 and 8 <= y <= 212 for x, y in places)
    labels = [float(text) for text in re.findall(r'text-anchor="end">([\d.]+) %', html)]
    assert len(labels) <= 7


def test_parts_of_a_bar_stand_one_after_the_other() -> None:
    html = bar([("kept", 0.25), ("spare", 0.0), ("lost", 0.9)], "rows", begin=0.5)
    assert re.findall(r'x="([\d.]+)" width="([\d.]+)"', html) == [
        ("50.000", "25.000"),
        ("75.000", "25.000"),
    ]
