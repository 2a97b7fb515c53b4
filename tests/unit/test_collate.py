"""Micro-batches against sequences put together one pair at a time."""

import numpy as np
import pytest

from src.tokens.collate import Collator
from src.tokens.prompts import build_prompts
from tests.fakes.small_tokens import DIRECTIONS, make_pairs, small_tokenizer, write_cache

PAIRS = make_pairs(60)


def build(tmp_path, kind, directions=DIRECTIONS):
    tokenizer = small_tokenizer()
    prompts = build_prompts(kind, tokenizer, directions)
    split = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=25).split("train")
    return Collator(split, directions, prompts, pad_id=tokenizer.pad_id), prompts


def sequence_of(item, prompts, directions):
    """Ids of one item, and how many at the end are counted."""
    pair, way = divmod(item, len(directions))
    sides = dict(zip(("en", "zh"), PAIRS[pair], strict=True))
    source, target = (
        small_tokenizer().encode(sides[language]) for language in directions[way].split("-")
    )
    prompt = prompts[way]
    ids = [*prompt.prefix, *source, *prompt.infix, *target, *prompt.suffix]
    return ids, len(target) + len(prompt.suffix)


@pytest.mark.parametrize("kind", ["compact", "chatml"])
@pytest.mark.parametrize("directions", [DIRECTIONS, ("zh-en",), ("zh-en", "en-zh")])
def test_micro_batches_equal_sequences_built_one_by_one(tmp_path, kind, directions):
    collator, prompts = build(tmp_path, kind, directions)
    items = np.random.default_rng(0).permutation(len(PAIRS) * len(directions))[:50]
    sizes = [7, 1, 20, 22]
    batches = collator.micro_batches(collator.locate(items), sizes)
    remaining = iter(items.tolist())
    for batch, size in zip(batches, sizes, strict=True):
        chosen = [next(remaining) for _ in range(size)]
        sequences = [sequence_of(item, prompts, directions) for item in chosen]
        longest = max(len(ids) for ids, _ in sequences)
        rows, positions, labels = [], [], []
        for row, (ids, counted) in enumerate(sequences):
            rows.append(ids + [small_tokenizer().pad_id] * (longest - len(ids)))
            for position in range(len(ids) - counted, len(ids)):
                positions.append(row * longest + position - 1)
                labels.append(ids[position])
        assert batch["input_ids"].tolist() == rows
        assert batch["target_positions"].tolist() == positions
        assert batch["labels"].tolist() == labels
        assert batch["directions"].tolist() == [item % len(directions) for item in chosen]
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("kind", ["compact", "chatml"])
def test_packed_rows_equal_sequences_laid_end_to_end_one_by_one(tmp_path, kind):
    collator, prompts = build(tmp_path, kind)
    items = np.random.default_rng(1).permutation(2 * len(PAIRS))[:12]
    packed = [np.array([3, 1, 2]), np.array([1]), np.array([5])]
    sizes = [int(counts.sum()) for counts in packed]
    batches = collator.micro_batches(collator.locate(items), sizes, packed)
    remaining = iter(items.tolist())
    pad = small_tokenizer().pad_id
    for batch, counts in zip(batches, packed, strict=True):
        rows = [
            [sequence_of(next(remaining), prompts, DIRECTIONS) for _ in range(count)]
            for count in counts.tolist()
        ]
        longest = max(sum(len(ids) for ids, _ in row) for row in rows)
        expected: dict[str, list[list[int]]]
        expected = {"input_ids": [], "position_ids": [], "sequence_ends": []}
        positions, labels = [], []
        for number, row in enumerate(rows):
            joined: list[int] = []
            places: list[int] = []
            ends: list[int] = []
            for ids, counted in row:
                begin = len(joined)
                joined += ids
                places += range(len(ids))
                ends += [begin + len(ids)] * len(ids)
                for place in range(begin + len(ids) - counted, begin + len(ids)):
                    positions.append(number * longest + place - 1)
                    labels.append(joined[place])
            padding = range(len(joined), longest)
            expected["input_ids"].append(joined + [pad for _ in padding])
            expected["position_ids"].append(places + [0 for _ in padding])
            expected["sequence_ends"].append(ends + [place + 1 for place in padding])
        assert {name: batch[name].tolist() for name in expected} == expected
        assert batch["target_positions"].tolist() == positions
        assert batch["labels"].tolist() == labels
        assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
    directions = np.concatenate([batch["directions"] for batch in batches])
    assert np.array_equal(directions, items % 2)


@pytest.mark.parametrize("kind", ["compact", "chatml"])
def test_lengths_equal_those_of_sequences_built_one_by_one(tmp_path, kind):
    collator, prompts = build(tmp_path, kind)
    items = np.arange(2 * len(PAIRS))
    sequences = [sequence_of(item, prompts, DIRECTIONS) for item in items.tolist()]
    assert collator.lengths(items).tolist() == [len(ids) for ids, _ in sequences]
    assert collator.locate(items).target_lengths.tolist() == [counted for _, counted in sequences]


def test_too_long_pairs_are_found_per_direction(tmp_path):
    collator, _ = build(tmp_path, "chatml")
    lengths = collator.lengths(np.arange(2 * len(PAIRS))).reshape(-1, 2)  # [pairs, directions]
    limit = int(np.median(lengths))
    found = collator.find_too_long(limit)
    assert [pairs.tolist() for pairs in found] == [
        np.flatnonzero(lengths[:, way] > limit).tolist() for way in range(2)
    ]
    assert 0 < len(found[0]) < len(PAIRS)


def test_no_items_give_no_micro_batches(tmp_path):
    collator, _ = build(tmp_path, "compact")
    assert collator.micro_batches(collator.locate(np.empty(0, dtype=np.int64)), []) == []
