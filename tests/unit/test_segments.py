"""Cleaning, direction, splitting and joining of text: fixed cases and properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.segments import (
    clean_line,
    directions_from,
    is_mostly_chinese,
    join_pieces,
    split_sentences,
    split_to_fit,
)


def lengths(texts):
    return [len(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\u3000c\r", "a b c"),
        ("\ufeffHello\x00 wor\x1bld\u200b!", "Hello world!"),
        ("bad \ud800 surrogate", "bad surrogate"),
        ("next\x85line and\u2028separator", "next line and separator"),
        ("soft\u00adhyphen", "softhyphen"),
        ("👩\u200d🔧 works", "👩\u200d🔧 works"),
        (" \t ", ""),
        ("", ""),
    ],
)
def test_clean_line_keeps_what_a_reader_sees(text, expected):
    assert clean_line(text) == expected


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("Monday, March 5, 2029", "en-zh"),
        ("2029年3月5日", "zh-en"),
        ("The word 茶 means tea.", "zh-en"),
        ("12:30", "en-zh"),
        ("😀", "en-zh"),
        ("カタカナ", "en-zh"),
        ("𠮷野家", "zh-en"),
    ],
)
def test_direction_is_from_chinese_wherever_there_is_chinese(text, direction):
    assert directions_from(text, ("en-zh", "zh-en")) == [direction]


@pytest.mark.parametrize(
    ("text", "directions"),
    [
        ("Good morning", ["en-ja", "fr-zh"]),
        ("東京で会う", ["ja-en"]),
        ("東京", ["zh-en", "zh-fr"]),
        ("안녕하세요", ["ko-en"]),
        ("Привет, Mary", ["ru-en"]),
        ("καλημέρα", ["en-ja", "fr-zh"]),
    ],
)
def test_directions_are_told_by_the_script_of_their_source(text, directions):
    known = ("en-ja", "ja-en", "zh-en", "zh-fr", "fr-zh", "ko-en", "ru-en")
    assert directions_from(text, known) == directions


@pytest.mark.parametrize(
    ("language", "greeting"),
    [
        *(("ar", "صباح الخير"), ("el", "καλημέρα"), ("he", "בוקר טוב"), ("hi", "नमस्ते")),
        *(("ja", "東京"), ("ko", "안녕"), ("ru", "Привет"), ("th", "สวัสดี"), ("zh", "东京")),
    ],
)
def test_every_script_is_told_from_english(language, greeting):
    known = (f"en-{language}", f"{language}-en")
    assert directions_from(f"Hello, {greeting}!", known) == [f"{language}-en"]
    assert directions_from("Hello!", known) == [f"en-{language}"]
    assert directions_from("Hello!", (f"{language}-en", f"{language}-fr")) == []


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["他在 Google 工作。"], True),
        (["The word 茶 means tea."], False),
        (["123", "!"], False),
        ([], False),
    ],
)
def test_language_of_references_is_judged_by_their_letters(texts, expected):
    assert is_mostly_chinese(texts) is expected


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.5 euros. Cheap.", ["It costs 3.5 euros.", "Cheap."]),
        ("Use tools, e.g. Make. Done.", ["Use tools, e.g. Make.", "Done."]),
        ("Mr. Smith met Dr. J. Doe. They left.", ["Mr. Smith met Dr. J. Doe.", "They left."]),
        ("See Fig. 3 and No. 5. End.", ["See Fig. 3 and No. 5.", "End."]),
        ("Version 2.0. is out", ["Version 2.0. is out"]),
        ("So do I. You too.", ["So do I.", "You too."]),
        ('He said "Go." Then he went.', ['He said "Go."', "Then he went."]),
        ("Wait... What?", ["Wait...", "What?"]),
        ("See https://a.b/c.d?e=f. Next.", ["See https://a.b/c.d?e=f.", "Next."]),
        ("今天很冷。你好吗？很好！", ["今天很冷。", "你好吗？", "很好！"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("价格是3.5元；很便宜……真的。", ["价格是3.5元；", "很便宜……", "真的。"]),
        ("用Python 3.11。See docs. 好。", ["用Python 3.11。", "See docs.", "好。"]),
        ("no mark", ["no mark"]),
        ("", []),
        ("。", ["。"]),
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text, sentences):
    assert split_sentences(text) == sentences


def test_long_text_is_cut_at_sentence_ends_and_sentences_stand_alone():
    text = "I am here. You are there. We are everywhere."
    assert split_to_fit(text, limit=30, measure=lengths) == [
        "I am here.", "You are there.", "We are everywhere.",
    ]  # fmt: skip


def test_text_that_fits_is_not_cut():
    text = "I am here. You are there."
    assert split_to_fit(text, limit=len(text), measure=lengths) == [text]


def test_long_sentence_is_cut_at_clauses_that_are_filled_up():
    text = "one two, three four, five six, seven"
    assert split_to_fit(text, limit=22, measure=lengths) == [
        "one two, three four,", "five six, seven",
    ]  # fmt: skip


def test_long_clause_is_cut_between_words_then_inside_them():
    assert split_to_fit("aa bb ccccccccc", limit=4, measure=lengths) == [
        "aa", "bb", "ccc", "ccc", "ccc",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["Hello.", "World."], "Hello. World."),
        (["你好。", "世界。"], "你好。世界。"),
        (["你好。", "OK"], "你好。OK"),
        (["", "a", "", "b"], "a b"),
        ([], ""),
    ],
)
def test_pieces_are_joined_with_spaces_except_beside_chinese(pieces, joined):
    assert join_pieces(pieces) == joined


texts = st.text(
    st.one_of(st.sampled_from("ab .,!?。，…”\u0301\u200d中 国3"), st.characters()), max_size=80
)


@given(text=texts)
def test_clean_line_is_one_line_and_stable(text):
    cleaned = clean_line(text)
    assert clean_line(cleaned) == cleaned
    assert len(cleaned.splitlines()) <= 1
    cleaned.encode("utf-8")


@given(text=texts, limit=st.integers(1, 30))
def test_pieces_fit_and_lose_nothing_but_white_space(text, limit):
    cleaned = clean_line(text)
    pieces = split_to_fit(cleaned, limit=limit, measure=lengths) if cleaned else []
    assert "".join("".join(pieces).split()) == "".join(cleaned.split())
    assert all(pieces)
    clusters = ("\u0301", "\u200d")  # marks that stay with the character before them
    assert all(len(piece) <= limit or any(mark in piece for mark in clusters) for piece in pieces)


@pytest.mark.parametrize("text", ["." * 300_000, "!" * 300_000, ")" * 300_000, "a" * 300_000])
def test_splitting_endless_marks_takes_linear_time(text):
    # With quadratic time this test would not end.
    assert split_sentences(text) == [text]
