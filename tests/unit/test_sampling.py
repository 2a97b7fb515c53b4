"""Choosing pairs: exact sizes, independence of order, coverage, and no taste for rubbish."""

import gzip
import hashlib
import itertools
import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus import sampling
from src.corpus.characters import Hashes
from src.corpus.demo_text import distinct_pairs
from src.corpus.ngrams import pair_ngrams
from src.corpus.sampling import coverage, select

Row = tuple[str, str]
STRATEGIES: tuple[sampling.Strategy, ...] = ("random", "quality_filtered", "diverse")
SHARED_DATA = Path(
    os.environ.get("LINGUABRIDGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)


def content_keys(english: Sequence[str], chinese: Sequence[str]) -> Hashes:
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(f"{a}\t{b}".encode(), digest_size=8).digest(), "big")
            for a, b in zip(english, chinese, strict=True)
        ],
        np.uint64,
    )


def choose(
    strategy: sampling.Strategy, rows: Any, size: int | None, *, scores: Any = None, seed: int = 3
) -> list[Row]:
    """The chosen rows, as a sorted list."""
    english, chinese = [row[0] for row in rows], [row[1] for row in rows]
    scores = np.ones(len(rows)) if scores is None else np.asarray(scores, np.float64)
    mask = select(
        strategy,
        english=english,
        chinese=chinese,
        scores=scores,
        keys=content_keys(english, chinese),
        size=size,
        seed=seed,
    )
    return sorted(itertools.compress(rows, mask))


@pytest.fixture(scope="module")
def demo_rows() -> list[Row]:
    source = distinct_pairs(random.Random(5))  # noqa: S311
    return [(pair.english, pair.chinese) for pair in itertools.islice(source, 5000)]


ROWS = st.lists(
    st.tuples(
        st.text("ab c,é 12", max_size=12), st.text("中文字，b 𠀀", max_size=8), st.floats(0, 1)
    ),
    max_size=40,
    unique_by=lambda row: row[:2],
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=60, deadline=None)
@given(rows=ROWS, size=st.none() | st.integers(0, 50), shuffle=st.randoms())
def test_any_order_gives_the_same_choice_of_exactly_the_size(
    strategy: sampling.Strategy, rows: Any, size: int | None, shuffle: random.Random
) -> None:
    chosen = choose(strategy, rows, size, scores=[row[2] for row in rows])
    assert len(chosen) == (len(rows) if size is None else min(size, len(rows)))
    shuffle.shuffle(rows)
    assert choose(strategy, rows, size, scores=[row[2] for row in rows]) == chosen


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", [1, 511, 2500, 4999])
def test_size_is_met_over_many_windows(
    demo_rows: list[Row], strategy: sampling.Strategy, size: int | None
) -> None:
    assert len(choose(strategy, demo_rows, size)) == size


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_seed_chooses_others_among_equals(
    demo_rows: list[Row], strategy: sampling.Strategy
) -> None:
    first, second = (choose(strategy, demo_rows, 500, seed=seed) for seed in (1, 2))
    assert first == choose(strategy, demo_rows, 500, seed=1)
    assert first != second


def test_blocks_and_windows_do_not_change_what_is_counted(
    demo_rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose("diverse", demo_rows, 700)
    monkeypatch.setattr(sampling, "_BLOCK", 4 * sampling._WINDOW)
    assert choose("diverse", demo_rows, 700) == chosen


def test_random_choice_hardly_changes_when_rows_are_added(demo_rows: list[Row]) -> None:
    before = set(choose("random", demo_rows[:4000], 400))
    after = set(choose("random", demo_rows, 400))
    # A fifth of the rows is new; of the old choice about 4 in 5 stay, by chance alone 1 in 12.
    assert len(before & after) > 280


def test_quality_filtered_takes_the_highest_scores(demo_rows: list[Row]) -> None:
    scores = np.random.default_rng(0).random(len(demo_rows))
    best = sorted(demo_rows[index] for index in np.argsort(-scores)[:300])
    assert choose("quality_filtered", demo_rows, 300, scores=scores) == best


def coverage_of(rows: Any, chosen: list[Row], held_out: list[Row]) -> float:
    picked = set(chosen)
    return coverage(
        english=[row[0] for row in rows],
        chinese=[row[1] for row in rows],
        chosen=np.array([row in picked for row in rows]),
        held_out_english=[row[0] for row in held_out],
        held_out_chinese=[row[1] for row in held_out],
    )


def test_diverse_covers_more_of_the_held_out_text_than_random(demo_rows: list[Row]) -> None:
    pool, held_out = demo_rows[:4000], demo_rows[4000:]
    diverse, at_random = (
        coverage_of(pool, choose(strategy, pool, 400), held_out)
        for strategy in ("diverse", "random")
    )
    assert diverse > 1.1 * at_random


def garbage(count: int) -> Iterator[Row]:
    """Lines of seen characters in an order that nothing else has, and of unseen words."""
    rng = random.Random(1)  # noqa: S311
    han = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动"
    for _ in range(count):
        words = ("".join(rng.choices("bcdfgklmnprst", k=6)) for _ in range(8))
        yield " ".join(words), "".join(rng.choices(han, k=14))


def test_garbage_is_not_preferred_even_where_scores_do_not_show_it(demo_rows: list[Row]) -> None:
    noise = list(garbage(500))
    pool = [*demo_rows[:4500], *noise]
    chosen = choose("diverse", pool, 500)
    assert len(set(chosen) & set(noise)) < 0.1 * 500


def test_the_gate_keeps_out_what_scores_lowest(demo_rows: list[Row]) -> None:
    # Valuable to the coverage rule, because every line stands there twice, but of low score.
    noise = [(f"{english} again", f"{chinese}又") for english, chinese in demo_rows[:500]]
    pool = [*demo_rows[:2000], *noise]
    scores = [*np.ones(2000), *np.zeros(500)]
    assert not set(choose("diverse", pool, 400, scores=scores)) & set(noise)
    # With little to leave out, half of it is the worst by score.
    assert len(set(choose("diverse", pool, 2400, scores=scores)) & set(noise)) <= 450


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"english": ["a"]}, "columns differ in length: 1 English, 2 Chinese, 2 scores, 2 keys"),
        ({"scores": np.array([1.0, np.nan])}, "1 scores are not finite"),
        ({"size": -1}, "size=-1 is negative"),
        ({"strategy": "best"}, "unknown strategy 'best'"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {
        "strategy": "diverse",
        "english": ["a", "b"],
        "chinese": ["一", "二"],
        "scores": np.ones(2),
        "keys": np.array([1, 2], np.uint64),
        "size": 1,
        "seed": 0,
        **changes,
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        select(arguments.pop("strategy"), **arguments)


def reference_units(text: str) -> list[str]:
    """Words and single Chinese characters, one character at a time."""
    return re.findall("[中文々𠀀]|[abéx9ｱ]+", text.lower())


def reference_ngrams(text: str, side: str) -> set[tuple[str, ...]]:
    units = reference_units(text)
    return {
        (side, *units[start : start + length])
        for length in (1, 2, 3)
        for start in range(len(units) - length + 1)
    }


TEXT = st.text("aB é 中文。，x9 𠀀😀ｱ々\n!", max_size=30)


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_ngrams_are_those_of_a_plain_loop(pairs: list[Row]) -> None:
    english, chinese = zip(*pairs, strict=True)
    found = pair_ngrams(english, chinese)
    expected = [reference_ngrams(a, "en") | reference_ngrams(b, "zh") for a, b in pairs]
    counts = np.bincount(found.rows, minlength=len(pairs))
    assert counts.tolist() == [len(grams) for grams in expected]
    assert len(np.unique(found.hashes)) == len(set().union(*expected))
    units = [len(reference_units(a)) + len(reference_units(b)) for a, b in pairs]
    assert found.units.tolist() == units


def test_ngrams_ignore_case_and_punctuation_but_not_side_and_order() -> None:
    def features(english: str, chinese: str) -> set[int]:
        return set(pair_ngrams([english], [chinese]).hashes.tolist())

    assert features("Hello, World!", "你好") == features("hello world", "「你好」。")
    assert features("hello world", "") != features("world hello", "")
    assert not features("hello world", "") & features("", "hello world")
    assert features("ab c", "") != features("a bc", "")


def test_coverage_counts_types_of_the_held_out_text() -> None:
    arguments = {"english": ["a b", "c"], "chinese": ["一", "二"]}
    held_out = {"held_out_english": ["a b c"], "held_out_chinese": ["一"]}
    # Types: a, b, c, ab, bc, abc and 一; the first pair has a, b, ab and 一.
    assert coverage(**arguments, **held_out, chosen=np.array([True, False])) == 4 / 7
    assert coverage(**arguments, **held_out, chosen=np.array([False, False])) == 0
    nothing: dict[str, list[str]] = {"held_out_english": [], "held_out_chinese": []}
    assert coverage(**arguments, **nothing, chosen=np.array([True, True])) == 0


def test_diverse_covers_more_of_real_text_with_less_noise() -> None:
    path = SHARED_DATA / "corpus" / "train_raw.tsv.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; set LINGUABRIDGE_SHARED_DATA to the folder of corpora")
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        sides = [line.rstrip("\n").split("\t") for line in itertools.islice(file, 25_000)]
    rows = [(english, chinese) for english, chinese in sides]
    pool = sorted(set(rows[:20_000]))
    held_out = rows[20_000:]
    is_translated = np.array([bool(re.search("[\u4e00-\u9fff]", row[1])) for row in pool])
    diverse, at_random = (
        choose(strategy, pool, 4000, scores=is_translated) for strategy in ("diverse", "random")
    )
    assert coverage_of(pool, diverse, held_out) > coverage_of(pool, at_random, held_out)
    untranslated = set(itertools.compress(pool, ~is_translated))
    assert len(untranslated & set(diverse)) < len(untranslated & set(at_random)) / 2
