"""Examples of what was dropped: which pairs, and which parts of them are marked."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.report import EXAMPLES_PER_REASON, ExampleBox, offending_parts
from src.corpus.report.offending import FINDERS
from src.corpus.report.reasons import REASONS
from src.corpus.scores import score_pairs
from src.corpus.texts import Texts
from src.schema import FiltersConfig

ENGLISH_CHINESE = ("en", "zh")


def marked(
    reason: str, left: str, right: str, languages: tuple[str, str] = ENGLISH_CHINESE
) -> tuple[list[str], list[str]]:
    """The texts that are marked on both sides."""
    spans = offending_parts(reason, left, right, languages)
    return [left[i:j] for i, j in spans[0]], [right[i:j] for i, j in spans[1]]


@pytest.mark.parametrize(
    ("reason", "left", "right", "expected"),
    [
        (
            "numbers",
            "It has 42 rooms on 3 floors.",
            "它有40个房间，共3层。",
            (["42"], ["40"]),
        ),
        (
            "numbers",
            "See `item 7` for the 12 steps and 1,500 users.",
            "有12个步骤。",
            (["1,500"], []),
        ),
        (
            "numbers",
            "About 3.5 million of 20 people.",
            "20人中约有350万。",
            (["3.5", "20"], ["20", "350"]),
        ),
        ("numbers", "No digits at all.", "没有数字。", (["No digits at all."], ["没有数字。"])),
        (
            "placeholders",
            "Copied %d of %s to {target}",
            "已将 %s 复制到 {target} {extra}",
            (["%d"], ["{extra}"]),
        ),
        (
            "repetition",
            "We sell the best shoes in town, the best shoes in town.",
            "我们卖鞋。",
            (["the best shoes in town"], []),
        ),
        ("repetition", "He laughed.", "他笑了哈哈哈哈哈哈", ([], ["哈哈哈哈哈"])),
        ("repetition", "no no no no", "不", (["no"], [])),
        (
            "low_vocabulary",
            "apple pear plum apple pear plum apple pear plum",
            "一二三四五六七八九十",
            (["apple pear plum apple pear plum"], []),
        ),
        (
            "wrong_script",
            "Это русский текст, not English.",
            "这是中文。",
            (["Это русский текст"], []),
        ),
        ("wrong_script", "A fine sentence.", "A fine sentence と", ([], ["A fine sentence と"])),
        (
            "wrong_script",
            "The shop closes at noon, as it says.",
            "这家商店ひらがな中午关门，如上所说。",
            ([], ["ひらがな"]),
        ),
        ("encoding", "The caf\ufffd\ufffd is open.", "咖啡馆开门了。", (["\ufffd\ufffd"], [])),
        ("encoding", "Plain text.", "正文\ue000。", ([], ["\ue000"])),
        ("encoding", "It is open.", "锟斤拷锟斤拷是开的", ([], ["锟斤拷锟斤拷"])),
        ("encoding", "The cafÃ© is open.", "咖啡馆开门了。", (["Ã©"], [])),
        (
            "encoding",
            "Hello there.",
            "你好，浣犲ソ涓栫晫鐨勭粰涔堟",
            ([], ["浣犲", "涓栫晫鐨勭粰涔堟"]),
        ),
        ("bad_encoding", "caf\ufffd\tcoffee", "", (["\ufffd"], [])),
        (
            "untranslated",
            "Open the Settings window now.",
            "请 open the settings window 现在",
            (["Open the Settings window"], ["open the settings window"]),
        ),
        ("punctuation", "Yes.", "好!!! *** ???", ([], ["!!! *** ???"])),
        (
            "length_ratio",
            "Yes.",
            "是的，不过我们明天还要再仔细讨论一下这个非常复杂的问题。",
            ([], ["是的，不过我们明天还要再仔细讨论一下这个非常复杂的问题。"]),
        ),
        ("too_long", "long " * 600, "短", (["long " * 600], [])),
        ("template", "Page 3 of 12", "第3页，共12页", (["3", "12"], ["3", "12"])),
        ("empty", "Hello", "  ", ([], ["  "])),
        ("only_markup", "<br> `x = 1`", "换行 <br>", (["<br>", "`x = 1`"], [])),
        ("swapped", "你好", "Hello", (["你好"], ["Hello"])),
        ("malformed_line", "one\ttwo\tthree", "", (["one\ttwo\tthree"], [])),
        ("low_adequacy", "A dog.", "一辆车。", (["A dog."], ["一辆车。"])),
        ("duplicate_pair", "A dog.", "一只狗。", (["A dog."], ["一只狗。"])),
        ("low_quality", "Room 17 has 3 beds.", "19号房有3张床。", (["17"], ["19"])),
        ("unheard_of", "A", "啊", (["A"], ["啊"])),
    ],
)
def test_the_part_to_blame_is_marked(
    reason: str, left: str, right: str, expected: tuple[list[str], list[str]]
) -> None:
    assert marked(reason, left, right) == expected


@pytest.mark.parametrize(
    ("reason", "languages", "left", "right", "expected"),
    [
        ("wrong_script", ("de", "ru"), "Das ist gut.", "Das ist gut.", ([], ["Das ist gut"])),
        ("numbers", ("de", "fr"), "Es hat 42 Zimmer.", "Il y a 40 chambres.", (["42"], ["40"])),
        ("repetition", ("fr", "ja"), "Oui.", "東京都へ行く東京都へ行く", ([], ["東京都へ行く"])),
    ],
)
def test_other_languages_are_judged_by_their_own_scripts(
    reason: str,
    languages: tuple[str, str],
    left: str,
    right: str,
    expected: tuple[list[str], list[str]],
) -> None:
    assert marked(reason, left, right, languages) == expected


def test_words_of_other_languages_are_marked() -> None:
    left, right = marked("wrong_script", "el libro está en la mesa de mi casa", "书在桌子上")
    words = {word for piece in left for word in piece.split()}
    assert {"el", "está", "la"} <= words <= {"el", "está", "en", "la", "de", "mi"}
    assert right == []


PIECES = st.sampled_from(
    ["%s", "%d", "%1", "{a}", "{}", "{{b}}", "`%s`", "<b>", "$", "x", "中", " "]
)
SIDES = st.lists(PIECES, max_size=8).map(lambda pieces: "x " + "".join(pieces) + " y")


@given(left=SIDES, right=SIDES)
def test_placeholders_are_found_where_the_score_finds_them(left: str, right: str) -> None:
    columns = score_pairs(Texts.of([left]), Texts.of([right]), ("en", "zh"), FiltersConfig())
    pieces = marked("placeholders", left, right)
    assert (pieces != ([left], [right])) == bool(columns["placeholders"][0])


def test_every_reason_of_a_rule_has_a_finder_and_every_finder_a_reason() -> None:
    of_whole_pairs = {name for name, reason in REASONS.items() if reason.group == "leak"} | {
        "malformed_line",
        "one_language",
        "fuzzy",
        "boilerplate",
        "swapped",
        "duplicate_pair",
        "duplicate_side",
        "near_duplicate",
        "low_adequacy",
    }
    assert set(FINDERS) == set(REASONS) - of_whole_pairs


TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="ab 1,%{}<>`.中国の\ufffd\ud800", max_size=40),
)


@given(
    reason=st.sampled_from(["unheard_of", *REASONS]),
    left=TEXTS,
    right=TEXTS,
    languages=st.sampled_from([("en", "zh"), ("de", "fr"), ("ja", "ko"), ("th", "ar")]),
)
def test_marks_of_any_text_lie_in_order_within_it(
    reason: str, left: str, right: str, languages: tuple[str, str]
) -> None:
    sides = offending_parts(reason, left, right, languages)
    for text, spans in zip((left, right), sides, strict=True):
        borders = [border for span in spans for border in span]
        assert borders == sorted(borders)
        assert all(begin < end for begin, end in spans)
        assert not borders or (borders[0] >= 0 and borders[-1] <= len(text))
    assert bool(left or right) == any(sides) or reason == "empty"


def _offer(box: ExampleBox, rows: list[int], source: str = "web", reason: str = "numbers") -> None:
    box.offer(
        reason,
        source,
        languages=ENGLISH_CHINESE,
        left=Texts.of([f"number {row}" for row in rows]),
        right=Texts.of(["数字"] * len(rows)),
        keys=np.array(rows, np.uint64),
    )


@given(
    rows=st.lists(st.integers(0, 200), max_size=120),
    cuts=st.lists(st.integers(0, 120), max_size=4).map(sorted),
)
def test_the_same_examples_come_whatever_the_blocks(rows: list[int], cuts: list[int]) -> None:
    whole, parts = ExampleBox(), ExampleBox()
    _offer(whole, rows, reason="swapped")
    blocks = [rows[i:j] for i, j in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    for block in reversed(blocks):
        _offer(parts, block, reason="swapped")
    examples = whole.examples()["swapped"]
    assert parts.examples()["swapped"] == examples
    texts = [example["left"] for example in examples]
    assert len(texts) == min(EXAMPLES_PER_REASON, len(set(rows)))
    assert len(set(texts)) == len(texts)
    assert set(texts) <= {f"number {row}" for row in rows}


def test_examples_come_from_all_sources_alike() -> None:
    box = ExampleBox()
    _offer(box, [*range(1_000)], "large")
    _offer(box, [*range(1_000, 1_500)], "small")
    sources = Counter(example["source"] for example in box.examples()["numbers"])
    assert set(sources) == {"large", "small"}
    assert sum(sources.values()) == EXAMPLES_PER_REASON


def test_an_example_says_where_it_is_from_and_what_is_wrong() -> None:
    box = ExampleBox()
    _offer(box, [7])
    assert box.examples() == {
        "numbers": [
            {
                "left": "number 7",
                "right": "数字",
                "source": "web",
                "languages": "en-zh",
                "left_marks": [[7, 8]],
                "right_marks": [],
            }
        ]
    }


def test_long_examples_are_cut_around_the_first_mark() -> None:
    box = ExampleBox()
    box.offer(
        "encoding",
        "web",
        languages=ENGLISH_CHINESE,
        left=Texts.of(["x" * 5_000 + "\ufffd" + "y" * 5_000]),
        right=Texts.of(["短"]),
        keys=np.zeros(1, np.uint64),
    )
    example = box.examples()["encoding"][0]
    (begin, end), text = example["left_marks"][0], example["left"]
    assert text[begin:end] == "\ufffd"
    assert text.startswith("… x")
    assert text.endswith("y …")
    assert len(text) < 410
    assert example["right_marks"] == []
