"""The stream of step batches: what all ranks see together, where it resumes, what it counts."""

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import ConfigError, DataError
from src.tokens.prompts import build_prompts
from src.tokens.stream import POSITION, StreamingDataset, evaluation_batches
from tests.fakes.micro_batches import sequences_of
from tests.fakes.small_tokens import DIRECTIONS, make_pairs, small_tokenizer, write_cache

PAIRS = make_pairs(90)
OPTIONS: dict[str, Any] = {
    "language_pairs": DIRECTIONS,
    "prompt": "compact",
    "max_seq_length": 40,
    "global_batch_size": 16,
    "batch_size": 4,
    "seed": 5,
}
GOLDEN_STREAM = "085851b4d12287a716aa8e8110c33af9fa54880d97f40f5dd0b9952450d84f6e"
EVALUATION = {
    name: OPTIONS[name] for name in ("language_pairs", "prompt", "max_seq_length", "batch_size")
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return write_cache(tmp_path_factory.mktemp("cache") / "tokens", PAIRS, shard_pairs=40)


@pytest.fixture(scope="module")
def split(cache):
    return cache.split("train")


def stream(split, **changes):
    return StreamingDataset(split, small_tokenizer(), **{**OPTIONS, **changes})


def rows_of(micro_batch):
    """Each sequence of a micro-batch without padding, with its direction."""
    sequences = sequences_of(micro_batch, pad_id=small_tokenizer().pad_id)
    return [
        (direction, sequence.ids)
        for sequence, direction in zip(sequences, micro_batch["directions"].tolist(), strict=True)
    ]


def rows_of_steps(steps):
    return [row for step in steps for part in step["micro_batches"] for row in rows_of(part)]


def rows_that_fit(limit=40):
    tokenizer = small_tokenizer()
    rows = []
    for en, zh in PAIRS:
        sides = {"en": tokenizer.encode(en), "zh": tokenizer.encode(zh)}
        for direction, (source, target) in enumerate((("en", "zh"), ("zh", "en"))):
            marker = tokenizer.marker(target)
            ids = (*sides[source], *marker, *sides[target], tokenizer.eos_id)
            if len(ids) <= limit:
                rows.append((direction, ids))
    return sorted(rows)


def assert_same_steps(some, others):
    for one, other in itertools.zip_longest(some, others):
        assert one.keys() == other.keys()
        parts = zip(one["micro_batches"], other["micro_batches"], strict=True)
        for left, right in parts:
            assert all(np.array_equal(left[name], right[name]) for name in left)
        names = one.keys() - {"micro_batches"}
        assert all(one[name] == other[name] for name in names)


def test_the_stream_of_one_pair_of_languages_is_what_it_always_was(split):
    """Runs that were begun with an earlier version resume on the same batches."""
    digest = hashlib.sha256()
    steps = stream(split, num_epochs=2, max_samples={"zh-en": 50})
    parts = [part for step in steps for part in step["micro_batches"]]
    parts += evaluation_batches(split, small_tokenizer(), **EVALUATION, max_pairs=30)
    for part in parts:
        for name in sorted(part.keys() - {POSITION}):  # it came later than the golden value
            digest.update(part[name].tobytes())
    assert digest.hexdigest() == GOLDEN_STREAM


@settings(max_examples=40)
@given(
    ranks=st.integers(1, 5),
    batch_size=st.integers(1, 9),
    global_batch_size=st.integers(1, 50),
    cut=st.integers(0, 100),
    later_ranks=st.integers(1, 5),
    packing=st.booleans(),
)
def test_all_ranks_together_see_every_pair_once_an_epoch_also_after_a_resume_on_other_ranks(
    split, ranks, batch_size, global_batch_size, cut, later_ranks, packing
):
    changes = {"batch_size": batch_size, "global_batch_size": global_batch_size, "num_epochs": 1}
    changes["packing"] = packing
    seen = []
    position = (0, 0)
    for rank in range(ranks):
        dataset = stream(split, rank=rank, world_size=ranks, **changes)
        cut = min(cut, dataset.steps_per_epoch)
        steps = list(itertools.islice(dataset, cut))
        seen += rows_of_steps(steps)
        if steps:
            position = (steps[-1]["epoch"], steps[-1]["batch"])
    for rank in range(later_ranks):
        dataset = stream(
            split,
            rank=rank,
            world_size=later_ranks,
            start_epoch=position[0],
            start_batch=position[1],
            **changes,
        )
        seen += rows_of_steps(dataset)
    assert sorted(seen) == rows_that_fit()


@pytest.mark.parametrize("packing", [False, True])
def test_resumed_stream_is_the_tail_of_the_uninterrupted_one(split, packing):
    changes = {"num_epochs": 3, "packing": packing}
    straight = list(iter(stream(split, **changes)))
    for done, step in enumerate(straight[:-1], start=1):
        resumed = stream(split, **changes, start_epoch=step["epoch"], start_batch=step["batch"])
        assert_same_steps(resumed, straight[done:])
    assert (straight[-1]["epoch"], straight[-1]["batch"]) == (3, 0)


def test_stream_has_no_end_without_a_number_of_epochs(split):
    dataset = stream(split)
    steps = list(itertools.islice(dataset, 2 * dataset.steps_per_epoch + 1))
    assert (steps[-1]["epoch"], steps[-1]["batch"]) == (2, 1)
    epochs = [
        rows_of_steps(steps[begin : begin + dataset.steps_per_epoch])
        for begin in (0, dataset.steps_per_epoch)
    ]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1])


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("ranks", [1, 3])
def test_counts_are_those_of_all_ranks(split, ranks, packing):
    changes = {"world_size": ranks, "packing": packing, "num_epochs": 1}
    datasets = [stream(split, rank=rank, **changes) for rank in range(ranks)]
    for steps in zip(*datasets, strict=True):
        parts = [part for step in steps for part in step["micro_batches"]]
        pad = small_tokenizer().pad_id
        expected = {
            "target_tokens": sum(len(part["labels"]) for part in parts),
            "padded_tokens": sum(part["input_ids"].size for part in parts),
            "real_tokens": sum(int((part["input_ids"] != pad).sum()) for part in parts),
            "pairs": sum(len(rows_of(part)) for part in parts),
        }
        for step in steps:
            assert {name: step[name] for name in expected} == expected
            assert all(len(part["input_ids"]) <= 4 for part in step["micro_batches"])


def test_packed_steps_hold_the_same_pairs_on_any_number_of_ranks(split):
    packed = {"packing": True, "num_epochs": 1}
    alone = list(iter(stream(split, **packed)))
    ranks = [
        list(iter(stream(split, rank=rank, world_size=3, batch_size=1, **packed)))
        for rank in range(3)
    ]
    for step, *shared in zip(alone, *ranks, strict=True):
        assert sorted(rows_of_steps(shared)) == sorted(rows_of_steps([step]))
        assert all(part["input_ids"].shape[1] <= 40 for part in step["micro_batches"])


def test_packed_steps_are_a_random_draw_and_denser_than_their_pairs_padded(split):
    lengths = [len(ids) for _, ids in rows_that_fit()]
    steps = list(iter(stream(split, packing=True, num_epochs=1)))
    spread = [np.ptp([len(ids) for _, ids in rows_of_steps([step])]) for step in steps[:-1]]
    assert np.median(spread) > np.ptp(lengths) / 2
    padded = sum(
        len(rows) * max(len(ids) for _, ids in rows)
        for rows in (rows_of_steps([step]) for step in steps)
    )
    assert sum(step["padded_tokens"] for step in steps) < 0.8 * padded
    assert sum(step["real_tokens"] for step in steps) == sum(lengths)


def test_left_out_pairs_are_counted_in_the_log(split, caplog):
    caplog.set_level("INFO", logger="src.tokens.stream")
    stream(split, max_seq_length=20)
    left_out = 2 * len(PAIRS) - len(rows_that_fit(20))
    assert left_out > 0
    assert f"en-zh: {left_out // 2} of 90 pairs ({100 * left_out / 180:.2f} %)" in caplog.text


def test_max_samples_limits_one_direction_to_the_same_pairs_in_every_epoch(split):
    dataset = stream(split, max_samples={"zh-en": 20})
    steps = list(itertools.islice(dataset, 2 * dataset.steps_per_epoch))
    epochs = [
        sorted(rows_of_steps(part))
        for part in (steps[: dataset.steps_per_epoch], steps[dataset.steps_per_epoch :])
    ]
    assert epochs[0] == epochs[1]
    directions = [direction for direction, _ in epochs[0]]
    assert directions.count(1) == 20
    assert directions.count(0) == sum(direction == 0 for direction, _ in rows_that_fit())


@pytest.fixture(scope="module")
def three_languages(tmp_path_factory):
    """English-Chinese in several shards, then French-English and Chinese-French."""
    others = {
        ("fr", "en"): make_pairs(35, seed=1, languages=("fr", "en")),
        ("zh", "fr"): make_pairs(11, seed=2, languages=("zh", "fr")),
    }
    folder = tmp_path_factory.mktemp("three") / "tokens"
    return write_cache(folder, PAIRS, shard_pairs=20, others=others).split("train"), {
        ("en", "zh"): PAIRS,
        **others,
    }


@pytest.mark.parametrize(
    "directions",
    [("en-zh", "zh-en", "en-fr"), ("en-fr",), ("fr-zh", "fr-en", "en-zh", "zh-fr")],
)
def test_every_direction_streams_the_pairs_of_its_own_languages(three_languages, directions):
    split, corpora = three_languages
    tokenizer = small_tokenizer()
    expected = []
    for number, direction in enumerate(directions):
        source, target = direction.split("-")
        for languages, pairs in corpora.items():
            if {source, target} == set(languages):
                for pair in pairs:
                    sides = dict(zip(languages, map(tokenizer.encode, pair), strict=True))
                    expected.append((number, sides[source], sides[target]))
    dataset = stream(
        split, language_pairs=directions, prompt="chatml", max_seq_length=1000, num_epochs=1
    )
    prompts = build_prompts("chatml", tokenizer, directions)
    wanted = sorted(
        (number, (*prompts[number].opening(source), *target, *prompts[number].suffix))
        for number, source, target in expected
    )
    assert sorted(rows_of_steps(dataset)) == wanted


def test_limits_hold_for_the_direction_that_names_them(three_languages):
    split, _ = three_languages
    changes = {"language_pairs": ("en-zh", "en-fr"), "prompt": "chatml", "max_seq_length": 1000}
    dataset = stream(split, **changes, max_samples={"en-fr": 6}, num_epochs=1)
    directions = [direction for direction, _ in rows_of_steps(dataset)]
    assert (directions.count(0), directions.count(1)) == (90, 6)
    options = {**EVALUATION, **changes, "max_pairs": 7}
    batches = evaluation_batches(split, small_tokenizer(), **options)
    directions = [direction for part in batches for direction, _ in rows_of(part)]
    assert (directions.count(0), directions.count(1)) == (7, 7)


def test_direction_without_text_is_refused_by_name(split):
    with pytest.raises(DataError, match=r"train split holds en-zh text and none for de-fr, en-fr"):
        stream(split, prompt="chatml", language_pairs=("en-zh", "de-fr", "en-fr"))
    options = {**EVALUATION, "prompt": "chatml", "language_pairs": ("en-fr",)}
    with pytest.raises(DataError, match=r"train split holds en-zh text and none for en-fr"):
        evaluation_batches(split, small_tokenizer(), **options, max_pairs=None)


def test_evaluation_leaves_out_a_direction_without_text(three_languages, cache):
    options = {**EVALUATION, "prompt": "chatml", "max_seq_length": 1000}
    dev = cache.split("dev")
    directions = ("en-zh", "en-fr")
    batches = evaluation_batches(
        dev, small_tokenizer(), **{**options, "language_pairs": directions}, max_pairs=None
    )
    assert [direction for part in batches for direction, _ in rows_of(part)] == [0] * 10


def test_position_beyond_the_epoch_is_refused(split):
    steps = stream(split).steps_per_epoch
    with pytest.raises(DataError, match=rf"step {steps} of an epoch: it has {steps} steps"):
        stream(split, start_batch=steps)


def test_limit_that_nothing_fits_is_refused(split):
    with pytest.raises(DataError, match=r"none of the 90 pairs .* fits max_seq_length=1 tokens"):
        stream(split, max_seq_length=1)


def test_unknown_prompt_is_refused(split):
    with pytest.raises(ConfigError, match="prompt 'alpaca' is unknown"):
        stream(split, prompt="alpaca")


def test_empty_split_is_refused(tmp_path):
    none = write_cache(tmp_path / "none", []).split("train")
    with pytest.raises(DataError, match=r"the train split holds no pairs; check data\.splits"):
        stream(none)
    with pytest.raises(DataError, match=r"the train split holds no pairs; check data\.splits"):
        evaluation_batches(none, small_tokenizer(), **EVALUATION, max_pairs=None)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_evaluation_covers_every_pair_once_over_all_ranks(split, ranks):
    parts = [
        part
        for rank in range(ranks)
        for part in evaluation_batches(
            split, small_tokenizer(), **EVALUATION, max_pairs=None, rank=rank, world_size=ranks
        )
    ]
    assert sorted(row for part in parts for row in rows_of(part)) == rows_that_fit()
    assert max(len(part["input_ids"]) for part in parts) <= 4


def test_evaluation_takes_the_same_pairs_at_every_call_shortest_first(split):
    calls = [
        list(evaluation_batches(split, small_tokenizer(), **EVALUATION, max_pairs=7))
        for _ in range(2)
    ]
    rows = [[row for part in call for row in rows_of(part)] for call in calls]
    assert rows[0] == rows[1]
    assert [direction for direction, _ in rows[0]].count(0) == 7
    assert len(rows[0]) == 14
    lengths = [len(ids) for _, ids in rows[0]]
    assert lengths == sorted(lengths)
