"""The fast encoder gives the ids of the reference, for any text and any vocabulary."""

import sys
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers  # type: ignore[import-untyped]
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from src.tokens.characters import LETTER, NUMBER, SPACE, UNKNOWN, UNSTABLE, character_classes
from src.tokens.column_encoder import ColumnEncoder, EncodersDiffer, sample_rows
from src.tokens.columns import IdColumn, TextColumn
from src.tokens.fast_encoder import NOT_ENCODED, FastEncoder
from src.tokens.merging import CHARACTERS, LONGEST_PIECE, NEVER
from src.tokens.pieces import piece_end
from src.tokens.tokenizer import Tokenizer, train_tokenizer
from src.tokens.vocabulary import PATTERN, Vocabulary
from tests.fakes.small_tokens import small_tokenizer
from tests.fakes.texts import NASTY, real_sentences, real_tokenizer

CLASSES = character_classes()
SPLIT = pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated")

# What the rules of cutting turn on, and what they must leave alone.
signs = st.sampled_from(
    [
        *("aZé中カ가ß9٣Ⅷ.,!-_'’ſsStTmMdDrRvVlLeE \t\n\r\u3000\x85\x00😀"),
        *("'s", "'LL", "'ſ", "  ", "\r\n"),
        # Not in normal form, or not assigned.
        *("e\u0301", "\u1100\u1161", "\uf965", "\u0378", "\U000e0001"),
    ]
)
awkward = st.lists(signs, max_size=12).map("".join)
texts = awkward | st.text(st.characters(codec="utf-8")) | st.sampled_from(NASTY)


def well_formed(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@pytest.fixture(scope="module")
def encoder() -> ColumnEncoder:
    tokenizer = small_tokenizer()
    return ColumnEncoder(tokenizer, FastEncoder.build(tokenizer.vocabulary))


@pytest.fixture(scope="module")
def qwen() -> ColumnEncoder:
    tokenizer = real_tokenizer()
    return ColumnEncoder(tokenizer, FastEncoder.build(tokenizer.vocabulary))


def encode(encoder: ColumnEncoder, some: list[str]) -> list[list[int]]:
    """Twice, the second time from memory."""
    column, memory = TextColumn.of(some), encoder.memory()
    first, second = (encoder.encode(column, memory) for _ in range(2))
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.lengths, second.lengths)
    return [part.tolist() for part in np.split(first.values, np.cumsum(first.lengths))[:-1]]


def pieces(text: str) -> list[str]:
    data, begin, found = text.encode(), 0, []
    while begin < len(data):
        end = piece_end(np.frombuffer(data, np.uint8), begin, len(data), CLASSES)
        found.append(data[begin:end].decode())
        begin = end
    return found


@given(awkward | st.text(st.characters(codec="utf-8", exclude_categories=["Cn"])))
@example("a 'ſ'ſs 'LL \n \r\n  x\n\n\t\tb 12é中'中 .. \n. ' \x00\x00 ")
def test_text_is_cut_where_the_regular_expression_cuts(text):
    if not any(CLASSES[ord(character)] & UNKNOWN for character in text):
        assert pieces(text) == [piece for piece, _ in SPLIT.pre_tokenize_str(text)]


def test_every_character_known_here_has_the_class_that_the_reference_sees():
    known = [chr(code) for code in np.flatnonzero(CLASSES & UNKNOWN == 0).tolist()]
    text = "".join(character for character in known if not "\ud800" <= character <= "\udfff")
    codes = np.array([ord(character) for character in text])
    for bit, pattern in ((LETTER, r"\p{L}+"), (NUMBER, r"\p{N}+"), (SPACE, r"\s+")):
        others = pre_tokenizers.Split(tokenizers.Regex(pattern), "removed").pre_tokenize_str(text)
        is_other = np.zeros(len(text), np.bool_)
        for _, (begin, end) in others:
            is_other[begin:end] = True
        assert np.array_equal(CLASSES[codes] & bit == 0, is_other)


@given(st.text(st.characters(codec="utf-8"), max_size=6))
def test_text_of_stable_characters_is_in_normal_form(text):
    if not any(CLASSES[ord(character)] & (UNSTABLE | UNKNOWN) for character in text):
        assert unicodedata.is_normalized("NFC", text)


def test_characters_that_change_alone_are_unstable():
    changing = [
        code
        for code in range(sys.maxunicode + 1)
        if not unicodedata.is_normalized("NFC", chr(code))
    ]
    assert (CLASSES[changing] & UNSTABLE).all()


@given(st.lists(texts.map(well_formed), max_size=8))
def test_ids_are_those_of_the_reference(encoder, some):
    assert encode(encoder, some) == encoder.tokenizer.encode_batch(some)


@settings(max_examples=200)
@given(st.lists(texts.map(well_formed), max_size=8))
def test_ids_are_those_of_the_reference_with_the_real_vocabulary(qwen, some):
    assert encode(qwen, some) == qwen.tokenizer.encode_batch(some)


def test_ids_are_those_of_the_reference_on_the_real_corpus(qwen):
    some = real_sentences(4000)
    assert encode(qwen, some) == qwen.tokenizer.encode_batch(some)


def test_ids_are_those_of_the_reference_in_other_languages(qwen):
    some = [
        "Привет, как дела? Это всё ещё работает.",
        "これは日本語の文章です。カタカナとひらがな。",
        "안녕하세요, 세계! 한국어 문장입니다.",
        "यह एक हिंदी वाक्य है।",
        "هذه جملة باللغة العربية، أليس كذلك؟",
        "นี่คือประโยคภาษาไทย",
        "Đây là một câu tiếng Việt.",
        "Ελληνικά; Ναι! זה משפט בעברית.",
    ]
    some += [unicodedata.normalize("NFD", text) for text in some]
    assert encode(qwen, some) == qwen.tokenizer.encode_batch(some)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.text(st.sampled_from("ab中国é😀 "), max_size=30), min_size=3, max_size=12),
    st.integers(300, 340),
)
def test_ids_are_those_of_the_reference_for_any_trained_vocabulary(some, size):
    tokenizer = train_tokenizer(iter(["中国 ab é😀" * 2, *some]), size)
    encoder = ColumnEncoder(tokenizer, FastEncoder.build(tokenizer.vocabulary))
    assert encode(encoder, some) == tokenizer.encode_batch(some)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(texts.map(well_formed), max_size=6))
def test_ids_are_those_of_the_reference_whatever_the_order_of_merges(random, some):
    trained = small_tokenizer()
    merges = list(trained.vocabulary.merges)
    random.shuffle(merges)
    vocabulary = Vocabulary(
        trained.vocabulary.tokens, tuple(merges), trained.vocabulary.special_tokens
    )
    tokenizer = Tokenizer(vocabulary, trained.config, None, "shuffled")
    fast = FastEncoder.build(vocabulary)
    assert encode(ColumnEncoder(tokenizer, fast), some) == tokenizer.encode_batch(some)


def test_characters_begin_whole_only_where_merges_come_after_those_of_their_halves(qwen):
    assert (qwen.fast.tables.starts[CHARACTERS:] != NEVER).sum() > 17_000
    vocabulary = small_tokenizer().vocabulary
    backwards = Vocabulary(
        vocabulary.tokens, tuple(reversed(vocabulary.merges)), vocabulary.special_tokens
    )
    assert (FastEncoder.build(vocabulary).tables.starts[CHARACTERS:] != NEVER).any()
    assert (FastEncoder.build(backwards).tables.starts[CHARACTERS:] == NEVER).all()


@pytest.mark.parametrize("length", [LONGEST_PIECE, LONGEST_PIECE + 1])
def test_endless_words_are_left_to_the_reference(encoder, length):
    column = TextColumn.of(["a" * length, "b"])
    ids = encoder.fast.encode(column, encoder.memory(), np.zeros(2, np.bool_))
    assert (ids.lengths[0] == NOT_ENCODED) == (length > LONGEST_PIECE)
    assert encode(encoder, ["a" * length, "b"]) == encoder.tokenizer.encode_batch(
        ["a" * length, "b"]
    )


def test_pieces_that_differ_in_zero_bytes_are_not_confused(encoder):
    some = ["!", "!\x00", "!\x00\x00", "\x00", "\x00\x00"]
    assert encode(encoder, some * 2) == encoder.tokenizer.encode_batch(some * 2)


def test_saved_tables_are_the_same(encoder, tmp_path):
    encoder.fast.save(tmp_path / "tables.npz")
    loaded = FastEncoder.load(tmp_path / "tables.npz")
    tables: Any = zip(loaded.tables, encoder.fast.tables, strict=True)
    for mine, other in tables:
        assert mine.dtype == other.dtype
        assert np.array_equal(mine, other)


def test_vocabularies_that_cut_otherwise_are_refused():
    vocabulary = small_tokenizer().vocabulary
    other = Vocabulary(vocabulary.tokens, vocabulary.merges, vocabulary.special_tokens, r"\S+|\s+")
    with pytest.raises(ValueError, match="cuts text in another way"):
        FastEncoder.build(other)


def test_vocabularies_that_are_too_large_are_refused():
    vocabulary = small_tokenizer().vocabulary
    tokens = {**vocabulary.tokens, "zzzz": 1 << 20}
    with pytest.raises(ValueError, match="it has 1,048,577 tokens"):
        FastEncoder.build(Vocabulary(tokens, vocabulary.merges, vocabulary.special_tokens))


def test_a_difference_on_the_sample_is_found():
    tokenizer = small_tokenizer()
    other = train_tokenizer(iter(["quite another text, twice over; quite another text"]), 400)
    confused = ColumnEncoder(tokenizer, FastEncoder.build(other.vocabulary))
    with pytest.raises(EncodersDiffer, match="the meeting"):
        confused.encode(TextColumn.of(["the meeting"]), confused.memory())


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 30)), max_size=60),
)
def test_sample_holds_the_first_the_longest_and_the_most_unusual(rows):
    lengths, rare = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    sample = sample_rows(lengths, rare.astype(np.int32))
    assert len(set(sample.tolist())) == len(sample) <= 12
    if len(rows):
        assert 0 in sample
        assert lengths.max() in lengths[sample]
        assert rare.max() in rare[sample]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=5)), st.integers(0, 3))
def test_arrow_columns_are_read_as_they_are(some, skip):
    for kind in (pa.string(), pa.large_string()):
        column = TextColumn.from_arrow(pa.array(["before"] * skip + some, kind)[skip:])
        assert [column.text(row) for row in range(column.rows)] == some


def test_arrow_columns_that_hold_no_text_are_refused():
    data = pa.py_buffer(b"\xff")
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 1], np.int32)), data)
    for array in (pa.array([1]), pa.array(["a", None]), broken):
        with pytest.raises(pa.ArrowInvalid):
            TextColumn.from_arrow(array)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4)), st.data())
def test_replaced_rows_are_the_new_ones(rows, data):
    places = sorted(data.draw(st.sets(st.sampled_from(range(len(rows))))) if rows else set())
    contents = [[7] * data.draw(st.integers(0, 3)) for _ in places]
    found = IdColumn.of(rows).replaced(np.array(places, np.int64), contents)
    expected = list(rows)
    for place, content in zip(places, contents, strict=True):
        expected[place] = content
    assert found.lengths.tolist() == [len(row) for row in expected]
    assert found.values.tolist() == [index for row in expected for index in row]
