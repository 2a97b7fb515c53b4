"""Statistics of sequence lengths against counting one by one."""

import json

import numpy as np
import pytest

from src.tokens.lengths import length_statistics
from tests.fakes.small_tokens import make_pairs, small_tokenizer, write_cache

OVERHEADS = {"en-zh": 2, "zh-en": 5}
CANDIDATES = (10, 20, 30, 60)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lengths") / "tokens"
    others = {("en", "fr"): make_pairs(31, seed=3, languages=("en", "fr"), longest=20)}
    return write_cache(folder, make_pairs(90), shard_pairs=40, others=others)


def sequence_lengths(pairs, overhead):
    encode = small_tokenizer().encode
    return np.array([overhead + len(encode(left)) + len(encode(right)) for left, right in pairs])


@pytest.mark.parametrize("direction", list(OVERHEADS))
def test_counts_equal_those_of_the_sequences_themselves(cache, direction):
    found = length_statistics(cache.split("train"), OVERHEADS, candidates=CANDIDATES)
    lengths = np.sort(sequence_lengths(make_pairs(90), OVERHEADS[direction]))
    summary = found.directions[direction]
    assert (summary.pairs, summary.tokens) == (90, lengths.sum())
    assert summary.percentiles == {
        **{f"p{share}": lengths[-(-90 * share // 100) - 1] for share in (50, 90, 95, 99)},
        "max": lengths[-1],
    }
    for cut, candidate in zip(summary.cuts, CANDIDATES, strict=True):
        long = lengths[lengths > candidate]
        assert (cut.max_seq_length, cut.pairs, cut.tokens) == (candidate, len(long), long.sum())


def test_recommended_is_the_smallest_that_every_direction_fits_into(cache):
    split = cache.split("train")
    longest = {
        "en-zh": sequence_lengths(make_pairs(90), 2).max(),
        "fr-en": sequence_lengths(
            make_pairs(31, seed=3, languages=("en", "fr"), longest=20), 0
        ).max(),
    }
    assert longest["fr-en"] > longest["en-zh"]
    overheads = {"en-zh": 2, "fr-en": 0}
    both = tuple(sorted(longest.values()))
    assert length_statistics(split, overheads, candidates=both).recommended == both[1]
    assert length_statistics(split, {"en-zh": 2}, candidates=both).recommended == both[0]
    assert length_statistics(split, overheads, candidates=both[:1]).recommended is None


@pytest.mark.parametrize(("long", "recommended"), [(1, 20), (2, 60)])
def test_one_pair_in_a_thousand_may_be_left_out(tmp_path, long, recommended):
    pairs = [("Monday", "5")] * 1000 + [("Monday " * 20, "5")] * long
    split = write_cache(tmp_path / "tokens", pairs).split("train")
    found = length_statistics(split, {"en-zh": 2}, candidates=(20, 60))
    assert found.recommended == recommended


def test_a_direction_without_text_has_no_percentiles_and_json_can_hold_all(cache):
    found = length_statistics(cache.split("dev"), {"en-zh": 2, "en-fr": 2})
    assert (found.directions["en-fr"].pairs, found.directions["en-fr"].percentiles) == (0, {})
    assert json.loads(json.dumps(found.to_json({"teacher": 384})))["en-zh"]["pairs"] == 10


def test_a_configured_length_is_counted_and_never_recommended(cache):
    split = cache.split("train")
    found = length_statistics(split, OVERHEADS, candidates=CANDIDATES, also=(7, 1000))
    plain = length_statistics(split, OVERHEADS, candidates=CANDIDATES[:1], also=(1000,))
    assert [cut.max_seq_length for cut in found.directions["en-zh"].cuts] == [7, *CANDIDATES, 1000]
    assert (
        found.directions["en-zh"].cuts[0].pairs == (sequence_lengths(make_pairs(90), 2) > 7).sum()
    )
    assert plain.recommended is None
