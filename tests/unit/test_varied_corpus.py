"""The corpus of the benchmark of `process`: varied copies that keep the mess."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.varied_corpus import Variation, read_pairs, vary, write_corpus

PAIRS = [
    ("news", "The window of 1984 was broken.", "1984年的窗户坏了。"),
    ("news", "The window of 1984 was broken.", "1984年的窗户坏了。"),
    ("docs", "Settings window", "Settings window"),
    (
        "docs",
        'Press <b class="heavy">Enter</b> for %(count)s {names}',
        "按<b>回车</b> %(count)s {names}",
    ),
    ("docs", "12", "13"),
    ("docs", "OK", "好"),
]


def test_copies_differ_where_the_originals_do_and_only_there() -> None:
    varied = [(left, right) for _, left, right in vary(PAIRS, 5 * len(PAIRS))]
    assert varied[: len(PAIRS)] == [(left, right) for _, left, right in PAIRS]
    assert len(set(varied)) == 5 * len({(left, right) for _, left, right in PAIRS})
    assert varied[len(PAIRS)] == varied[len(PAIRS) + 1]


def test_the_mess_and_the_markup_stay() -> None:
    for copy in range(1, 5):
        rows = list(vary(PAIRS, 5 * len(PAIRS)))[copy * len(PAIRS) :]
        assert rows[2][1] == rows[2][2] != "Settings window"
        assert '<b class="heavy">' in rows[3][1]
        assert "%(count)s" in rows[3][1]
        assert "{names}" in rows[3][2]
        assert [row[0] for row in rows[: len(PAIRS)]] == [source for source, _, _ in PAIRS]


def test_a_number_of_both_sides_changes_alike() -> None:
    left, right = Variation(3, "年的窗户坏了").apply("Founded in 1984, 77 rooms", "成立于1984年")
    number = left.split()[2].rstrip(",")
    assert number != "1984"
    assert len(number) == 4
    assert number in right
    assert "77" in left


@given(left=st.text(max_size=40), right=st.text(max_size=40), number=st.integers(1, 200))
def test_any_pair_changes_in_the_same_way_each_time(left: str, right: str, number: int) -> None:
    characters = "".join(sorted({c for c in right if "\u4e00" <= c <= "\u9fff"}))
    changed = Variation(number, characters).apply(left, right)
    assert changed != (left, right)
    assert changed == Variation(number, characters).apply(left, right)
    assert (left == right) <= (changed[0] == changed[1])


def test_files_hold_the_pairs_by_source_and_all_together(tmp_path: Path) -> None:
    tables = write_corpus(PAIRS, 9, tmp_path / "corpus")
    assert [path.name for path in tables] == ["docs.tsv", "news.tsv"]
    lines = [line for path in tables for line in path.read_text("utf-8").splitlines()]
    sides = [
        (tmp_path / "corpus" / name).read_text("utf-8").splitlines()
        for name in ("all.left", "all.right")
    ]
    assert sorted(lines) == sorted(map("\t".join, zip(*sides, strict=True)))
    assert len(lines) == 9
    before = tables[0].stat().st_mtime_ns
    assert write_corpus(PAIRS, 9, tmp_path / "corpus") == tables
    assert tables[0].stat().st_mtime_ns == before


def test_pairs_come_with_their_sources(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "train_raw.tsv.gz", "wb") as file:
        file.write("A\u2028b\t一\nC\t\n".encode())
    with gzip.open(tmp_path / "train_raw.src.gz", "wb") as file:
        file.write(b"news\ndocs\n")
    assert read_pairs(tmp_path) == [("news", "A\u2028b", "一"), ("docs", "C", "")]


def test_real_pairs_vary_without_becoming_alike() -> None:
    shared = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if not shared:
        pytest.skip("LINGUABRIDGE_SHARED_DATA names no folder of real pairs")
    pairs = read_pairs(Path(shared) / "corpus")[:5_000]
    varied = {(left, right) for _, left, right in vary(pairs, 3 * len(pairs))}
    assert len(varied) > 0.995 * 3 * len({(left, right) for _, left, right in pairs})
