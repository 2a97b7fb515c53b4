"""What counts as an n-gram, and how n-grams are counted and valued."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.sampling.coverage_table import (
    KEEPS_NONE,
    LEVELS,
    MOST_BITS,
    CoverageTable,
    Threshold,
    features_for,
)
from src.corpus.sampling.grams import (
    MOST_GRAMS,
    MOST_UNITS,
    Features,
    GramChunk,
    gram_chunks,
)
from src.corpus.texts import Texts

Row = tuple[str, str]
WIDE = Features(32)
ONE_IN_FOUR = Features(32, thinning=2)


def cells_of(rows: list[Row], features: Features = WIDE) -> list[set[int]]:
    """The cells of each pair."""
    found: list[set[int]] = []
    left, right = Texts.of([row[0] for row in rows]), Texts.of([row[1] for row in rows])
    for chunk in gram_chunks(left, right, np.arange(len(rows)), features):
        pairs = np.split(chunk.cells, chunk.ends[:-1])
        assert all(len(set(cells.tolist())) == len(cells) for cells in pairs)
        found += [set(cells.tolist()) for cells in pairs]
    return found


def tokens_of(rows: list[Row]) -> list[int]:
    left, right = Texts.of([row[0] for row in rows]), Texts.of([row[1] for row in rows])
    chunks = gram_chunks(left, right, np.arange(len(rows)), WIDE)
    return [count for chunk in chunks for count in chunk.tokens.tolist()]


def reference_units(text: str) -> list[str]:
    """Words, marks on them included, and single characters of scripts without spaces."""
    return re.findall("[中文々𠀀カなส]|[abéx9д][abéx9д\u0301]*", text.lower())


def reference_grams(text: str, side: str) -> set[tuple[str, ...]]:
    units = reference_units(text)
    return {
        (side, *units[start : start + length])
        for length in (1, 2, 3)
        for start in range(len(units) - length + 1)
    }


TEXT = st.text("aB É\u0301中文。，x9 𠀀😀々\nカなสД-!", max_size=30)


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_grams_are_those_of_a_plain_loop(rows: list[Row]) -> None:
    expected = [reference_grams(a, "left") | reference_grams(b, "right") for a, b in rows]
    found = cells_of(rows)
    assert [len(cells) for cells in found] == [len(grams) for grams in expected]
    assert len(set().union(*found)) == len(set().union(*expected))
    assert tokens_of(rows) == [len(reference_units(a)) + len(reference_units(b)) for a, b in rows]


def test_grams_ignore_case_and_punctuation_but_not_side_and_order() -> None:
    def features(left: str, right: str) -> set[int]:
        return cells_of([(left, right)])[0]

    assert features("Hello, World! ÉTÉ", "你好") == features("hello world été", "「你好」。")
    assert features("hello world", "") != features("world hello", "")
    assert not features("hello world", "") & features("", "hello world")
    assert features("ab c", "") != features("a bc", "")
    assert features("...", "。") == set()


@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=6))
def test_the_cells_of_a_pair_do_not_depend_on_its_neighbours(rows: list[Row]) -> None:
    assert cells_of(rows) == [cells_of([row])[0] for row in rows]


def test_the_rows_that_are_asked_for_come_in_their_order() -> None:
    rows = [("a", "一"), ("b c", "二"), ("d", "三")]
    left, right = Texts.of([row[0] for row in rows]), Texts.of([row[1] for row in rows])
    (chunk,) = gram_chunks(left, right, np.array([2, 0]), WIDE)
    expected = cells_of(rows)
    pairs = np.split(chunk.cells, chunk.ends[:-1])
    assert [set(cells.tolist()) for cells in pairs] == [expected[2], expected[0]]
    assert gram_chunks(left, right, np.array([], np.int64), WIDE) == []


def test_many_long_pairs_come_in_chunks_of_bounded_size() -> None:
    words = [f"w{number}" for number in range(MOST_UNITS + 50)]
    rows = [(" ".join(words), " ".join(reversed(words)))] * 200
    left, right = Texts.of([row[0] for row in rows]), Texts.of([row[1] for row in rows])
    chunks = gram_chunks(left, right, np.arange(len(rows)), WIDE)
    assert len(chunks) > 1
    assert sum(len(chunk.ends) for chunk in chunks) == len(rows)
    # Of longer texts only the beginning is read.
    lengths = {int(n) for chunk in chunks for n in np.diff(chunk.ends, prepend=0)}
    assert lengths == {2 * (3 * MOST_UNITS - 3)}
    assert max(lengths) <= MOST_GRAMS
    assert {int(count) for chunk in chunks for count in chunk.tokens} == {2 * MOST_UNITS}


def test_thinning_leaves_the_same_kinds_of_grams_everywhere() -> None:
    rows = [
        (f"alpha{number} beta gamma{number % 7} delta", f"第{number}句话") for number in range(900)
    ]
    every, fewer = cells_of(rows), cells_of(rows, ONE_IN_FOUR)
    kinds, kept = set().union(*every), set().union(*fewer)
    assert [cells & kept for cells in every] == fewer
    assert 0.2 < len(kept) / len(kinds) < 0.3


def test_text_that_ends_within_a_character_is_read_to_its_end() -> None:
    broken = Texts(np.frombuffer(b"ab \xe4\xb8", np.uint8), np.array([0, 5]))
    (chunk,) = gram_chunks(broken, Texts.of([""]), np.array([0]), WIDE)
    assert chunk.tokens.tolist() == [1]


def test_the_table_grows_with_the_corpus_up_to_a_quarter_gibibyte() -> None:
    sizes = [features_for(pairs) for pairs in (0, 10, 10**4, 10**6, 10**7, 7 * 10**7, 10**9)]
    assert [size.bits for size in sizes] == sorted(size.bits for size in sizes)
    assert sizes[0].thinning == sizes[3].thinning == 0
    assert sizes[-1].bits == sizes[-2].bits == MOST_BITS
    # Two cells a byte; and no more kinds of n-grams than there is room for.
    assert 2 ** (MOST_BITS - 1) == 256 * 2**20
    for pairs in (10**6, 7 * 10**7, 10**9):
        features = features_for(pairs)
        assert 2**features.bits * 2**features.thinning >= 64 * pairs
    assert CoverageTable(features_for(1000)).nbytes == 2**15


def chunk_of(pairs: list[list[int]], tokens: int = 1) -> GramChunk:
    cells = np.array([cell for pair in pairs for cell in pair], np.uint32)
    ends = np.cumsum([len(pair) for pair in pairs])
    return GramChunk(cells, ends, np.full(len(pairs), tokens))


def everything(chunk: GramChunk) -> tuple[GramChunk, slice, float, Any]:
    return chunk, slice(0, len(chunk.ends)), 1.0, np.arange(len(chunk.ends), dtype=np.uint64)


CELLS = st.lists(st.sets(st.integers(0, 30), max_size=8).map(sorted), min_size=1, max_size=30)


def level_of(worth: float) -> int:
    """128 linear steps in each octave above 1/8192."""
    if worth == 0:
        return 0
    octave = int(np.floor(np.log2(worth))) + 13
    return 1 + 128 * octave + int((worth / 2.0 ** (octave - 13) - 1) * 128)


@given(pairs=CELLS, level=st.integers(1000, LEVELS))
def test_decisions_are_those_of_a_plain_loop(pairs: list[list[int]], level: int) -> None:
    chunk = chunk_of(pairs, tokens=3)
    table = CoverageTable(Features(12))
    table.count(chunk)
    decisions = table.decide(*everything(chunk), Threshold(level, 0.0))
    counts = Counter(cell for pair in pairs for cell in pair)
    fresh = {cell: {1: 0.0, 2: 0.25}.get(count, 1.0) for cell, count in counts.items()}
    choices = Counter[int]()
    for index, pair in enumerate(pairs):
        worth = sum(fresh[cell] * 0.25 ** min(choices[cell], 3) for cell in pair) / 3
        assert decisions.levels[index] == level_of(worth)
        assert decisions.is_kept[index] == (decisions.levels[index] > level)
        if decisions.is_kept[index]:
            choices.update(pair)


@given(pairs=CELLS)
def test_counts_do_not_depend_on_order_or_threads(pairs: list[list[int]]) -> None:
    chunks = [chunk_of([pair]) for pair in pairs]
    together, threaded = CoverageTable(Features(12)), CoverageTable(Features(12))
    together.count(chunk_of(pairs))
    with ThreadPoolExecutor(3) as executor:
        list(executor.map(threaded.count, reversed(chunks)))
    arguments = everything(chunk_of(pairs))
    assert threaded.levels(*arguments).tolist() == together.levels(*arguments).tolist()


def test_neighbouring_cells_share_a_byte_and_nothing_else() -> None:
    table = CoverageTable(Features(12))
    odd, even = chunk_of([[5]] * 3), chunk_of([[4]])
    table.count(odd)
    assert table.levels(*everything(even)).tolist() == [0]
    table.decide(*everything(odd), Threshold(0, 0.0))
    table.count(chunk_of([[4]] * 40))
    assert table.levels(*everything(even)).tolist() == [level_of(1.0)]
    assert table.levels(*everything(odd)).tolist() == [level_of(0.25**3)] * 3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_in_the_level_of_the_threshold_a_share_is_kept(share: float) -> None:
    chunk = chunk_of([[cell] for cell in range(3000)])
    table = CoverageTable(Features(12))
    for _ in range(3):
        table.count(chunk)
    kept = table.decide(*everything(chunk), Threshold(level_of(1.0), share)).is_kept
    assert abs(kept.mean() - share) < 0.03
    assert not table.decide(*everything(chunk), KEEPS_NONE).is_kept.any()


def test_a_smaller_weight_is_a_lower_level() -> None:
    chunk = chunk_of([[1, 2]])
    table = CoverageTable(Features(12))
    for _ in range(3):
        table.count(chunk)
    priorities = np.zeros(1, np.uint64)
    levels = [table.levels(chunk, slice(0, 1), factor, priorities)[0] for factor in (1.0, 0.5)]
    assert levels == [level_of(2.0), level_of(1.0)]
