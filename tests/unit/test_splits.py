"""Held-out splits: no sentence leaks, data can grow, and too little data is said in words."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus.keys import KeyColumns, pair_keys
from src.corpus.splits import hold_out
from src.corpus.texts import Texts
from src.errors import DataError
from src.schema import SplitsConfig

Pair = tuple[int, int]
Sentences = list[Pair]


def _columns(folder: Path, pairs: Sentences) -> KeyColumns:
    left, right = (
        [f"{name}{pair[side]}" for pair in pairs] for side, name in ((0, "en"), (1, "zh"))
    )
    keys = pair_keys(Texts.of(left), Texts.of(right))
    middle = len(pairs) // 2
    np.save(folder / "0.npy", keys[:, :middle])
    np.save(folder / "1.npy", keys[:, middle:])
    return KeyColumns([folder / "0.npy", folder / "1.npy"])


def _split(folder: Path, pairs: Sentences, dev: int, test: int) -> list[set[Pair]]:
    kept = np.ones(len(pairs), dtype=np.bool_)
    sizes = SplitsConfig(dev=dev, test=test)
    dev_rows, test_rows, leaks = hold_out(_columns(folder, pairs), kept, sizes, seed=42)
    assert (len(dev_rows), len(test_rows)) == (dev, test)
    return [{pairs[row] for row in rows} for rows in (dev_rows, test_rows, np.flatnonzero(leaks))]


@settings(max_examples=40)
@given(
    st.sets(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=30, max_size=80),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_splits_share_no_side(tmp_path_factory, pairs: set[tuple[int, int]], dev: int, test: int):
    ordered = sorted(pairs)
    dev_pairs, test_pairs, leaks = _split(tmp_path_factory.mktemp("keys"), ordered, dev, test)
    train = pairs - dev_pairs - test_pairs - leaks
    groups = (train, dev_pairs, test_pairs)
    for side in (0, 1):
        sentences = [{pair[side] for pair in group} for group in groups]
        assert not sentences[0] & sentences[1]
        assert not sentences[0] & sentences[2]
        assert not sentences[1] & sentences[2]
    # Nobody goes without a reason.
    held_out = dev_pairs | test_pairs
    for english, chinese in leaks:
        assert any(english == en or chinese == zh for en, zh in held_out)


def test_more_data_leaves_most_of_the_held_out_pairs(tmp_path: Path):
    before = [(n, n) for n in range(1000)]
    after = [*before[:300], *((n, n) for n in range(1000, 1100)), *before[300:]]
    old_dev, old_test, _ = _split(tmp_path, before, 100, 100)
    new_dev, new_test, _ = _split(tmp_path, after, 100, 100)
    assert len(old_dev & new_dev) > 80
    assert len(old_test & new_test) > 80
    assert not old_dev & new_test
    assert not old_test & new_dev


def test_too_few_pairs_names_the_keys_to_lower(tmp_path: Path):
    with pytest.raises(DataError, match=r"only 10 pairs are left .*data\.splits\.dev=6"):
        _split(tmp_path, [(n, n) for n in range(10)], 6, 4)


def test_pairs_that_all_share_a_sentence_cannot_be_split(tmp_path: Path):
    with pytest.raises(DataError, match="share so many sentences"):
        _split(tmp_path, [(n, 0) for n in range(10)], 1, 1)
