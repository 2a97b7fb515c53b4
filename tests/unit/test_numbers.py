"""Numbers of two sentences: spellings that mean the same, and real contradictions."""

import pytest

from src.corpus.numbers import disagreement


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("2:07 PM", "下午2:07"),
        ("2:07 PM", "14:07"),
        ("at 12 a.m.", "0点"),
        ("Just after 11:00", "11 点刚过"),
        ("3/5/29", "2029/3/5"),
        ("March 5, 2029", "2029年3月5日"),
        ("Mon, Dec 3", "十二月三日"),
        ("12,345.6 dollars", "12345.6美元"),
        ("3.5 million people", "350万人"),
        ("$300+ billion", "3,000 多亿美元"),
        ("350 million", "3亿5000万"),
        ("two hundred and fifty", "250"),
        ("twenty-five", "25"),
        ("250", "二百五十"),
        ("The year 1999", "一九九九年"),
        ("30 years", "三十年"),
        ("35,000 people", "三万五千人"),
        ("in the 1930s", "20 世纪 30 年代"),
        ("two decades", "20年"),
        ("Super Bowl XLIX", "第49届超级碗"),
        ("COVID-19 spreads", "新冠肺炎蔓延"),
        ("1. Introduction", "引言"),
        ("versions 3.10, 3.11 and 3.12", "3.12、3.11 和 3.10 版"),
        ("no number", "没有数字"),
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
    ],
)
def test_different_numbers_disagree_fully(english: str, chinese: str):
    assert disagreement(english, chinese) == 1.0


def test_numbers_on_one_side_only_disagree_by_their_share():
    assert disagreement("It has 12 seats and 3 doors", "它有12个座位") == 0.5
