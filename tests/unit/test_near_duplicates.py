"""Near duplicates: the blocks find every pair within the distance, and crowds cost no more."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus.keys import KEYS, NEAR, KeyColumns
from src.corpus.near_duplicates import MAX_STEPS, block_masks, near_duplicates


def _columns(folder: Path, hashes: list[int]) -> KeyColumns:
    unit = np.zeros((KEYS, len(hashes)), np.uint64)
    unit[NEAR] = hashes
    np.save(folder / "0.npy", unit[:, : len(hashes) // 2])
    np.save(folder / "1.npy", unit[:, len(hashes) // 2 :])
    return KeyColumns([folder / "0.npy", folder / "1.npy"])


def _dropped(columns: KeyColumns, alive, bits: int, part_rows: int = 1 << 20) -> list[int]:
    parts = [*near_duplicates(columns, alive, bits=bits, part_rows=part_rows)]
    return sorted(np.concatenate([np.zeros(0, np.int64), *parts]).tolist())


def _flip(hash_: int, places: list[int]) -> int:
    for place in places:
        hash_ ^= 1 << place
    return hash_


_BASES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4)
_FLIPS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=9)), max_size=25
)


@settings(max_examples=60)
@given(_BASES, _FLIPS, st.integers(0, 7))
def test_blocks_find_what_comparing_all_with_all_finds(
    tmp_path_factory, bases: list[int], flips: list[tuple[int, list[int]]], bits: int
):
    hashes = bases + [_flip(bases[base % len(bases)], places) for base, places in flips]
    columns = _columns(tmp_path_factory.mktemp("keys"), hashes)
    alive = np.arange(len(hashes)) % 7 != 3
    rows = np.flatnonzero(alive).tolist()
    expected = [
        row
        for row in rows
        if any(bin(hashes[row] ^ hashes[other]).count("1") <= bits for other in rows if other < row)
    ]
    assert _dropped(columns, alive, bits) == expected


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("rows", [10, 10**5, 10**8])
def test_any_choice_of_flipped_bits_leaves_one_mask_whole(rows: int, bits: int):
    masks = [int(mask) for mask in block_masks(rows, bits)]
    rng = np.random.default_rng(bits)
    for _ in range(200):
        flipped = _flip(0, rng.choice(64, bits, replace=False).tolist())
        assert any(mask & flipped == 0 for mask in masks)


def test_larger_corpora_use_larger_blocks():
    widths = [bin(int(block_masks(rows, 3)[0])).count("1") for rows in (10**3, 10**6, 10**8)]
    assert widths == sorted(widths)
    assert widths[-1] >= 24


def test_partitions_change_nothing(tmp_path: Path):
    rng = np.random.default_rng(1)
    base = rng.integers(0, 2**63, 50).tolist()
    hashes = [_flip(base[n % 50], rng.integers(0, 64, 2).tolist()) for n in range(400)]
    columns, alive = _columns(tmp_path, hashes), np.ones(400, np.bool_)
    assert _dropped(columns, alive, 3, 90) == _dropped(columns, alive, 3)
    assert len(_dropped(columns, alive, 3)) > 50


def test_a_crowd_is_compared_with_its_latest_rows_only(tmp_path: Path):
    # All agree in the lower half, so one chain holds them.
    crowd = [1 | (number * 0x9E3779B9 % 2**32) << 32 for number in range(2, MAX_STEPS + 50)]
    far = _columns(tmp_path, [*crowd, crowd[0] ^ (1 << 40)])
    assert _dropped(far, np.ones(len(far), np.bool_), 1) == []
    close = _columns(tmp_path, [*crowd, crowd[-MAX_STEPS] ^ (1 << 40)])
    assert _dropped(close, np.ones(len(close), np.bool_), 1) == [len(crowd)]
