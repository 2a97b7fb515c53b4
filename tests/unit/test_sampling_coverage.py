"""What a choice covers of a text that had no part in it, and what chance would have covered."""

import random
from typing import Any

import numpy as np
import pytest

from src.corpus.sampling import choose, coverage, measuring
from src.corpus.sampling.measuring import POINTS
from src.corpus.texts import Texts
from tests.fakes.text_pool import Row, TextPool


def measured(pool: TextPool, masks: Any, held_out: list[Row], **options: Any) -> dict[str, Any]:
    left, right = Texts.of([row[0] for row in held_out]), Texts.of([row[1] for row in held_out])
    return coverage(pool, masks, left, right, seed=1, **options)


def zipf_rows(count: int, seed: int) -> list[Row]:
    """Sentences of words of which some are frequent and most are rare."""
    rng = random.Random(seed)  # noqa: S311
    words = [f"w{number}" for number in range(4000)]
    weights = [1 / (rank + 5) for rank in range(4000)]
    return [
        (" ".join(rng.choices(words, weights, k=rng.randint(3, 20))), f"第{number}句")
        for number in range(count)
    ]


def test_kinds_of_grams_are_counted_once() -> None:
    pool = TextPool([("a b", "一"), ("c", "二"), ("a c a c", "一")])
    held_out = [("a b c", "一"), ("a b", "")]
    # Kinds: a, b, c, ab, bc, abc and 一; the first pair has a, b, ab and 一.
    first = measured(pool, [np.array([True, False, False])], held_out)
    assert first["selected"] == 4 / 7
    assert first["all"] == 5 / 7
    assert first["tokens"] == 3
    assert measured(pool, [np.zeros(3, np.bool_)], held_out)["selected"] == 0
    everything = measured(pool, [np.ones(3, np.bool_)], held_out)
    assert everything["selected"] == everything["random"] == everything["all"] == 5 / 7
    assert everything["tokens"] == 3 + 2 + 5
    # The second pair adds nothing to the third: at random, it may come when all is covered.
    assert everything["random_tokens"] in {3 + 5, 3 + 2 + 5}


def test_without_held_out_text_there_is_nothing_to_say() -> None:
    pool = TextPool([("a b", "一")])
    assert measured(pool, [np.ones(1, np.bool_)], []) == {}
    assert measured(pool, [np.ones(1, np.bool_)], [("...", "。")]) == {}


def test_a_random_choice_covers_what_chance_covers() -> None:
    pool = TextPool(zipf_rows(6000, 1), ends=[1000, 2500, 6000])
    masks = choose(pool, "random", 1500, 7).masks
    found = measured(pool, masks, zipf_rows(500, 2))
    assert found["selected"] == pytest.approx(found["random"], abs=0.02)
    assert found["random_tokens"] == pytest.approx(found["tokens"], rel=0.2)
    assert found["selected"] < found["all"]


def test_chance_has_as_many_tokens_and_not_as_many_pairs() -> None:
    rows = zipf_rows(6000, 1)
    is_long = np.array([len(left.split()) > 12 for left, _ in rows])
    found = measured(TextPool(rows), [is_long], zipf_rows(500, 2))
    assert found["selected"] == pytest.approx(found["random"], abs=0.02)


def test_both_curves_rise_to_the_whole_choice() -> None:
    pool = TextPool(zipf_rows(3000, 1))
    found = measured(pool, choose(pool, "diverse", 600, 7).masks, zipf_rows(300, 2))
    curve = found["curve"]
    assert curve["share"] == [point / POINTS for point in range(1, POINTS + 1)]
    for name in ("selected", "random"):
        assert len(curve[name]) == POINTS
        assert curve[name] == sorted(curve[name])
        assert curve[name][-1] == found[name]
    assert found["selected"] > found["random"]
    # What chance needs to cover as much.
    assert found["random_tokens"] > found["tokens"]


def test_neither_threads_nor_blocks_change_the_numbers() -> None:
    rows, held_out = zipf_rows(2000, 1), zipf_rows(200, 2)
    mask = np.random.default_rng(0).random(2000) < 0.2
    whole = measured(TextPool(rows), [mask], held_out)
    parts = np.split(mask, [10, 10, 1500])
    for workers in (1, 2, 3):
        pool = TextPool(rows, ends=[10, 10, 1500, 2000])
        seen: list[int] = []
        assert measured(pool, parts, held_out, workers=workers, progress=seen.append) == whole
        assert sum(seen) == 2000


def test_a_sample_of_the_kinds_stands_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = TextPool(zipf_rows(3000, 1))
    masks, held_out = choose(pool, "diverse", 600, 7).masks, zipf_rows(1000, 2)
    exact = measured(pool, masks, held_out)
    monkeypatch.setattr(measuring, "MOST_KINDS", 2500)
    sampled = measured(pool, masks, held_out)
    for name in ("selected", "random", "all"):
        assert sampled[name] != exact[name]
        assert sampled[name] == pytest.approx(exact[name], abs=0.04)
    assert sampled["tokens"] == exact["tokens"]
