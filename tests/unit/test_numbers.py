"""Numbers of two sentences: spellings that mean the same, and real contradictions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.scores import score_pairs
from src.corpus.texts import Texts
from src.schema import FiltersConfig

CHINESE = ("en", "zh")
FILTERS = FiltersConfig()


def disagreement(left: str, right: str, languages: tuple[str, str] = CHINESE) -> float:
    columns = score_pairs(Texts.of([left]), Texts.of([right]), languages, FILTERS)
    return float(columns["numbers"][0])


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("2:07 PM", "下午2:07"),
        ("2:07 PM", "14:07"),
        ("2 p.m.", "下午 2点"),
        ("8 o'clock", "20时"),
        ("8 at night", "晚上 8"),
        ("at 12 a.m.", "0点"),
        ("Just after 11:00", "11 点刚过"),
        ("3/5/29", "2029/3/5"),
        ("March 5, 2029", "2029年3月5日"),
        ("Mon, Dec 3", "十二月三日"),
        ("12,345.6 dollars", "12345.6美元"),
        ("3.5 million people", "350万人"),
        ("5k followers", "5000 名粉丝"),
        ("7 bn", "70亿"),
        ("$300+ billion", "3,000 多亿美元"),
        ("350 million", "3亿5000万"),
        ("2 trillion", "2万亿"),
        ("two hundred and fifty", "250"),
        ("three thousand five hundred", "3500"),
        ("twenty-five", "25"),
        ("hundreds of them", "100 个"),
        ("twentieth", "20"),
        ("250", "二百五十"),
        ("105", "一百零五"),
        ("The year 1999", "一九九九年"),
        ("30 years", "三十年"),
        ("35,000 people", "三万五千人"),
        ("120,000,000", "一亿二千万"),
        ("in the 1930s", "20 世纪 30 年代"),
        ("the '80s", "80年代"),
        ("two decades", "20年"),
        ("Super Bowl XLIX", "第49届超级碗"),
        ("COVID-19 spreads", "新冠肺炎蔓延"),
        ("1. Introduction", "引言"),
        ("  (3) Results", "结果"),
        ("versions 3.10, 3.11 and 3.12", "3.12、3.11 和 3.10 版"),
        ("room 123456789012345678", "房间 123456789012345678 楼"),
        ("no number", "没有数字"),
        ("", ""),
    ],
)
def test_same_numbers_in_other_spelling_agree(english: str, chinese: str):
    assert disagreement(english, chinese) == 0.0


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("1987 was the year of the river", "4572年是河流年"),
        ("COVID-19 was found in March", "3月发现了COVID-24"),
        ("It costs 12.5 dollars", "价格为125美元"),
        ("7723", "3446 3869"),
        ("The train leaves at 12:28 PM.", "票价为638.83瑞典克朗。"),
        ("123456789012345678 rooms", "123456789012345679 个房间"),
        ("1.2.3", "4.5.6"),
    ],
)
def test_different_numbers_disagree_fully(english: str, chinese: str):
    assert disagreement(english, chinese) == 1.0


@pytest.mark.parametrize(
    ("english", "chinese", "share"),
    [
        ("It has 12 seats and 3 doors", "它有12个座位", 0.5),
        ("It has seats", "它有12个座位", 1.0),
        ("Mark has 3 and 4", "马克有4个", 0.5),
    ],
)
def test_numbers_on_one_side_only_disagree_by_their_share(english: str, chinese: str, share: float):
    assert disagreement(english, chinese) == share


@pytest.mark.parametrize(
    ("languages", "left", "right", "expected"),
    [
        (("en", "de"), "It costs 1,234.50 dollars", "Es kostet 1.234,50 Dollar", 0.0),
        (("en", "de"), "Version 3.12 of 2,000", "Version 3.12 von 2.000", 0.0),
        (("en", "de"), "5,000 people", "5.000 Menschen", 0.0),
        (("en", "de"), "12 seats", "zwölf Sitze", 0.0),
        (("en", "de"), "1987 was good", "Gut war 1978", 1.0),
        (("en", "de"), "1987 was good", "Das war gut", 1.0),
        (("de", "en"), "zwölf Sitze", "12 seats", 0.0),
        (("en", "ar"), "in 2024", "في ٢٠٢٤", 0.0),
        (("en", "hi"), "in 2024", "२०२५ में", 1.0),
        (("en", "ja"), "25 people", "二十五人", 0.0),
        (("en", "ja"), "120 million", "1億2000万", 0.0),
        (("zh", "en"), "三万五千人", "35,000 people", 0.0),
    ],
)
def test_numbers_are_read_as_each_language_writes_them(
    languages: tuple[str, str], left: str, right: str, expected: float
):
    assert disagreement(left, right, languages) == expected


@given(st.lists(st.integers(0, 10**12), max_size=5), st.randoms(use_true_random=False))
def test_grouping_and_order_never_matter(numbers: list[int], random):
    shuffled = random.sample(numbers, len(numbers))
    english = " and ".join(f"{number:,}" for number in numbers)
    chinese = "、".join(str(number) for number in shuffled)
    assert disagreement(f"It has {english} of them.", f"有{chinese}个。") == 0.0


@given(
    st.text(alphabet="0123456789.,:/- 年月日万亿一二十百half twenty MarchXIV点'sk%", max_size=40)
)
def test_a_text_agrees_with_itself_and_disagreement_is_a_share(text: str):
    assert disagreement(text, text) == 0.0
    assert disagreement(text, text, ("de", "pl")) == 0.0
    assert 0.0 <= disagreement(text, f"7{text}".replace("1", "2")) <= 1.0
