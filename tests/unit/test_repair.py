"""Repairs of translations, with a decoder whose every answer is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.numbers import keep_numbers
from src.evaluation.preserve import keeps_protected
from src.evaluation.repair import Decoder, repair

WAY = "en-zh"


class Book:
    """Answers from a table, and what is not in it with a word. Notes what it is asked."""

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def likely(self, pieces):
        self.asked += [text for _, text in pieces]
        return {piece: list(self._answers.get(piece[1], ("词",))) for piece in pieces}

    def best(self, pieces):
        return {piece: texts[0] for piece, texts in self.likely(pieces).items()}


def repaired(source: str, first: str, answers: Mapping[str, Sequence[str]]):
    """The translation, the warnings and what the decoder was asked."""
    book = Book(answers)
    translations = {(WAY, source): first}
    warnings = repair(translations, Decoder(book.best, book.likely))
    assert set(warnings) <= set(translations)
    return translations[WAY, source], warnings.get((WAY, source), ()), book.asked


def test_what_loses_nothing_is_left_alone_and_nobody_is_asked():
    source = "It costs 1.5 million, see %s at 3:45 PM."
    assert repaired(source, "花费150万，见%s，下午3:45。", {}) == (
        "花费150万，见%s，下午3:45。",
        (),
        [],
    )


def test_the_first_hypothesis_that_keeps_all_numbers_is_taken():
    source = "Rooms 12 and 34"
    answers = {source: ["21号和34号房间", "12号和43号房间", "房间12和34", "34和12号房间"]}
    assert repaired(source, "21号和34号房间", answers) == ("房间12和34", (), [source])


def test_a_hypothesis_that_loses_a_number_all_the_same_is_not_preferred():
    source = "Room 12"
    text, warnings, _ = repaired(source, "21号房间", {source: ["20号房", "房间"]})
    assert text == "21号房间"
    assert warnings == ("the translation has 21, the source has 12",)


def test_a_number_that_the_source_may_say_in_words_is_not_left_out_but_replaced_or_told():
    source = "Under the new plan for the teens"
    text, warnings, _ = repaired(source, "14号计划", {source: ["计划", "新计划"]})
    assert text == "14号计划"
    assert warnings == ("the translation has 14, which the source does not have in digits",)
    source = "Twenty-five people"
    assert repaired(source, "26人", {source: ["人", "25人"]})[:2] == ("25人", ())


def test_a_number_is_carried_through_by_a_stand_in():
    source = "Order 8437261 has 12 items."
    disguised = "Order 47 has 12 items."
    answers = {source: ["订单843726有12件。"], disguised: ["订单四十七有12件。", "订单47有12件。"]}
    text, warnings, asked = repaired(source, "订单843726有12件。", answers)
    assert text == "订单8437261有12件。"
    assert warnings == ()
    assert asked == [source, disguised, "Order {0} has 12 items."]


def test_a_placeholder_is_the_stand_in_where_short_numbers_fail():
    source = "Order 8437261 has 12 items."
    answers = {
        source: ["订单有12件。"],
        "Order 47 has 12 items.": ["订单有12件。"],
        "Order {0} has 12 items.": ["订单{0}有12件。"],
    }
    assert repaired(source, "订单有12件。", answers)[:2] == ("订单8437261有12件。", ())


def test_a_long_number_is_put_back_verbatim_in_the_last_resort():
    source = "Order 8437261 has arrived."
    lost = dict.fromkeys(
        [source, "Order 47 has arrived.", "Order {0} has arrived."], ("订单843到了。",)
    )
    answers = {**lost, "Order": ["订单"], "has arrived.": ["到了。"]}
    assert repaired(source, "订单843到了。", answers)[:2] == ("订单8437261到了。", ())


def test_a_short_number_is_never_pieced_in_but_told():
    source = "Take 25 of these."
    lost = dict.fromkeys([source, "Take 47 of these.", "Take {0} of these."], ("拿52个。",))
    text, warnings, asked = repaired(source, "拿52个。", lost)
    assert text == "拿52个。"
    assert warnings == ("the translation has 52, the source has 25",)
    assert "Take" not in asked


def test_placeholders_and_numbers_are_both_put_back():
    source = "Open %s of 123456 files"
    answers = {
        "Open": ["打开"],
        "of": ["共"],
        "files": ["个文件"],
        "of 123456 files": ["共123456个文件"],
    }
    assert repaired(source, "打开文件", {**answers, source: ["打开"]})[:2] == (
        "打开%s共123456个文件",
        (),
    )


def test_a_placeholder_that_a_model_invents_everywhere_is_told():
    source = "Open %s"
    answers = {source: ["打开"], "Open": ["打开{x}"]}
    text, warnings, _ = repaired(source, "打开", answers)
    assert warnings == ("the translation lacks %s of the source",)
    assert text == "打开"


NUMBERS = st.integers(1000, 10**9).map(str)
ANSWERS = st.lists(
    st.lists(st.sampled_from(["47", "58", "{0}", "{1}", "%s", "词", "12", "。", " "]), max_size=6)
    .map("".join),
    min_size=1, max_size=3,
)  # fmt: skip


@given(NUMBERS, NUMBERS, st.dictionaries(st.sampled_from(["a", "b", "of"]), ANSWERS), ANSWERS)
def test_whatever_a_model_says_the_result_keeps_everything_or_is_warned_of(
    first, second, parts, whole
):
    source = f"a {first} of {second} %s b"

    class Any(Book):
        def likely(self, pieces):
            return {piece: list(parts.get(piece[1], whole)) for piece in pieces}

    book = Any({})
    translations = {(WAY, source): whole[0]}
    warnings = repair(translations, Decoder(book.best, book.likely))
    text = translations[WAY, source]
    is_kept = keeps_protected(source, text) and keep_numbers(WAY, [(source, text)]) == [True]
    assert is_kept is ((WAY, source) not in warnings)
