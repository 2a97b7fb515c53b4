"""Numbers of a translation: compared with the source's, named, and carried through by stand-ins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.numbers import describe_fault, keep_numbers, number_fault
from src.evaluation.scales import scales_differ, with_full_ranges
from src.evaluation.stand_ins import disguises


def keeps(source: str, translation: str, direction: str = "en-zh") -> bool:
    return keep_numbers(direction, [(source, translation)]) == [True]


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("It costs 1,234.50 dollars", "价格是1234.5美元"),
        ("Room 012", "12号房间"),
        ("March 5, 2029", "2029年3月5日"),
        ("3:45 PM", "下午3:45"),
        ("at 3:45 PM", "15:45"),
        ("1.2 million people", "120万人"),
        ("1.5 million", "150万"),
        ("350 million", "3亿5000万"),
        ("20 to 30 million", "2000万至3000万"),
        ("5-6 million", "500-600万"),
        ("5 to 6.5 million", "500万到650万"),
        ("5 million people and 5 dogs", "500万人和5只狗"),
        ("5 kg and 3 km", "5千克和3千米"),
        ("5k followers", "5千名粉丝"),
        ("5 m long", "5米长"),
        ("3 thousand", "3千"),
        ("a 50% share of 12 %", "占12%的50%"),
        ("in the 1930s", "20世纪30年代"),
        ("twenty-five", "25"),
        ("COVID-19 spreads", "新冠肺炎蔓延"),
        ("%1$d of %2$s", "%2$s的%1$d"),
        ("see https://example.com/v2/5", "参见 https://example.com/v2/5"),
        ("half \ud800 5", "5 一半"),
        ("no number", "没有数字"),
        ("", ""),
    ],
)
def test_numbers_in_another_spelling_are_kept_both_ways(english, chinese):
    assert keeps(english, chinese)
    assert keeps(chinese, english, "zh-en")


@pytest.mark.parametrize(
    ("english", "chinese", "told"),
    [
        ("It costs 1,234.50 dollars", "价格是1234.4美元",
         "the translation has 1234.4, the source has 1,234.50"),
        ("Order 8437261 of 12 items", "订单8437216，12件",
         "the translation has 8437216, the source has 8437261"),
        ("Room 12", "21号房间", "the translation has 21, the source has 12"),
        ("March 5, 2029", "2029年4月5日",
         "the translation has 4, which the source does not have in digits"),
        ("Take 250 mg", "服用毫克", "the translation lacks 250 of the source"),
        ("twenty-five", "26", "the translation has 26, which the source does not have in digits"),
        ("1.5 million", "1.5亿", "the translation has 1.5, the source has 1.5"),
        ("350 people", "350万人", "the translation has 350, the source has 350"),
        ("350 million people", "350人", "the translation has 350, the source has 350"),
        ("10 million", "10万", "the translation has 10, the source has 10"),
        ("at 12, 34, 56, 78 and 91", "在",
         "the translation lacks 12 and 34 and 56 and 2 more of the source"),
        ("%d of 5", "%d的6", "the translation has 6, the source has 5"),
    ],
)  # fmt: skip
def test_other_numbers_are_not_and_are_told_by_name(english, chinese, told):
    assert not keeps(english, chinese)
    assert not keeps(chinese, english, "zh-en")
    assert describe_fault(number_fault("en-zh", english, chinese), english, chinese) == told


def test_scales_are_compared_only_where_the_digits_are_the_same():
    assert not scales_differ("5 million", "五百万")
    assert not scales_differ("60 thousand", "6万")
    assert scales_differ("60 thousand", "60万")
    assert scales_differ("$300+ billion", "300 多亿")
    assert not scales_differ("$300+ billion", "3000 多亿")


def test_both_ends_of_a_range_get_its_scale():
    assert with_full_ranges("5 to 6 million") == "5 million to 6 million"
    assert with_full_ranges("2至3亿") == "2亿至3亿"
    assert with_full_ranges("5 to 6 people") == "5 to 6 people"


# Enough digits for a stand-in never to be one of them.
NUMBERS = st.lists(st.integers(1000, 10**12), min_size=1, max_size=4, unique=True)
WORDS = st.text(st.sampled_from("abc 的是。%{}"), min_size=1, max_size=6)


@given(NUMBERS, st.randoms(use_true_random=False))
def test_any_order_and_grouping_keeps_and_any_other_number_does_not(numbers, random):
    source = "It has " + " and ".join(f"{number:,}" for number in numbers) + " of them."
    shuffled = random.sample(numbers, len(numbers))
    assert keeps(source, "有" + "、".join(map(str, shuffled)) + "个。")
    changed = [*shuffled[1:], max(shuffled) + 1]
    translation = "有" + "、".join(map(str, changed)) + "个。"
    assert not keeps(source, translation)
    fault = number_fault("en-zh", source, translation)
    assert [source[begin:end] for begin, end in fault.missing] == [f"{shuffled[0]:,}"]
    assert [translation[begin:end] for begin, end in fault.strange] == [str(changed[-1])]


@given(
    st.text("0123456789.,:/- 年月日万亿千一二十百halfmion twenty MarchXIV点'sk%to至", max_size=40)
)
def test_a_text_keeps_its_own_numbers_and_naming_never_fails(text):
    assert keeps(text, text)
    other = f"7{text}".replace("1", "2")
    fault = number_fault("en-zh", text, other)
    for spans, whole in ((fault.missing, text), (fault.strange, other)):
        assert all(whole[begin:end].strip() for begin, end in spans)


@given(NUMBERS, WORDS, st.randoms(use_true_random=False))
def test_a_disguise_is_taken_off_whole(numbers, word, random):
    source = word.join(str(number) for number in ["", *numbers, ""])
    spans, place = [], 0
    for number in numbers:
        begin = source.index(str(number), place)
        place = begin + len(str(number))
        spans.append((begin, place))
    for disguised in disguises(source, spans):
        assert disguised.revealed(disguised.text) == source
        names = list(disguised.numbers)
        moved = " 和 ".join(random.sample(names, len(names)))
        revealed = disguised.revealed(moved)
        assert revealed is not None
        assert sorted(revealed.split(" 和 ")) == sorted(map(str, numbers))
        assert disguised.revealed(moved.replace(names[0], "")) is None
        assert disguised.revealed(f"{moved} {names[0]}") is None
        if names[0].isdecimal():
            assert disguised.revealed(moved.replace(names[0], f"{names[0]}5")) is None


def test_too_many_numbers_are_not_disguised_and_full_width_ones_become_plain():
    assert list(disguises("", [])) == []
    many = " ".join(str(number) for number in range(1000, 1020))
    assert list(disguises(many, [(5 * n, 5 * n + 4) for n in range(20)])) == []
    (first, second) = disguises("第１２３４号", [(1, 5)])
    assert first.revealed(f"No. {first.text[1:-1]}") == "No. 1234"
    assert second.text == "第{0}号"
