"""Duplicates: what counts as the same, who stays, and that memory partitions change nothing."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.dedup import CHINESE, ENGLISH, PAIR, KeyColumns, pair_keys, surplus


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello world"),
        ("ＣＯＶＩＤ-19", "covid 19"),
        ("COVID-19", "Covid19"),
        ("It's me.", "its me"),
        ("Straße", "STRASSE"),
    ],
)
def test_surface_differences_give_the_same_keys(one: str, other: str):
    keys = pair_keys([one, other], ["你好，世界。", "你好世界"])
    assert (keys[:, 0] == keys[:, 1]).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It costs 1.5", "It costs 15"),
        ("-5 °C outside", "5 °C outside"),
        ("35% of it", "35 of it"),
        ("$5", "€5"),
        ("Learn C++", "Learn C#"),
        ("at 2:07", "at 207"),
    ],
)
def test_signs_that_change_the_meaning_give_another_pair_key(one: str, other: str):
    keys = pair_keys([one, other], ["同", "同"])
    assert keys[PAIR, 0] != keys[PAIR, 1]
    assert keys[ENGLISH, 0] == keys[ENGLISH, 1]
    assert keys[CHINESE, 0] == keys[CHINESE, 1]


def test_sides_do_not_mix():
    keys = pair_keys(["ab", "a"], ["c", "bc"])
    assert keys[PAIR, 0] != keys[PAIR, 1]


def _columns(
    folder: Path, keys: list[int], unit_sizes: list[int], partition_rows: int
) -> KeyColumns:
    files, start = [], 0
    for number, size in enumerate([*unit_sizes, len(keys)]):
        part = keys[start : start + size]
        start += len(part)
        path = folder / f"{number}.npy"
        np.save(path, np.array([part, part, part], dtype=np.uint64))
        files.append(path)
    return KeyColumns(files, partition_rows=partition_rows)


_KEYS = st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1, 7, 2**61]), max_size=40)


@given(
    _KEYS, st.lists(st.integers(0, 9), max_size=4), st.integers(1, 3), st.sampled_from([1, 4, 100])
)
def test_surplus_keeps_the_first_of_each_key(
    tmp_path_factory, keys: list[int], unit_sizes: list[int], limit: int, partition_rows: int
):
    columns = _columns(tmp_path_factory.mktemp("keys"), keys, unit_sizes, partition_rows)
    chosen = np.arange(len(keys)) % 5 != 0
    seen: Counter[int] = Counter()
    expected = []
    for row in np.flatnonzero(chosen).tolist():
        seen[keys[row]] += 1
        if seen[keys[row]] > limit:
            expected.append(row)
    assert surplus(columns, PAIR, chosen, limit=limit).tolist() == expected


def test_which_pairs_share_a_sentence_does_not_depend_on_their_order(tmp_path: Path):
    sentences = [f"sentence {number}" for number in range(12)]
    kept = []
    for order in (sentences, sentences[::-1]):
        np.save(tmp_path / "0.npy", pair_keys(["same"] * len(order), order))
        columns = KeyColumns([tmp_path / "0.npy"])
        gone = surplus(columns, ENGLISH, np.ones(len(order), dtype=np.bool_), limit=4)
        kept.append({*order} - {order[row] for row in gone})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 4
