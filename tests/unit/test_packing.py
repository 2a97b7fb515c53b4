"""Rows of several sequences: nothing lost, no row too long, little padding, work for all ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.tokens.order import split_micro_batches
from src.tokens.packing import pack_rows, single_rows

WIDTH = 50
lengths_of_steps = st.lists(st.integers(2, WIDTH), min_size=1, max_size=120).map(np.array)


@given(lengths_of_steps, st.integers(1, 5), st.integers(1, 9))
def test_every_sequence_lies_in_one_row_and_no_row_is_too_long(lengths, ranks, batch_size):
    rows = pack_rows(lengths, width=WIDTH, ranks=ranks, batch_size=batch_size)
    assert sorted(rows.order.tolist()) == list(range(len(lengths)))
    assert rows.counts.min() >= 1
    assert rows.counts.sum() == len(lengths)
    assert rows.lengths.max() <= WIDTH
    assert np.array_equal(np.sort(rows.lengths), rows.lengths)
    for row in range(len(rows.counts)):
        assert lengths[rows.sequences(row, row + 1)].sum() == rows.lengths[row]


@given(lengths_of_steps, st.integers(1, 5), st.integers(1, 9))
def test_all_ranks_get_the_same_number_of_rows_where_there_are_sequences_enough(
    lengths, ranks, batch_size
):
    rows = pack_rows(lengths, width=WIDTH, ranks=ranks, batch_size=batch_size)
    shares = split_micro_batches(rows.lengths, ranks=ranks, batch_size=batch_size)
    sizes = [[part.stop - part.start for part in share] for share in shares]
    assert max(size for share in sizes for size in share) <= batch_size
    if len(lengths) >= ranks:
        assert min(map(sum, sizes)) > 0
    if len(rows.counts) < len(lengths):
        assert len({size for share in sizes for size in share}) == 1
        assert len({len(share) for share in sizes}) == 1


@given(lengths_of_steps)
def test_packing_never_takes_more_rows_than_sequences_and_is_a_pure_function(lengths):
    rows = pack_rows(lengths, width=WIDTH, ranks=1, batch_size=1)
    assert -(-lengths.sum() // WIDTH) <= len(rows.counts) <= len(lengths)
    again = pack_rows(lengths.copy(), width=WIDTH, ranks=1, batch_size=1)
    assert all(np.array_equal(*both) for both in zip(rows, again, strict=True))


@pytest.mark.parametrize("pairs", [64, 256, 2048])
def test_rows_of_a_step_are_nearly_full(pairs):
    """Lengths as short sentences have them: log-normal about 40 tokens."""
    random = np.random.default_rng(pairs)
    real = computed = 0
    for _ in range(20):
        lengths = random.lognormal(3.6, 0.6, pairs).astype(np.int64).clip(4, 384)
        rows = pack_rows(lengths, width=384, ranks=1, batch_size=4)
        (parts,) = split_micro_batches(rows.lengths, ranks=1, batch_size=4)
        real += lengths.sum()
        computed += sum(
            (part.stop - part.start) * rows.lengths[part.stop - 1].item() for part in parts
        )
    assert real >= 0.98 * computed


def test_two_long_sequences_never_share_a_row():
    lengths = np.array([26, 30, 50, 27, 26])
    assert pack_rows(lengths, width=50, ranks=1, batch_size=8).counts.tolist() == [1] * 5


def test_one_sequence_is_a_row():
    rows = pack_rows(np.array([7]), width=50, ranks=4, batch_size=8)
    assert (rows.order.tolist(), rows.counts.tolist(), rows.lengths.tolist()) == ([0], [1], [7])


@pytest.mark.parametrize("lengths", [[51], [3, 51, 4], []])
def test_what_does_not_fit_is_an_error(lengths):
    with pytest.raises(ValueError, match="rows of 50 tokens cannot hold"):
        pack_rows(np.array(lengths, dtype=np.int64), width=50, ranks=1, batch_size=1)


def test_unpacked_rows_hold_one_sequence_each():
    rows = single_rows(np.array([3, 5, 9]))
    assert rows.sequences(1, 3).tolist() == [1, 2]
    assert (rows.counts.tolist(), rows.lengths.tolist()) == ([1, 1, 1], [3, 5, 9])
