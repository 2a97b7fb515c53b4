"""Repairs: what each one changes, what it must leave alone, and that twice is once."""

import html
import re
import unicodedata
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.corpus.normalise import Normaliser
from src.corpus.normalise.repairs import alike_quotes, curly_quotes, simplified
from src.corpus.normalise.rules import traditional_characters, traditional_phrases
from src.corpus.texts import Texts
from src.schema import NormaliseConfig

_OFF = NormaliseConfig.model_validate(
    {
        name: {"unicode_form": "none", "html_tags": "keep"}.get(name, False)
        for name in NormaliseConfig.model_fields
    }
)


def _only(**switches) -> NormaliseConfig:
    return _OFF.model_copy(update=switches)


def _pair(left: str, right: str, config: NormaliseConfig, languages=("en", "zh")):
    normaliser = Normaliser(config, languages)
    sides = normaliser.apply(Texts.of([left]), Texts.of([right]))
    return sides[0][0], sides[1][0], dict(normaliser.counts)


def _repaired(text: str, language: str, config: NormaliseConfig | None = None):
    """One side next to an empty one; what it becomes, and the counts."""
    languages = (language, "en" if language != "en" else "zh")
    side, _, counts = _pair(text, "", config or NormaliseConfig(), languages)
    return side, counts


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
        ("quotes", "He said “yes\" and ‘no'", "He said \"yes\" and 'no'"),
        ("quotes", "a ``quoted'' word", 'a "quoted" word'),
        ("quotes", "It´s here", "It's here"),
    ],
)
def test_english_repair_gives_clean_text_and_is_counted(repair: str, dirty: str, clean: str):
    text, counts = _repaired(dirty, "en")
    assert text == clean
    assert counts[repair] == 1


@pytest.mark.parametrize(
    ("repair", "dirty", "clean"),
    [
        ("fullwidth_latin", "第５０届ＣＯＶＩＤ－１９", "第50届COVID-19"),
        ("traditional_to_simplified", "衛生工作者，乾燥", "卫生工作者，干燥"),
        ("traditional_to_simplified", "衛生工作者，乾隆，乾燥", "卫生工作者，乾隆，干燥"),
        ("traditional_to_simplified", "👨\u200d👩 乾\u200b隆和乾\u200b燥", "👨\u200d👩 乾隆和干燥"),
        ("chinese_spacing", "谁 在 第 50 届", "谁在第 50 届"),
        ("chinese_spacing", "名单 ， 结束", "名单，结束"),
        ("chinese_punctuation", "你好,世界.", "你好，世界。"),
        ("chinese_punctuation", "什么?!", "什么？！"),
        ("chinese_punctuation", "注意: 结束;", "注意：结束；"),
        ("quotes", "所谓「好『书』」", "所谓“好‘书’”"),
        ("quotes", '他说"你好”', "他说“你好”"),
        ("whitespace", "\u3000谁\t在 Python\xa0\xa0里 ", "谁在 Python 里"),
    ],
)
def test_chinese_repair_gives_clean_text_and_is_counted(repair: str, dirty: str, clean: str):
    text, counts = _repaired(dirty, "zh")
    assert text == clean
    assert counts[repair] == 1


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
        "“键－值”对",
        '用 print("“") 输出',
        "单独的“引号\"和'别的”",
    ],
)
def test_good_chinese_stays_as_it_is(text: str):
    assert _repaired(text, "zh") == (text, {})


@pytest.mark.parametrize(
    "text",
    ["R&D, AT&T && co.", "“Quoted”, don’t", "Naïve façade", "if a < b and c > d", "``None``"],
)
def test_good_english_stays_as_it_is(text: str):
    assert _repaired(text, "en") == (text, {})


@pytest.mark.parametrize(
    ("language", "dirty", "clean"),
    [
        ("ja", "これ は 国 です 。 Ｐython", "これは国です。 Python"),
        ("ja", "東京都,日本「国」", "東京都,日本「国」"),
        ("ko", "한국 사람 , 「책」", "한국 사람 , 「책」"),
        ("ar", "می\u200cخواهم\u200f", "می\u200cخواهم"),
        ("hi", "क्\u200dष\u200b", "क्\u200dष"),
        ("de", '„Gut" &amp; schön', '"Gut" & schön'),
        ("ru", "«Да» , ５", "«Да» , 5"),
    ],
)
def test_what_is_chinese_is_done_to_chinese_only(language: str, dirty: str, clean: str):
    assert _repaired(dirty, language)[0] == clean


def test_repairs_switched_off_change_nothing():
    dirty = " ５ &amp; 國 ,\u200b 你 好,「」"
    assert _repaired(dirty, "zh", _OFF) == (dirty, {})
    assert _pair("- <b>One</b> side of two", "一边是这样", _OFF) == (
        "- <b>One</b> side of two",
        "一边是这样",
        {},
    )


@pytest.mark.parametrize(
    ("left", "right", "stripped"),
    [
        ("See also", '<a name="see-also"></a>请参阅', ("See also", "请参阅")),
        ("It is used.", "它被使用。 </p></td> <tr>", ("It is used.", "它被使用。")),
        ("compet<p>e with?</p>", "竞争？", ("compete with?", "竞争？")),
        ("<p>One.</p><p>Two.</p>", "一。二。", ("One. Two.", "一。二。")),
        ("line<br/>break", "换行", ("line break", "换行")),
        ("a <B>bold</B> word", "<i>粗</i>体字", ("a bold word", "粗体字")),
        ("<img src='x.png' alt=\"y\"/>A picture", "图片", ("A picture", "图片")),
        # Kept: both have it, spoken of, code, no element, not complete, nothing left, comparison.
        ("a <b>bold</b> word", "<b>粗</b>体字", None),
        ("Use the <p> element", "使用 p 元素", None),
        ("<p> is an element", "p 是一个元素", None),
        ("`<b>x</b>` is bold", "粗体", None),
        ("a <shared_ptr> is", "共享指针", None),
        ("an <a few words> is", "一些词", None),
        ("broken <b text", "坏了", None),
        ("<br>", "换行", None),
        ("if i <b and c> d", "如果", None),
    ],
)
def test_tags_go_where_only_one_side_has_them_and_they_are_markup(left, right, stripped):
    expected = stripped or (left, right)
    *sides, counts = _pair(left, right, _only(html_tags="unmatched", whitespace=True))
    assert tuple(sides) == expected
    assert counts.get("html_tags", 0) == sum(
        a != b for a, b in zip((left, right), expected, strict=True)
    )


def test_all_tags_go_where_that_is_wanted():
    config = _only(html_tags="all")
    assert _pair("a <b>bold</b> word", "<b>粗</b>体字", config)[:2] == ("a bold word", "粗体字")
    assert _pair("Use the <p> element", "<p> 元素", config)[:2] == (
        "Use the <p> element",
        "<p> 元素",
    )


def test_text_of_too_many_tags_stays():
    text = "<b>x</b>" * 40
    assert _pair(text, "很多", _only(html_tags="all"))[0] == text


@pytest.mark.parametrize(
    ("left", "right", "is_repaired"),
    [
        ("- This is one of the steps", "这是其中的一步", True),
        ("• 3 of them are used here", "其中三个在这里使用", False),
        ("• Some of them are used here", "3 个在这里使用", True),
        ("1. Open the window of the editor", "打开编辑器的窗口", True),
        ("(a) The early voting suggests it", "初期的投票显示了它", True),
        ("b) The early voting suggests it", "初期的投票显示了它", True),
        ("What the tutorial is about", "- 本教程讲述的内容是什么", True),
        ("- This is one of the steps", "— 这是其中的一步", False),
        ("1. Open the window of the editor", "一、打开编辑器的窗口", False),
        ("2. Open the editor for 2 days", "在 2 天内打开编辑器", False),
        ("- Sign", "减号", False),
        ("-5 degrees are quite cold here", "零下五度相当冷", False),
        ("* one * and * two * are starred", "带星号的有两个", False),
        ("1.5 litres of water are enough", "一升半水就够了", False),
        ("A. Smith wrote this long book", "史密斯写了这本书", False),
    ],
)
def test_list_markers_go_where_only_one_side_has_one(left: str, right: str, is_repaired: bool):
    one, other, counts = _pair(left, right, _only(list_markers=True))
    assert ((one, other) != (left, right)) == is_repaired
    assert counts == ({"list_markers": 1} if is_repaired else {})
    assert left.endswith(one)
    assert right.endswith(other)


def test_a_number_and_a_full_stop_is_an_ordinal_in_german():
    pair = ("2. Weltkrieg und seine Folgen", "The war and its consequences")
    assert _pair(*pair, NormaliseConfig(), ("de", "en"))[:2] == pair


def test_rows_keep_their_places_and_untouched_ones_their_bytes():
    left = ["plain", "", "a  b", "Tom &amp;", "plain too", "- and a marker here", "x" * 5000]
    right = ["没有", "你 好", "", "和,", "也没有", "这里有一个标记", "国" * 3000]
    normaliser = Normaliser(NormaliseConfig(), ("en", "zh"))
    one, other = normaliser.apply(Texts.of(left), Texts.of(right))
    assert list(one) == ["plain", "", "a b", "Tom &", "plain too", "and a marker here", "x" * 5000]
    assert list(other) == ["没有", "你好", "", "和，", "也没有", "这里有一个标记", "国" * 3000]
    assert dict(normaliser.counts) == {
        "html_entities": 1,
        "list_markers": 1,
        "chinese_spacing": 1,
        "chinese_punctuation": 1,
        "whitespace": 1,
    }
    sliced = Normaliser(NormaliseConfig(), ("en", "zh")).apply(
        Texts.of(left).slice(2, 6), Texts.of(right).slice(2, 6)
    )
    assert list(sliced[0]) == list(one)[2:6]
    assert list(sliced[1]) == list(other)[2:6]
    empty = Texts.of([])
    assert len(normaliser.apply(empty, empty)[0]) == 0


_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_CHINESE = _HAN + "，。！？：；、（）《》〈〉「」『』【】“”"
_PROTECTED = re.compile(r"(`+[^`]*`+|[A-Za-z]+://\S+|:[\w+.:-]+:`[^`]*`|\{[^{}]*\}|<[^<>]*>)")
_NARROW = re.compile(
    f"(?<=[{_HAN}）》」』】”])(?:\\.(?![\\w./\\\\])|[,;:](?![:/\\\\]))"
    f"|(?<=[{_HAN}）》」』】”！？])[?!](?![=/\\\\])"
)
_WIDE = dict(zip(",.?!:;", "，。？！：；", strict=True))
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]"
    "|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)
_WIDE_LETTER = re.compile("[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_TO_NARROW = {
    chr(code + 0xFEE0): chr(code)
    for code in range(0x21, 0x7F)
    if chr(code).isalnum() or chr(code) in "%+-=@#$&*/<>_|^\\"
}


def _plainly(text: str) -> str:
    """What the compiled repairs do to Chinese, as regular expressions; until nothing changes."""
    while True:
        before = text
        text = _INVISIBLE.sub("", text)
        text = unicodedata.normalize("NFC", text)
        if _WIDE_LETTER.search(text):
            text = "".join(_TO_NARROW.get(character, character) for character in text)
        text = " ".join(text.split())
        text = re.sub(f"(?<=[{_CHINESE}]) +(?=[{_CHINESE}]|[?!,;:](?: |$))", "", text)
        parts = _PROTECTED.split(text)
        parts[0::2] = [_NARROW.sub(lambda match: _WIDE[match[0]], part) for part in parts[0::2]]
        text = "".join(parts)
        if text == before:
            return text


_TANGLE = st.text(
    st.one_of(
        st.sampled_from(" 国國，,.?!:;：。？`<>{}“”（）a1/\\=_\u3000\t\u200b\u200d👩Ａ－é\u0301-+"),
        st.sampled_from([" ", "国", ",", "`", ":", "?"]),
    ),
    max_size=25,
)


@settings(max_examples=300)
@given(_TANGLE)
@example("国:a:`x,` 国 , 国")
@example("国,http://a 国,")
@example("国::`,` 国:`,")
@example("``国,`` 国,`` 国,")
@example("国 ? ? ,国")
@example("{国,}国,<国,>国,<国,")
def test_compiled_repairs_do_what_regular_expressions_would(text: str):
    config = NormaliseConfig(
        html_entities=False,
        mojibake=False,
        traditional_to_simplified=False,
        html_tags="keep",
        list_markers=False,
        quotes=False,
    )
    assert _repaired(text, "zh", config)[0] == _plainly(text)


@given(st.text(st.sampled_from([*"乾隆燥瞭然一目不国國臺后後，a"]), max_size=12))
def test_phrases_and_characters_are_simplified_as_opencc_does(text: str):
    import opencc

    expected = opencc.OpenCC("t2s").convert(text)
    if {ord(character) for character in text}.isdisjoint(traditional_characters()):
        expected = text
    assert _repaired(text, "zh", _only(traditional_to_simplified=True))[0] == expected


def test_every_phrase_is_one_that_python_sees():
    config = _only(traditional_to_simplified=True)
    phrases = [f"國{phrase}國" for phrase in traditional_phrases()]
    blank = Texts.of([""] * len(phrases))
    side, _ = Normaliser(config, ("zh", "en")).apply(Texts.of(phrases), blank)
    # 么麼 becomes 幺麽, which becomes 幺么.
    assert list(side) == [simplified(simplified(phrase)) for phrase in phrases]


_DIRT = st.lists(
    st.one_of(
        st.sampled_from(
            "国國台臺，,.。?？!！:：; 　\t\u200b\u200d\x85&;#xｅ５ﬁé\u0301Ââ€œ™å¤a1`{}“”（\"'´/-*)"
        ),
        st.sampled_from(["<b>", "</b>", "<br/>", "1. ", "&lt;", "&amp;", "&#x3000;", "``", "''"]),
        st.characters(codec="utf-8"),
    ),
    max_size=30,
).map("".join)


@settings(max_examples=300)
@given(
    _DIRT,
    _DIRT,
    st.sampled_from(["NFC", "NFKC", "none"]),
    st.sampled_from([("en", "zh"), ("zh", "ja"), ("de", "ar"), ("hi", "ko")]),
)
def test_normalising_twice_equals_once(
    left: str,
    right: str,
    form: Literal["NFC", "NFKC", "none"],
    languages: tuple[str, str],
):
    config = NormaliseConfig(unicode_form=form)
    one, other, counts = _pair(left, right, config, languages)
    assert _pair(one, other, config, languages) == (one, other, {})
    assert (counts == {}) == ((left, right) == (one, other))


@given(st.text(st.sampled_from("a“”„‘’\"'` ´é"), max_size=15))
def test_quotes_of_one_style_stay_and_mixed_ones_become_straight(text: str):
    result = alike_quotes(text)
    assert alike_quotes(result) == result
    assert not ('"' in result and re.search("[“”„]", result))
    assert not ("'" in result and re.search("[‘’]", result))


@given(st.text(st.sampled_from('国“”"'), max_size=10))
def test_chinese_quotes_become_curly_only_where_they_alternate(text: str):
    result = curly_quotes(text)
    if result != text:
        assert re.fullmatch("(?:国*“国*”)*国*", result)
        assert re.sub("[“”]", '"', result) == re.sub("[“”]", '"', text)


def test_unknown_entities_are_left_to_html():
    text = "&notit; &hellip; &#x4e2d;&#22269; &unknown;"
    assert _repaired(text, "en", _only(html_entities=True))[0] == html.unescape(text)
