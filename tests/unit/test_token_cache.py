"""The token cache: what is written is read back, and damage is found and named."""

import dataclasses
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import CacheMismatch, DataError
from src.tasks.engine import Engine
from src.tokens.cache import MANIFEST, TokenCache, is_current
from src.tokens.fast_encoder import FastEncoder
from src.tokens.split import spans
from src.tokens.tokenise import ShardPlan, TokeniseTask, save_encoder, tokenise_shards
from src.tokens.tokenizer import Tokenizer, train_tokenizer
from src.tokens.write_cache import cut_evenly, write_token_cache
from tests.fakes.full_disk import files_limited_to
from tests.fakes.small_tokens import (
    Pairs,
    make_pairs,
    small_tokenizer,
    write_cache,
    write_text_shard,
)

PAIRS = make_pairs(100)


OTHERS: dict[tuple[str, str], Pairs] = {
    ("fr", "en"): make_pairs(35, seed=1, languages=("fr", "en")),
    ("zh", "fr"): [],
}


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "tokens", PAIRS, shard_pairs=30)


def write_again(folder, pairs, *, rows_per_group=1000, **changes):
    text = folder.with_name(f"{folder.name}-again") / "train-en-zh-00000.parquet"
    write_text_shard(text, pairs, rows_per_group=rows_per_group)
    arguments = {
        "splits": {"train": [text]},
        "tokenizer": small_tokenizer(),
        "text_fingerprint": "1" * 64,
        **changes,
    }
    return write_token_cache(folder, **arguments)


def tree(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("shard_pairs", [7, 50, 100, 1000])
def test_cache_gives_back_the_ids_of_every_pair(tmp_path, shard_pairs):
    cache = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=shard_pairs, others=OTHERS)
    split = cache.split("train")
    assert split.segments == {("en", "zh"): range(100), ("fr", "en"): range(100, 135)}
    assert len(split) == 135
    for row, pair in enumerate([*PAIRS, *OTHERS["fr", "en"]]):
        for side, text in enumerate(pair):
            ids = split.ids(side, row)
            assert ids.dtype == np.uint32
            assert ids.tolist() == small_tokenizer().encode(text)


@pytest.mark.parametrize("shard_pairs", [30, 1000])
def test_lengths_and_bulk_reading_agree_with_single_pairs(tmp_path, shard_pairs):
    split = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=shard_pairs).split("train")
    rows = np.random.default_rng(1).integers(0, len(split), size=200)
    expected = [split.ids(1, row).tolist() for row in rows]
    sides = split.locate(1, rows)
    ids, lengths = split.read(1, sides), sides.lengths
    assert lengths.tolist() == [len(side) for side in expected]
    assert ids.tolist() == [index for side in expected for index in side]
    assert split.lengths(1, rows).tolist() == lengths.tolist()
    both = split.lengths(0, np.arange(100)) + split.lengths(1, np.arange(100))
    parts = list(split.pair_lengths())
    assert sum(len(part) for _, part in parts) == 100
    assert [begin for begin, _ in parts] == np.cumsum([0, *map(len, dict(parts).values())])[
        :-1
    ].tolist()
    assert np.concatenate([part for _, part in parts]).tolist() == both.tolist()


def test_rows_of_a_direction_are_found_whichever_side_is_the_source(tmp_path):
    split = write_cache(tmp_path / "tokens", PAIRS, others=OTHERS).split("train")
    assert split.rows_of("en", "zh") == (range(100), 0)
    assert split.rows_of("zh", "en") == (range(100), 1)
    assert split.rows_of("en", "fr") == (range(100, 135), 1)
    assert split.rows_of("zh", "fr") == (range(0), 0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=20))
def test_spans_lists_every_number_of_every_span(pairs):
    begins, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [begin + step for begin, length in pairs for step in range(length)]
    assert spans(begins, lengths).tolist() == expected


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 60))
def test_row_groups_are_cut_into_nearly_equal_runs(group_rows, wanted):
    runs = cut_evenly(group_rows, wanted)
    sizes = [sum(group_rows[begin:end]) for begin, end in runs]
    assert [row for begin, end in runs for row in range(begin, end)] == list(
        range(runs[-1][1] if runs else 0)
    )
    assert sum(sizes) == sum(group_rows)
    assert all(sizes)
    even = sum(group_rows) / max(1, round(sum(group_rows) / wanted))
    assert all(size <= even + max(group_rows) for size in sizes)


def test_manifest_counts_pairs_and_tokens(tmp_path):
    cache = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=30, others=OTHERS)
    manifest = json.loads((cache.folder / MANIFEST).read_text())
    train = manifest["splits"]["train"]
    split = cache.split("train")
    assert manifest["format"] == "linguabridge-tokens/2"
    assert manifest["vocab_size"] == small_tokenizer().vocab_size
    assert train["pairs"] == 135
    segments = train["segments"]
    assert [(part["languages"], part["pairs"]) for part in segments] == [
        (["en", "zh"], 100),
        (["fr", "en"], 35),
    ]
    assert segments[1]["tokens"] == {
        name: int(split.lengths(side, np.arange(100, 135)).sum())
        for side, name in enumerate(("fr", "en"))
    }
    assert [[shard["pairs"] for shard in part["shards"]] for part in segments] == [
        [30, 30, 40],
        [35],
    ]


def test_empty_splits_and_empty_sentences_are_kept(tmp_path):
    write_again(tmp_path / "tokens", [("", ""), ("", "")])
    split = TokenCache.open(tmp_path / "tokens", verify=True).split("train")
    assert split.read(0, split.locate(0, np.arange(2))).tolist() == []
    write_again(tmp_path / "tokens", [])
    split = TokenCache.open(tmp_path / "tokens", verify=True).split("train")
    assert (len(split), split.segments, list(split.pair_lengths())) == (0, {}, [])


def test_fast_and_reference_encoder_make_the_same_cache(tmp_path):
    fast = write_again(tmp_path / "fast", PAIRS, fast_from_rows=1)
    slow = write_again(tmp_path / "slow", PAIRS, fast_from_rows=1_000_000)
    assert tree(fast) == tree(slow)


def test_a_shard_on_which_the_encoders_differ_is_made_by_the_reference(tmp_path):
    other = train_tokenizer(iter(["quite another text, twice over; quite another text"]), 400)
    text = write_text_shard(tmp_path / "text.parquet", PAIRS)
    made = []
    for name, fast in (("wrong", FastEncoder.build(other.vocabulary)), ("none", None)):
        shard = ShardPlan("train", ("en", "zh"), 0, text, (0, 1), len(PAIRS))
        shard.stem(tmp_path / name).parent.mkdir(parents=True)
        encoder_id = save_encoder(tmp_path / name, small_tokenizer(), fast)
        differing = tokenise_shards(TokeniseTask(tmp_path / name, encoder_id, (shard,)))
        assert [sentence in dict(PAIRS) for sentence in differing] == [True] * (fast is not None)
        made.append(tree(tmp_path / name / "train"))
    assert made[0] == made[1]


def test_a_vocabulary_that_has_no_fast_encoder_is_encoded_by_the_reference(tmp_path, caplog):
    trained = small_tokenizer()
    vocabulary = dataclasses.replace(trained.vocabulary, pattern=r"\S+|\s+")
    tokenizer = Tokenizer(vocabulary, trained.config, None, "foreign")
    write_again(tmp_path / "tokens", PAIRS, tokenizer=tokenizer, fast_from_rows=1)
    assert "foreign: no fast encoding (it cuts text in another way" in caplog.text
    split = TokenCache.open(tmp_path / "tokens").split("train")
    assert [split.ids(0, row).tolist() for row in range(100)] == [
        tokenizer.encode(left) for left, _ in PAIRS
    ]


def test_pickled_split_reads_the_same(cache):
    split = pickle.loads(pickle.dumps(cache.split("train")))  # noqa: S301
    assert split.ids(0, 77).tolist() == small_tokenizer().encode(PAIRS[77][0])


def test_pair_beyond_the_split_is_refused(cache):
    with pytest.raises(IndexError, match="split train has 100 pairs; asked for -1 to 100"):
        cache.split("train").lengths(0, np.array([3, 100, -1]))


def test_unknown_split_is_named(cache):
    with pytest.raises(DataError, match="has no split 'valid', only train, dev"):
        cache.split("valid")


def test_other_tokenizer_or_text_is_refused_by_name(cache):
    cache.require(tokenizer_fingerprint=small_tokenizer().fingerprint, text_fingerprint="0" * 64)
    with pytest.raises(
        CacheMismatch, match=r"made from another tokenizer .* configured ffffffffffff"
    ):
        cache.require(tokenizer_fingerprint="f" * 64)
    with pytest.raises(CacheMismatch, match=r"made from another text \(fingerprint 000000000000"):
        cache.require(text_fingerprint="f" * 64)


def test_missing_cache_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no token cache in .*run `python run.py process` first"):
        TokenCache.open(tmp_path / "tokens")


def data_files(cache):
    return sorted(path for path in cache.folder.rglob("shard-*") if path.stat().st_size)


def test_a_missing_or_truncated_file_is_named(cache):
    for path in data_files(cache):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match=rf"{path.name} cannot be read \(No such file"):
            TokenCache.open(cache.folder)
        path.write_bytes(content[:-1])
        with pytest.raises(DataError, match=f"{path.name} has {len(content) - 1} bytes"):
            TokenCache.open(cache.folder)
        path.write_bytes(content)
    TokenCache.open(cache.folder, verify=True)


def test_a_flipped_bit_is_found_by_verifying(cache):
    for path in data_files(cache):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{path.name} has SHA-256"):
            TokenCache.open(cache.folder, verify=True)
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def test_files_that_contradict_each_other_are_refused(cache):
    path = cache.folder / "train" / "en-zh" / "shard-00001.en.offsets"
    offsets = np.fromfile(path, dtype="<u8")
    offsets[-1] += 1
    offsets.tofile(path)
    with pytest.raises(DataError, match=r"shard-00001\.en\.offsets does not fit"):
        TokenCache.open(cache.folder).split("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ('{"format": "linguabridge-tokens/2", "spl', "cannot be read"),
        ("[]", "has format None"),
        ('{"format": "linguabridge-tokens/1"}', "has format 'linguabridge-tokens/1'"),
        ('{"format": "linguabridge-tokens/3"}', "has format 'linguabridge-tokens/3'"),
        ('{"format": "linguabridge-tokens/2"}', "KeyError: 'splits'"),
        ('{"format": "linguabridge-tokens/2", "splits": []}', "is not a manifest"),
    ],
)
def test_a_broken_older_or_newer_manifest_is_refused(cache, content, message):
    (cache.folder / MANIFEST).write_text(content)
    with pytest.raises(DataError) as caught:
        TokenCache.open(cache.folder)
    assert message in str(caught.value)
    assert "run `python run.py process` again" in str(caught.value)


def test_a_cache_is_current_for_its_own_text_and_tokenizer_only(cache):
    facts = {
        "text_fingerprint": "0" * 64,
        "tokenizer_fingerprint": small_tokenizer().fingerprint,
    }
    assert is_current(cache.folder, **facts)
    for name in facts:
        assert not is_current(cache.folder, **{**facts, name: "f" * 64})
    next(cache.folder.rglob("*.ids")).unlink()
    assert not is_current(cache.folder, **facts)


@pytest.mark.parametrize(
    "content",
    [
        pa.table({"en": [1], "zh": ["二"]}),
        pa.table({"en": ["a", None], "zh": ["一", "二"]}),
        pa.table({"en": ["a"]}),
        b"PAR1 no more",
    ],
)
def test_a_file_that_is_no_text_shard_is_named_and_leaves_the_old_cache(cache, content):
    path = cache.folder.with_name("broken.parquet")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    with pytest.raises(DataError, match=r"broken\.parquet .*`python run\.py process`"):
        write_again(cache.folder, [], splits={"train": [path]})
    assert TokenCache.open(cache.folder, verify=True) == cache


def test_a_full_disk_leaves_the_old_cache_and_what_is_done_is_used_later(cache):
    pairs = [("Monday", "星期一")] * 30 + [("Monday " * 1000, "星期一")] * 30
    changes = {"rows_per_group": 30, "shard_rows": 30}
    with files_limited_to(60_000), pytest.raises(OSError, match="File too large"):
        write_again(cache.folder, pairs, **changes)
    assert TokenCache.open(cache.folder, verify=True) == cache
    kept = next((cache.folder.with_name(".tokens.partial")).rglob("shard-00000.zh.ids"))
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    write_again(cache.folder, pairs, **changes)
    made = cache.folder / "train" / "en-zh" / "shard-00000.zh.ids"
    assert (made.stat().st_mtime_ns, made.stat().st_ino) == before
    fresh = write_again(cache.folder.with_name("fresh"), pairs, **changes)
    assert tree(cache.folder) == tree(fresh)


def test_what_was_done_for_another_text_is_not_used(cache):
    pairs = [("Monday", "星期一")] * 30 + [("Monday " * 1000, "星期一")] * 30
    changes = {"rows_per_group": 30, "shard_rows": 30}
    with files_limited_to(60_000), pytest.raises(OSError, match="File too large"):
        write_again(cache.folder, pairs, **changes)
    write_again(cache.folder, PAIRS, **changes, text_fingerprint="2" * 64)
    fresh = cache.folder.with_name("fresh")
    write_again(fresh, PAIRS, **changes, text_fingerprint="2" * 64)
    assert tree(cache.folder) == tree(fresh)
    assert not cache.folder.with_name(".tokens.partial").exists()


def test_the_engine_keeps_the_peak_of_its_memory(tmp_path):
    engine = Engine(num_workers=1)
    write_again(tmp_path / "tokens", PAIRS, engine=engine)
    assert engine.peak.bytes > 0


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "tokens" / "thesis").mkdir(parents=True)
    (tmp_path / "tokens" / "thesis" / "draft.txt").write_text("months of work")
    with pytest.raises(DataError, match=r"holds thesis/draft\.txt, which is no part of a token"):
        write_again(tmp_path / "tokens", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; a token cache is a folder"):
        write_again(tmp_path / "file", [])
