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
