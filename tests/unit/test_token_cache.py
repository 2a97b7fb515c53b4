"""The token cache: what is written is read back, and damage is found and named."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import CacheMismatch, DataError
from src.tokens.cache import MANIFEST, TokenCache, write_token_cache
from src.tokens.split import spans
from tests.fakes.full_disk import files_limited_to
from tests.fakes.small_tokens import make_pairs, small_tokenizer, write_cache

PAIRS = make_pairs(100)


@pytest.fixture
def cache(tmp_path):
    return write_cache(tmp_path / "tokens", PAIRS, shard_pairs=30)


def write_again(folder, batches, **changes):
    arguments = {
        "splits": {"train": batches},
        "tokenizer": small_tokenizer(),
        "text_fingerprint": "1" * 64,
        **changes,
    }
    return write_token_cache(folder, **arguments)


@pytest.mark.parametrize("shard_pairs", [7, 50, 100, 1000])
def test_cache_gives_back_the_ids_of_every_pair(tmp_path, shard_pairs):
    cache = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=shard_pairs)
    split = cache.split("train")
    assert len(split) == len(PAIRS)
    for index, pair in enumerate(PAIRS):
        for language, text in zip(split.languages, pair, strict=True):
            ids = split.ids(language, index)
            assert ids.dtype == np.uint32
            assert ids.tolist() == small_tokenizer().encode(text)


@pytest.mark.parametrize("shard_pairs", [30, 1000])
def test_lengths_and_bulk_reading_agree_with_single_pairs(tmp_path, shard_pairs):
    split = write_cache(tmp_path / "tokens", PAIRS, shard_pairs=shard_pairs).split("train")
    indices = np.random.default_rng(1).integers(0, len(split), size=200)
    expected = [split.ids("zh", index).tolist() for index in indices]
    sides = split.locate("zh", indices)
    ids, lengths = split.read("zh", sides), sides.lengths
    assert lengths.tolist() == [len(side) for side in expected]
    assert ids.tolist() == [index for side in expected for index in side]
    assert split.lengths("zh", indices).tolist() == lengths.tolist()
    both = split.lengths("en", np.arange(100)) + split.lengths("zh", np.arange(100))
    parts = list(split.pair_lengths())
    assert [begin for begin, _ in parts] == list(range(0, 100, shard_pairs))
    assert np.concatenate([part for _, part in parts]).tolist() == both.tolist()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=20))
def test_spans_lists_every_number_of_every_span(pairs):
    begins, lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    expected = [begin + step for begin, length in pairs for step in range(length)]
    assert spans(begins, lengths).tolist() == expected


def test_batch_size_does_not_change_a_byte(tmp_path):
    sides = tuple(zip(*PAIRS, strict=True))
    whole = write_again(tmp_path / "whole", [sides], shard_pairs=40)
    parts = [tuple(side[begin : begin + 7] for side in sides) for begin in range(0, 100, 7)]
    small = write_again(tmp_path / "small", parts, shard_pairs=40)
    assert (whole / MANIFEST).read_bytes() == (small / MANIFEST).read_bytes()


def test_manifest_counts_pairs_and_tokens(cache):
    manifest = json.loads((cache.folder / MANIFEST).read_text())
    train = manifest["splits"]["train"]
    split = cache.split("train")
    assert manifest["format"] == "linguabridge-tokens/1"
    assert train["pairs"] == 100
    assert train["tokens"] == {
        name: int(split.lengths(name, np.arange(100)).sum()) for name in ("en", "zh")
    }
    assert [shard["pairs"] for shard in train["shards"]] == [30, 30, 30, 10]
    assert manifest["vocab_size"] == small_tokenizer().vocab_size


def test_empty_splits_and_empty_sentences_are_kept(tmp_path):
    write_again(tmp_path / "tokens", [(["", ""], ["", ""])], shard_pairs=2)
    split = TokenCache.open(tmp_path / "tokens", verify=True).split("train")
    assert split.read("en", split.locate("en", np.arange(2))).tolist() == []
    write_again(tmp_path / "tokens", [])
    split = TokenCache.open(tmp_path / "tokens", verify=True).split("train")
    assert (len(split), list(split.pair_lengths())) == (0, [])


def test_progress_hears_of_every_pair(tmp_path):
    heard: list[int] = []
    write_again(
        tmp_path / "tokens", [(["a"] * 3, ["b"] * 3), (["a"], ["b"])], progress=heard.append
    )
    assert heard == [3, 1]


def test_pickled_split_reads_the_same(cache):
    split = pickle.loads(pickle.dumps(cache.split("train")))  # noqa: S301
    assert split.ids("en", 77).tolist() == small_tokenizer().encode(PAIRS[77][0])


def test_pair_beyond_the_split_is_refused(cache):
    with pytest.raises(IndexError, match="split train has 100 pairs; asked for -1 to 100"):
        cache.split("train").lengths("en", np.array([3, 100, -1]))


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
    path = cache.folder / "train" / "shard-00001.en.offsets"
    offsets = np.fromfile(path, dtype="<u8")
    offsets[-1] += 1
    offsets.tofile(path)
    with pytest.raises(DataError, match=r"shard-00001\.en\.offsets does not fit"):
        TokenCache.open(cache.folder).split("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ('{"format": "linguabridge-tokens/1", "spl', "cannot be read"),
        ("[]", "has format None"),
        ('{"format": "linguabridge-tokens/2"}', "has format 'linguabridge-tokens/2'"),
        ('{"format": "linguabridge-tokens/1"}', "KeyError: 'splits'"),
        ('{"format": "linguabridge-tokens/1", "splits": []}', "is not a manifest"),
    ],
)
def test_a_broken_or_newer_manifest_is_refused(cache, content, message):
    (cache.folder / MANIFEST).write_text(content)
    with pytest.raises(DataError) as caught:
        TokenCache.open(cache.folder)
    assert message in str(caught.value)
    assert "run `python run.py process` again" in str(caught.value)


def test_sides_of_different_length_are_refused_and_leave_the_old_cache(cache):
    with pytest.raises(DataError, match="2 en and 1 zh sentences"):
        write_again(cache.folder, [(["a", "b"], ["c"])])
    assert TokenCache.open(cache.folder, verify=True) == cache
    assert [path.name for path in cache.folder.parent.iterdir()] == ["tokens"]


def test_a_full_disk_leaves_the_old_cache(cache):
    batch = (["Monday"] * 3000, ["星期一"] * 3000)
    with files_limited_to(4096), pytest.raises(OSError, match="File too large"):
        write_again(cache.folder, [batch])
    assert TokenCache.open(cache.folder, verify=True) == cache
    assert [path.name for path in cache.folder.parent.iterdir()] == ["tokens"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "tokens" / "thesis").mkdir(parents=True)
    (tmp_path / "tokens" / "thesis" / "draft.txt").write_text("months of work")
    with pytest.raises(DataError, match=r"holds thesis/draft\.txt, which is no part of a token"):
        write_again(tmp_path / "tokens", [])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; a token cache is a folder"):
        write_again(tmp_path / "file", [])
