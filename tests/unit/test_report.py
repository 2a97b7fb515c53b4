"""The account of a run: its sums and its warnings."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.report import Report, find_warnings, write_report
from src.corpus.report.page import render_page
from src.errors import DataError
from tests.fakes.report_samples import Elements, make_lengths, make_report


def test_report_survives_its_own_json(tmp_path: Path) -> None:
    report = make_report()
    write_report(report, tmp_path)
    assert Report.from_json(json.loads((tmp_path / "report.json").read_text("utf-8"))) == report


def test_a_report_of_another_version_is_refused_by_field() -> None:
    document = make_report().to_json()
    document["rows"] = document.pop("rows_in")
    with pytest.raises(DataError, match=r"missing fields \['rows_in'\], unknown fields \['rows'\]"):
        Report.from_json(document)


def test_to_json_is_a_copy() -> None:
    report = make_report()
    report.to_json()["dropped"]["duplicate_pair"] = 0
    assert report == dataclasses.replace(report, dropped=dict(make_report().dropped))


def _move_a_split(report: Report) -> None:
    """Sums of the whole hold, those of a source do not."""
    report.by_source["tatoeba"]["splits"].update(train=9_701)
    report.by_source["python_docs"]["splits"].update(train=19_299)


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
            _move_a_split,
            "source tatoeba: kept=12079 but sampled_out=2079 + splits=10001 is 12080",
        ),
        (
            lambda report: report.by_source.pop("tatoeba"),
            "rows_in=74222 but the sources sum to 61234",
        ),
        (
            lambda report: report.by_source["tatoeba"].pop("sampled_out"),
            "sampled_out=15758 but the sources sum to 13679",
        ),
        (
            lambda report: report.dropped.update(untranslated=10_418, duplicate_pair=9_701),
            "dropped[duplicate_pair]=9701 but the sources sum to 9700",
        ),
        (
            lambda report: report.splits.update(dev=499, test=501),
            "splits[dev]=499 but the sources sum to 500",
        ),
        (
            lambda report: report.splits.update(dev=-1, train=29_501),
            "splits[dev]=-1 is negative",
        ),
    ],
    ids=[
        "total",
        "splits",
        "source",
        "source splits",
        "missing source",
        "missing count",
        "reason",
        "split",
        "negative",
    ],
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
SPLITS = st.fixed_dictionaries({"train": st.integers(0, 99), "dev": st.integers(0, 9)})


@given(
    sources=st.dictionaries(
        st.text(max_size=4), st.tuples(st.integers(0, 99), COUNTS, SPLITS), max_size=4
    )
)
def test_any_honest_account_passes_and_renders(
    sources: dict[str, tuple[int, dict[str, int], dict[str, int]]],
) -> None:
    report = Report(splits={"train": 0, "dev": 0})
    for name, (sampled_out, dropped, splits) in sources.items():
        kept = sampled_out + sum(splits.values())
        rows = kept + sum(dropped.values())
        report.by_source[name] = {
            "rows_in": rows,
            "kept": kept,
            "dropped": dropped,
            "sampled_out": sampled_out,
            "splits": splits,
        }
        report.rows_in += rows
        report.kept += kept
        report.sampled_out += sampled_out
        for totals, counts in ((report.dropped, dropped), (report.splits, splits)):
            for key, count in counts.items():
                totals[key] = totals.get(key, 0) + count
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
        (
            {"rows_in": 100, "kept": 40, "dropped": {"encoding": 60}},
            ["60 % of web is damaged by a wrong encoding"],
        ),
        (
            {"rows_in": 100, "kept": 40, "dropped": {"empty": 2, "too_long": 25, "numbers": 33}},
            ["web loses 60 % of its rows: numbers 33 %, too long 25 %, empty 2 %"],
        ),
        ({"rows_in": 10, "kept": 5, "dropped": {"numbers": 5}}, []),
        (
            {"rows_in": 10, "kept": 0, "dropped": {"numbers": 10}},
            ["nothing of web was kept: all 10 rows were dropped"],
        ),
        ({"rows_in": 0, "kept": 0, "dropped": {}}, ["web holds no rows"]),
        (
            {"rows_in": 9, "kept": 9, "dropped": {}, "splits": {"train": 0, "dev": 2}},
            ["nothing of web is in train, though 9 of its rows were kept"],
        ),
        (
            {"rows_in": 100, "kept": 100, "dropped": {}, "judged": 70, "unjudged": 30},
            [
                "adequacy could not judge 30 % of web: their words are too rare in this corpus",
            ],
        ),
    ],
    ids=[
        "at the limit",
        "above it",
        "unknown reason",
        "more than half for one reason",
        "more than half for several",
        "few rows",
        "all dropped",
        "no rows",
        "none in train",
        "not judged",
    ],
)
def test_warnings_come_from_what_a_source_loses(
    counts: dict[str, Any], warnings: list[str]
) -> None:
    assert find_warnings(Report(by_source={"web": counts})) == warnings


def test_an_empty_split_is_a_warning() -> None:
    assert find_warnings(Report(splits={"train": 5, "dev": 0})) == ["the dev split is empty"]


def test_a_corpus_that_repeats_itself_is_a_warning() -> None:
    report = Report(rows_in=1_000, dropped={"duplicate_pair": 400, "template": 101})
    assert find_warnings(report) == [
        "50 % of all rows repeat what other rows say (501 rows)",
    ]
    report.dropped["template"] = 100
    assert find_warnings(report) == []


def test_much_that_adequacy_cannot_judge_is_a_warning() -> None:
    report = Report(adequacy={"judged": 79, "unjudged": 21})
    assert find_warnings(report) == [
        "adequacy could not judge 21 % of the pairs: their words are too rare in this corpus"
    ]
    report.adequacy = {"judged": 80, "unjudged": 20}
    assert find_warnings(report) == []


def test_a_source_that_is_most_of_the_sample_is_a_warning() -> None:
    report = Report(kept=2_000)
    for name, train, kept in (("web", 760, 1_200), ("books", 240, 800)):
        report.by_source[name] = {
            "rows_in": kept,
            "kept": kept,
            "dropped": {},
            "splits": {"train": train},
        }
    assert find_warnings(report) == [
        "web is 76 % of the training pairs (60 % before sampling); its weight in data.sources "
        "changes that"
    ]
    report.by_source["books"]["splits"]["train"] = 260
    assert find_warnings(report) == []


@pytest.mark.parametrize(
    ("configured", "warnings"),
    [
        (256, []),
        (
            128,
            [
                "en-zh: max_seq_length=128 leaves out 4 % of the pairs; 256 is recommended, which "
                "leaves out 0.3 % of the pairs"
            ],
        ),
        (
            {"teacher": 1_024, "student": 128},
            [
                "en-zh: student.max_seq_length=128 leaves out 4 % of the pairs; 256 is "
                "recommended, which leaves out 0.3 % of the pairs"
            ],
        ),
    ],
    ids=["as recommended", "too short", "too short for one model"],
)
def test_another_max_seq_length_than_recommended_is_a_warning(
    configured: object, warnings: list[str]
) -> None:
    lengths = make_lengths() | {"configured": configured}
    assert find_warnings(Report(token_lengths={"en-zh": lengths})) == warnings


def test_the_most_telling_warning_comes_first() -> None:
    report = Report(
        by_source={
            "few": {"rows_in": 100, "kept": 80, "dropped": {"numbers": 20}},
            "none": {"rows_in": 9, "kept": 0, "dropped": {"numbers": 9}},
            "many": {"rows_in": 100, "kept": 60, "dropped": {"numbers": 40}},
        }
    )
    assert [re.findall("few|none|many", text) for text in find_warnings(report)] == [
        ["none"],
        ["many"],
        ["few"],
    ]
