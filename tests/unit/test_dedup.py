"""Duplicates: who stays, and that pieces and partitions of the keys change nothing."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.dedup import surplus
from src.corpus.keys import KEYS, LEFT, PAIR, KeyColumns, pair_keys
from src.corpus.texts import Texts


def _columns(folder: Path, keys: list[int], pairs: list[int], unit_sizes: list[int]) -> KeyColumns:
    files, start = [], 0
    for number, size in enumerate([*unit_sizes, len(keys)]):
        part = slice(start, start + size)
        unit = np.zeros((KEYS, len(keys[part])), np.uint64)
        unit[LEFT], unit[PAIR] = keys[part], pairs[part]
        path = folder / f"{number}.npy"
        np.save(path, unit)
        files.append(path)
        start += size
    return KeyColumns(files)


def _dropped(columns: KeyColumns, column: int, alive, limit: int, part_rows: int) -> list[int]:
    parts = list(surplus(columns, column, alive, limit=limit, part_rows=part_rows))
    return [int(row) for row in np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))]


_KEYS = st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1, 7, 2**61]), max_size=40)
_UNITS = st.lists(st.integers(0, 9), max_size=4)
_PART_ROWS = st.sampled_from([1, 4, 100])


@given(_KEYS, _UNITS, st.integers(1, 3), _PART_ROWS)
def test_of_equal_pairs_the_first_stay(
    tmp_path_factory, keys: list[int], unit_sizes: list[int], limit: int, part_rows: int
):
    columns = _columns(tmp_path_factory.mktemp("keys"), keys, keys, unit_sizes)
    alive = np.arange(len(keys)) % 5 != 0
    seen: Counter[int] = Counter()
    expected = []
    for row in np.flatnonzero(alive).tolist():
        seen[keys[row]] += 1
        if seen[keys[row]] > limit:
            expected.append(row)
    assert _dropped(columns, PAIR, alive, limit, part_rows) == expected


@given(_KEYS, st.integers(0, 2**32), _UNITS, st.integers(1, 3), _PART_ROWS)
def test_of_pairs_that_share_a_side_those_with_the_lowest_pair_keys_stay(
    tmp_path_factory,
    keys: list[int],
    seed: int,
    unit_sizes: list[int],
    limit: int,
    part_rows: int,
):
    pairs = np.random.default_rng(seed).integers(0, 20, len(keys)).tolist()
    columns = _columns(tmp_path_factory.mktemp("keys"), keys, pairs, unit_sizes)
    alive = np.arange(len(keys)) % 5 != 0
    rows_of = defaultdict(list)
    for row in np.flatnonzero(alive).tolist():
        rows_of[keys[row]].append((pairs[row], row))
    expected = sorted(row for rows in rows_of.values() for _, row in sorted(rows)[limit:])
    assert _dropped(columns, LEFT, alive, limit, part_rows) == expected


def test_half_of_the_rows_sharing_a_key_need_no_more_memory(tmp_path: Path):
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 2**63, 6000, dtype=np.uint64)
    keys[::2] = 5
    pairs = rng.permutation(6000).astype(np.uint64)
    columns = _columns(tmp_path, keys.tolist(), pairs.tolist(), [1000, 2000])
    alive = np.ones(6000, np.bool_)
    parts = list(surplus(columns, LEFT, alive, limit=2, part_rows=100))
    assert sum(map(len, parts)) == 3000 - 2
    # Carried on are the first of each key only, so no part is larger than a unit and these.
    assert max(map(len, parts)) <= 3000 + 100
    stays = np.setdiff1d(np.arange(0, 6000, 2), np.concatenate(parts))
    assert sorted(pairs[stays].tolist()) == sorted(pairs[::2].tolist())[:2]


def test_which_pairs_share_a_sentence_does_not_depend_on_their_order(tmp_path: Path):
    sentences = [f"sentence {number}" for number in range(12)]
    kept = []
    for order in (sentences, sentences[::-1]):
        keys = pair_keys(Texts.of(["same"] * len(order)), Texts.of(order))
        np.save(tmp_path / "0.npy", keys)
        gone = _dropped(KeyColumns([tmp_path / "0.npy"]), LEFT, np.ones(12, np.bool_), 4, 100)
        kept.append({*order} - {order[row] for row in gone})
    assert kept[0] == kept[1]
    assert len(kept[0]) == 4
