"""Repairs: what each one changes, what it must leave alone, and that twice is once."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.normalise import Normaliser
from src.schema import NormaliseConfig


@pytest.mark.parametrize(
    ("repair", "dirty", "clean"),
    [
        ("html_entities", "Tom &amp; Jerry", "Tom & Jerry"),
        ("html_entities", "&amp;lt;", "<"),
        ("mojibake", "â€œAll countriesâ€\x9d", "“All countries”"),
        ("control_characters", "fi\x85nalized \x07now", "finalized now"),
        ("control_characters", "Schools\u200b Act\ufeff", "Schools Act"),
        ("unicode_form", "cafe\u0301", "café"),
        ("fullwidth_latin", "Ｔｈｅ　ｅｎｄ．", "The end."),
        ("whitespace", "  a\u3000b\u2028c ", "a b c"),
    ],
)
def test_english_repair_gives_clean_text_and_is_counted(repair: str, dirty: str, clean: str):
    normaliser = Normaliser(NormaliseConfig())
    assert normaliser.english(dirty) == clean
    assert normaliser.counts[repair] == 1


@pytest.mark.parametrize(
    ("repair", "dirty", "clean"),
    [
        ("fullwidth_latin", "第５０届ＣＯＶＩＤ", "第50届COVID"),
        ("traditional_to_simplified", "衛生工作者，乾隆，乾燥", "卫生工作者，乾隆，干燥"),
        ("chinese_spacing", "谁 在 第 50 届", "谁在第 50 届"),
        ("chinese_spacing", "名单 ， 结束", "名单，结束"),
        ("chinese_punctuation", "你好,世界.", "你好，世界。"),
        ("chinese_punctuation", "什么?!", "什么？！"),
        ("chinese_punctuation", "注意: 结束;", "注意：结束；"),
    ],
)
def test_chinese_repair_gives_clean_text_and_is_counted(repair: str, dirty: str, clean: str):
    normaliser = Normaliser(NormaliseConfig())
    assert normaliser.chinese(dirty) == clean
    assert normaliser.counts[repair] == 1


@pytest.mark.parametrize(
    "text",
    [
        "版本 1.2 的 foo.bar(x, y)",
        "详情请访问 https://www.who.int/搜索?q=1,2。",
        "对象:class:`list` 的方法",
        "如下所示::",
        "稍等...",
        "`你好,世界.` 是代码",
        "使用 Python 编程",
        "👨\u200d👩\u200d👧 家庭",
        "最大值为 12,345.6。",
        "接着说，里面，后面，干净",
    ],
)
def test_good_chinese_stays_as_it_is(text: str):
    normaliser = Normaliser(NormaliseConfig())
    assert normaliser.chinese(text) == text
    assert not normaliser.counts


def test_repairs_switched_off_change_nothing():
    names = NormaliseConfig.model_fields
    settings = NormaliseConfig(
        **{name: False for name in names if name != "unicode_form"}, unicode_form="none"
    )
    dirty = " ５ &amp; 國 ,\u200b 你 好,"
    assert Normaliser(settings).chinese(dirty) == dirty


_DIRT = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "国國台臺，,.。?？!！:：; 　\t\u200b\u200d\x85&amp;lt#x3;ｅ５ﬁé\u0301Ââ€œ™å¤a1`<>{}“”（"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)


@given(_DIRT, st.sampled_from(["NFC", "NFKC", "none"]))
def test_normalising_twice_equals_once(text: str, form: Literal["NFC", "NFKC", "none"]):
    settings = NormaliseConfig(unicode_form=form)
    once = Normaliser(settings).chinese(text)
    again = Normaliser(settings)
    assert again.chinese(once) == once
    assert not again.counts
    english = Normaliser(settings).english(text)
    assert Normaliser(settings).english(english) == english
