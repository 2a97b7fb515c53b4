"""What web pages say around their text, told from text that speaks of the same things."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.boilerplate import boilerplate
from src.corpus.texts import Texts

PAGES = [
    ("Home | News | Sports | Contact", "首页 | 新闻 | 体育 | 联系"),
    ("All rights reserved.", "版权所有。"),
    ("Subscribe to our newsletter", "订阅我们的通讯"),
    ("Read more", "阅读更多"),
]
TEXTS = [
    ("The bridge was built in 1932.", "这座桥建于1932年。"),
    (
        "Please subscribe to our newsletter if you want to know more about bridges.",
        "如果您想了解更多有关桥梁的信息，请订阅我们的通讯。",
    ),
    ("Home | News | Sports | Contact", "家里有新闻和体育"),
    ("x" * 200 + " all rights reserved", "版权所有"),
    ("", ""),
]


def scores(pairs: list[tuple[str, str]], languages: tuple[str, str] = ("en", "zh")) -> list[float]:
    left, right = (Texts.of(list(side)) for side in zip(*pairs, strict=True))
    return [float(score) for score in boilerplate(left, right, languages)]


@pytest.mark.parametrize("pair", PAGES)
def test_what_only_web_pages_say_is_boilerplate(pair):
    assert scores([pair]) == [1.0]
    assert scores([pair[::-1]], ("zh", "en")) == [1.0]


@pytest.mark.parametrize("pair", TEXTS)
def test_text_is_not(pair):
    assert scores([pair])[0] < 0.4


def test_a_language_without_phrases_leaves_the_judgement_to_the_other():
    pair = ("All rights reserved.", "Tous droits réservés.")
    assert scores([pair], ("en", "fr")) == [1.0]
    assert scores([pair], ("de", "fr")) == [0.0]


@given(st.lists(st.sampled_from([*PAGES, *TEXTS]), min_size=1, max_size=20))
def test_a_pair_scores_the_same_in_any_company(pairs):
    assert scores(pairs) == [scores([pair])[0] for pair in pairs]


@given(st.text(), st.text())
def test_scores_are_shares(left, right):
    # Lone halves of surrogate pairs are no text; readers let none through.
    pair = tuple(side.encode("utf-8", "ignore").decode("utf-8") for side in (left, right))
    assert 0.0 <= scores([pair])[0] <= 1.0
