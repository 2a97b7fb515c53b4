"""The order of the stream: a bijection, resumable anywhere, the same for any number of ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.tokens.order import (
    Permutation,
    Selection,
    StreamOrder,
    derive_key,
    split_micro_batches,
)

keys = st.integers(0, 2**64 - 1)
SMALL = {"global_batch_size": 16, "window_batches": 5}
GOLDEN_PERMUTATION = [269, 78, 366, 133, 707, 742]
GOLDEN_KEY = 9168100048963467516


def make_order(items, *, global_batch_size, seed=0, directions=2, **options):
    none = np.empty(0, dtype=np.int64)
    selection = Selection(
        [range(items)] * directions, [none] * directions, limits=[None] * directions, seed=seed
    )
    return StreamOrder(
        selection,
        global_batch_size=global_batch_size,
        seed=seed,
        lengths=lambda numbers: numbers * 7919 % 50 + 3,
        **options,
    )


def epoch_of(order, epoch):
    return [order.global_batch(epoch, batch) for batch in range(order.batches_per_epoch)]


@given(st.integers(1, 3000), keys)
def test_permutation_is_a_bijection(size, key):
    numbers = Permutation(size, key)(np.arange(size))
    assert np.array_equal(np.sort(numbers), np.arange(size))


@given(st.integers(1, 2**62), keys)
def test_permutation_of_any_size_stays_in_range_without_repeats(size, key):
    positions = np.unique(np.linspace(0, size - 1, 100).astype(np.int64).clip(0, size - 1))
    numbers = Permutation(size, key)(positions)
    assert numbers.min() >= 0
    assert numbers.max() < size
    assert len(np.unique(numbers)) == len(positions)


@pytest.mark.parametrize("size", [3, 16, 31])
def test_permutation_puts_every_number_everywhere_equally_often(size):
    draws = 1000
    counts = np.zeros((size, size))
    positions = np.arange(size)
    for key in range(draws):
        counts[positions, Permutation(size, derive_key(key))(positions)] += 1
    expected = draws / size
    # Chi-squared per cell has mean 1; its mean over size * size cells is close to 1.
    assert ((counts - expected) ** 2 / expected).mean() < 1.35


def test_permutation_leaves_no_trace_of_the_position():
    size = 1_000_003
    numbers = Permutation(size, 42)(np.arange(200_000))
    steps = np.diff(numbers)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(np.arange(200_000), numbers)[0, 1]) < 0.01
    assert len(np.unique(steps)) > 0.85 * len(steps)
    buckets = np.bincount(numbers * 100 // size, minlength=100)
    assert abs(buckets - 2000).max() < 5 * 2000**0.5


def test_permutation_is_the_same_on_every_machine():
    assert Permutation(1000, 7)(np.arange(6)).tolist() == GOLDEN_PERMUTATION
    assert derive_key(1, "items", 2) == GOLDEN_KEY


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 200)), min_size=1), st.data())
def test_selection_holds_exactly_the_rows_that_take_part(bounds, data):
    rows = [range(begin, begin + count) for begin, count in bounds]
    left_out = [
        np.array(sorted(data.draw(st.sets(st.sampled_from(own)) if own else st.just(set()))))
        for own in rows
    ]
    left_out = [numbers.astype(np.int64) for numbers in left_out]
    selection = Selection(rows, left_out, limits=[None] * len(rows), seed=3)
    items = selection(np.arange(len(selection)))
    expected = {
        row * len(rows) + way
        for way, own in enumerate(rows)
        for row in set(own) - set(left_out[way].tolist())
    }
    assert len(items) == len(expected)
    assert set(items.tolist()) == expected


@given(st.integers(1, 100), st.integers(1, 120), st.integers(0, 50))
def test_limit_takes_a_fixed_subset_of_one_direction(pairs, limit, seed):
    left_out = np.arange(0, pairs, 5)
    none = np.empty(0, dtype=np.int64)
    selection = Selection([range(pairs)] * 2, [none, left_out], limits=[None, limit], seed=seed)
    items = selection(np.arange(len(selection)))
    assert np.array_equal(np.sort(items[items % 2 == 0]), np.arange(pairs) * 2)
    limited = items[items % 2 == 1] // 2
    assert len(np.unique(limited)) == len(limited) == min(limit, pairs - len(left_out))
    assert not np.isin(limited, left_out).any()


@given(
    st.integers(1, 200),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(0, 3),
    st.booleans(),
)
def test_every_item_comes_once_an_epoch(pairs, size, window_batches, epoch, shuffle):
    order = make_order(
        pairs, global_batch_size=size, window_batches=window_batches, shuffle=shuffle
    )
    batches = epoch_of(order, epoch)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(2 * pairs))
    assert sum(len(batch) != size for batch in batches) <= 1


def test_any_batch_can_be_had_without_those_before_it():
    straight = [batch for epoch in range(3) for batch in epoch_of(make_order(500, **SMALL), epoch)]
    steps = len(straight) // 3
    for position in np.random.default_rng(0).permutation(len(straight)):
        fresh = make_order(500, **SMALL).global_batch(*divmod(int(position), steps))
        assert np.array_equal(fresh, straight[position])


def test_batches_ascend_in_length_and_are_nearly_equal_in_length():
    order = make_order(5000, global_batch_size=50)
    lengths = [batch * 7919 % 50 + 3 for batch in epoch_of(order, 0)]
    assert all((np.diff(part) >= 0).all() for part in lengths)
    assert np.mean([part[-1] - part[0] for part in lengths]) < 1


def test_epochs_and_seeds_differ():
    first = make_order(500, **SMALL)
    second = make_order(500, **SMALL, seed=1)
    epochs = [np.concatenate(epoch_of(*which)) for which in ((first, 0), (first, 1), (second, 0))]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (epochs[a] == epochs[b]).mean() < 0.02


def test_lengths_do_not_come_in_order():
    order = make_order(5000, global_batch_size=50)
    means = [(batch * 7919 % 50).mean() for batch in epoch_of(order, 0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_without_shuffling_the_corpus_keeps_its_order():
    order = make_order(10, global_batch_size=4, shuffle=False, directions=1)
    assert [sorted(batch.tolist()) for batch in epoch_of(order, 1)] == [
        *([0, 1, 2, 3], [4, 5, 6, 7], [8, 9])
    ]


@pytest.mark.parametrize("batch", [-1, 63])
def test_batch_beyond_the_epoch_is_refused(batch):
    with pytest.raises(IndexError, match=f"batch {batch} of an epoch of 63 batches"):
        make_order(500, **SMALL).global_batch(0, batch)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=300).map(sorted),
    st.integers(1, 9),
    st.integers(1, 40),
)
def test_shares_of_all_ranks_are_the_batch(lengths, ranks, batch_size):
    shares = split_micro_batches(np.array(lengths), ranks=ranks, batch_size=batch_size)
    parts = [part for share in shares for part in share]
    taken = sorted(index for part in parts for index in range(part.start, part.stop))
    assert taken == list(range(len(lengths)))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    counts = [len(share) for share in shares]
    if len(lengths) >= ranks * -(-len(lengths) // (ranks * batch_size)):
        assert len(set(counts)) == 1
    assert max(counts) - min(counts) <= 1


def test_shares_cost_nearly_the_same():
    # Far wider than any batch from a sorted window.
    lengths = np.sort(np.random.default_rng(0).integers(5, 200, size=512))
    shares = split_micro_batches(lengths, ranks=4, batch_size=16)
    costs = [
        sum((part.stop - part.start) * lengths[part.stop - 1] for part in share) for share in shares
    ]
    assert max(costs) < 1.05 * np.mean(costs)
