"""Choosing pairs: exact sizes, independence of threads, coverage, and no taste for rubbish."""

import gzip
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

from src.corpus.demo_text import distinct_pairs
from src.corpus.sampling import Pool, Strategy, choose, coverage
from src.corpus.sampling.diverse import GATE_SHARE
from src.corpus.texts import Texts
from tests.fakes.text_pool import Row, TextPool

STRATEGIES: tuple[Strategy, ...] = ("random", "quality_filtered", "diverse")
SHARED_DATA = Path(
    os.environ.get("LINGUABRIDGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
)


def chosen_of(pool: Pool, strategy: Strategy, size: int, *, seed: int = 3, workers: int = 1) -> Any:
    """`[N]` what was chosen, blocks joined."""
    masks = choose(pool, strategy, size, seed, workers=workers).masks
    assert [len(mask) for mask in masks] == [pool.rows(block) for block in range(pool.block_count)]
    assert all(mask.dtype == np.bool_ for mask in masks)
    return np.concatenate([np.zeros(0, np.bool_), *masks])


def choice(rows: Sequence[Row], strategy: Strategy, size: int, **options: Any) -> list[Row]:
    """The chosen rows of one block, in order."""
    seed = options.pop("seed", 3)
    pool = TextPool(rows, **options)
    return list(itertools.compress(rows, chosen_of(pool, strategy, size, seed=seed)))


@pytest.fixture(scope="module")
def demo_rows() -> list[Row]:
    source = distinct_pairs(random.Random(5))  # noqa: S311
    return [(pair.english, pair.chinese) for pair in itertools.islice(source, 5000)]


@st.composite
def pools(draw: Any) -> TextPool:
    """Up to 40 rows with many ties of score, in blocks that may be empty."""
    rows = draw(
        st.lists(
            st.tuples(st.text("ab c,é 12", max_size=12), st.text("中文字，b 𠀀", max_size=8)),
            max_size=40,
            unique=True,
        )
    )
    scores = draw(
        st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=len(rows), max_size=len(rows))
    )
    inner = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    weights = draw(
        st.lists(st.sampled_from([0.1, 1.0, 3.0]), min_size=len(inner) + 1, max_size=len(inner) + 1)
    )
    ends = [*inner, len(rows)]
    return TextPool(rows, scores=np.array(scores, np.float32), ends=ends, weights=weights)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40)
@given(pool=pools(), size=st.integers(0, 50), workers=st.integers(1, 3))
def test_exactly_the_size_is_chosen_by_any_number_of_threads(
    strategy: Strategy, pool: TextPool, size: int, workers: int
) -> None:
    chosen = chosen_of(pool, strategy, size, workers=workers)
    assert np.count_nonzero(chosen) == min(size, len(chosen))
    assert chosen_of(pool, strategy, size).tolist() == chosen.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, 2, 9])
def test_the_smallest_pools(strategy: Strategy, count: int, size: int) -> None:
    rows = [("one", "一"), ("two", "二")][:count]
    assert len(choice(rows, strategy, size)) == min(size, count)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", [1, 511, 2500, 4999])
def test_sizes_are_met_and_kept_by_threads(
    demo_rows: list[Row], strategy: Strategy, size: int
) -> None:
    pool = TextPool(demo_rows, ends=[700, 2500, 5000])
    chosen = chosen_of(pool, strategy, size)
    assert np.count_nonzero(chosen) == size
    for workers in (2, 3):
        assert (chosen_of(pool, strategy, size, workers=workers) == chosen).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_seed_chooses_others_among_equals(demo_rows: list[Row], strategy: Strategy) -> None:
    first, second = (choice(demo_rows, strategy, 500, seed=seed) for seed in (1, 2))
    assert first == choice(demo_rows, strategy, 500, seed=1)
    assert first != second


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_of_rows_within_a_block_does_not_count(
    demo_rows: list[Row], strategy: Strategy
) -> None:
    chosen = choice(demo_rows, strategy, 400)
    assert sorted(choice(demo_rows[::-1], strategy, 400)) == sorted(chosen)


@pytest.mark.parametrize("strategy", ["random", "quality_filtered"])
def test_blocks_do_not_count_but_for_diversity(demo_rows: list[Row], strategy: Strategy) -> None:
    scores = np.random.default_rng(0).integers(0, 3, len(demo_rows)).astype(np.float32)
    pools = [
        TextPool(demo_rows, scores=scores, ends=ends) for ends in ([5000], [0, 10, 4000, 5000])
    ]
    first, second = (chosen_of(pool, strategy, 1234) for pool in pools)
    assert (first == second).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("size", [0, 77, 5000])
def test_progress_adds_up_to_the_candidates(
    demo_rows: list[Row], strategy: Strategy, size: int
) -> None:
    seen: list[int] = []
    pool = TextPool(demo_rows, ends=[1, 1000, 1000, 4321, 5000])
    choose(pool, strategy, size, 0, progress=seen.append)
    assert sum(seen) == 5000
    assert min(seen) >= 0


def test_random_choice_hardly_changes_when_rows_are_added(demo_rows: list[Row]) -> None:
    before = set(choice(demo_rows[:4000], "random", 400))
    after = set(choice(demo_rows, "random", 400))
    # A fifth of the rows is new; of the old choice about 4 in 5 stay, by chance alone 1 in 12.
    assert len(before & after) > 280


def test_quality_filtered_takes_the_highest_scores(demo_rows: list[Row]) -> None:
    scores = np.random.default_rng(0).normal(size=len(demo_rows)).astype(np.float32)
    best = sorted(demo_rows[index] for index in np.argsort(-scores)[:300])
    assert sorted(choice(demo_rows, "quality_filtered", 300, scores=scores)) == best


def test_weights_are_chances_at_random(demo_rows: list[Row]) -> None:
    def share(weights: list[float]) -> float:
        pool = TextPool(demo_rows, ends=[2500, 5000], weights=weights)
        return float(chosen_of(pool, "random", 400)[:2500].mean())

    even, tripled, hundredfold = share([1, 1]), share([3, 1]), share([100, 1])
    assert share([2, 2]) == even
    assert abs(even - 0.08) < 0.02
    assert abs(tripled - 0.12) < 0.02
    assert hundredfold > 0.15


def test_weights_count_for_diversity_and_not_for_quality(demo_rows: list[Row]) -> None:
    def share(strategy: Strategy, weights: list[float]) -> float:
        pool = TextPool(demo_rows, ends=[2500, 5000], weights=weights)
        return float(chosen_of(pool, strategy, 500)[:2500].mean())

    assert share("diverse", [4, 1]) > 1.3 * share("diverse", [1, 1])
    assert share("diverse", [1, 1]) > 1.3 * share("diverse", [1, 4])
    assert share("quality_filtered", [4, 1]) == share("quality_filtered", [1, 1])


def covered(pool: TextPool, strategy: Strategy, size: int, held_out: list[Row]) -> float:
    """The share of the held-out n-grams that a choice contains."""
    masks = choose(pool, strategy, size, 3).masks
    left, right = (Texts.of(side) for side in zip(*held_out, strict=True))
    return float(coverage(pool, masks, left, right, seed=3)["selected"])


def test_diverse_covers_more_of_the_held_out_text_than_random(demo_rows: list[Row]) -> None:
    pool = TextPool(demo_rows[:4000])
    diverse, at_random = (
        covered(pool, strategy, 400, demo_rows[4000:]) for strategy in ("diverse", "random")
    )
    assert diverse > 1.1 * at_random


def test_diverse_covers_as_much_of_a_corpus_that_is_sorted(demo_rows: list[Row]) -> None:
    rows, held_out = demo_rows[:4000], demo_rows[4000:]
    mixed, by_kind = (
        covered(TextPool(order, ends=range(500, 4001, 500)), "diverse", 400, held_out)
        for order in (rows, sorted(rows))
    )
    assert by_kind > 0.95 * mixed


def garbage(rows: Sequence[Row], count: int) -> Iterator[Row]:
    """Lines of words that nothing else has, and of known characters in an unknown order."""
    rng = random.Random(1)  # noqa: S311
    characters = [character for _, right in rows for character in right]
    for _ in range(count):
        words = ("".join(rng.choices("bcdfgklmnprst", k=6)) for _ in range(8))
        yield " ".join(words), "".join(rng.choices(characters, k=14))


def test_garbage_is_not_preferred_even_where_scores_do_not_show_it(demo_rows: list[Row]) -> None:
    noise = list(garbage(demo_rows, 500))
    chosen = choice([*demo_rows[:4500], *noise], "diverse", 500)
    assert len(set(chosen) & set(noise)) < 0.1 * 500


def test_the_gate_keeps_out_what_scores_lowest(demo_rows: list[Row]) -> None:
    # Valuable to the coverage rule, because every line stands there twice, but of low score.
    noise = [(f"{left} again", f"{right}又") for left, right in demo_rows[:500]]
    pool = [*demo_rows[:2000], *noise]
    scores = np.array([1] * 2000 + [0] * 500, np.float32)
    assert not set(choice(pool, "diverse", 400, scores=scores)) & set(noise)
    # With little to leave out the gate has no say over rows of equal score.
    assert set(choice(pool, "diverse", 2400, scores=scores)) & set(noise)


@pytest.mark.parametrize(
    ("worst", "stays_out"),
    [(200, True), (400, True), (1100, False)],  # of 2,000; the gate takes about 500
)
def test_the_gate_treats_equal_scores_alike(
    demo_rows: list[Row], worst: int, *, stays_out: bool
) -> None:
    # Low scores go to the pairs that would be chosen.
    wanted = chosen_of(TextPool(demo_rows[:2000]), "diverse", worst)
    scores = np.where(wanted, 0, 1).astype(np.float32)
    chosen = chosen_of(TextPool(demo_rows[:2000], scores=scores), "diverse", 300)
    assert bool((chosen & wanted).any()) == (not stays_out)


def test_the_gate_says_what_it_left_out_and_that_is_never_chosen(demo_rows: list[Row]) -> None:
    scores = np.random.default_rng(1).random(2000, np.float32)
    pool = TextPool(demo_rows[:2000], scores=scores, ends=[700, 2000])
    masks, gate = choose(pool, "diverse", 300, 3)
    assert gate is not None
    assert gate.lowest is not None
    is_out = scores < gate.lowest
    assert gate.left_out == np.count_nonzero(is_out) == 2000 * GATE_SHARE
    assert not np.concatenate(masks)[is_out].any()


def test_a_gate_that_leaves_nothing_out_says_so(demo_rows: list[Row]) -> None:
    assert choose(TextPool(demo_rows[:100]), "diverse", 99, 3).gate == (0, None)
    assert choose(TextPool(demo_rows[:100]), "random", 50, 3).gate is None


def test_pairs_without_any_worth_are_chosen_by_hash_from_everywhere() -> None:
    rows = [(f"word{number}x", f"{number}") for number in range(3000)]
    chosen = chosen_of(TextPool(rows, ends=[1000, 2000, 3000]), "diverse", 1500)
    assert np.count_nonzero(chosen) == 1500
    assert all(400 < np.count_nonzero(part) < 600 for part in np.split(chosen, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "best"}, "unknown strategy 'best'; use diverse, quality_filtered, random"),
        ({"size": -1}, "size=-1 is negative; use 0 or more"),
        ({"weights": [0.0]}, "weight=0.0 of block 0 is not a number above 0"),
        ({"weights": [float("nan")]}, "weight=nan of block 0 is not a number above 0"),
        (
            {"strategy": "quality_filtered", "scores": np.array([1, np.nan], np.float32)},
            "1 scores are not finite",
        ),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    strategy, size = changes.pop("strategy", "diverse"), changes.pop("size", 1)
    pool = TextPool([("a", "一"), ("b", "二")], **changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        choose(pool, strategy, size, 0)


class Unreadable(TextPool):
    def texts(self, block: int) -> tuple[Texts, Texts]:
        if block == 2:
            raise OSError("block 2 is gone")
        return super().texts(block)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_block_that_cannot_be_read_is_an_error(demo_rows: list[Row], workers: int) -> None:
    pool = Unreadable(demo_rows, ends=range(500, 5001, 500))
    with pytest.raises(OSError, match="block 2 is gone"):
        choose(pool, "diverse", 100, 0, workers=workers)


def test_diverse_covers_more_of_real_text_with_less_noise() -> None:
    path = SHARED_DATA / "corpus" / "train_raw.tsv.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; set LINGUABRIDGE_SHARED_DATA to the folder of corpora")
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        sides = [line.rstrip("\n").split("\t") for line in itertools.islice(file, 25_000)]
    rows = [(left, right) for left, right in sides]
    unique = sorted(set(rows[:20_000]))
    is_translated = np.array([bool(re.search("[\u4e00-\u9fff]", row[1])) for row in unique])
    pool = TextPool(
        unique,
        scores=is_translated.astype(np.float32),
        ends=[*range(3000, len(unique), 3000), len(unique)],
    )
    left, right = (Texts.of(side) for side in zip(*rows[20_000:], strict=True))
    masks = choose(pool, "diverse", 4000, 3, workers=2).masks
    found = coverage(pool, masks, left, right, seed=3)
    assert found["selected"] > 1.03 * found["random"]
    untranslated = np.concatenate(masks) & ~is_translated
    assert np.count_nonzero(untranslated) < 0.5 * 4000 * np.mean(~is_translated)
