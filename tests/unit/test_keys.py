"""Keys: what counts as the same, what does not, and that tables and Python fold alike."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.corpus.folding import folding, letter_table
from src.corpus.key_kernels import hash_pairs
from src.corpus.keys import KEYS, LEFT, NEAR, PAIR, RIGHT, TEMPLATE, KeyColumns, pair_keys
from src.corpus.texts import Texts


def _keys(left: list[str], right: list[str], *, near: bool = False):
    return pair_keys(Texts.of(left), Texts.of(right), near=near)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello world"),
        ("ＣＯＶＩＤ-19", "covid 19"),
        ("COVID-19", "Covid19"),
        ("It's me.", "its me"),
        ("Straße", "STRASSE"),
        ("cafe\u0301", "CAFÉ"),
        ("½", "1⁄2"),
        ("ﬁne", "fine"),
        ("가각", "\u1100\u1161\u1100\u1161\u11a8"),
    ],
)
def test_surface_differences_give_the_same_keys(one: str, other: str):
    keys = _keys([one, other], ["你好，世界。", "你好世界"])
    assert (keys[:, 0] == keys[:, 1]).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It costs 1.5", "It costs 15"),
        ("-5 °C outside", "5 °C outside"),
        ("35% of it", "35 of it"),
        ("$5", "€5"),
        ("Learn C++", "Learn C#"),
        ("at 2:07", "at 207"),
    ],
)
def test_signs_that_change_the_meaning_give_another_pair_key(one: str, other: str):
    keys = _keys([one, other], ["同", "同"])
    assert keys[PAIR, 0] != keys[PAIR, 1]
    assert keys[LEFT, 0] == keys[LEFT, 1]
    assert keys[RIGHT, 0] == keys[RIGHT, 1]


def test_sides_do_not_mix():
    keys = _keys(["ab", "a", "c"], ["c", "bc", "ab"])
    assert len({*keys[PAIR].tolist()}) == 3
    assert len({*keys[TEMPLATE].tolist()}) == 3
    assert keys[LEFT, 0] == keys[RIGHT, 2]


def test_templates_are_alike_but_for_numbers():
    keys = _keys(
        ["Page 12 of 30", "Page 9", "Page 9 of 3", "Page ９ of ٣"],
        ["第 12 页，共 30 页", "第 9 页", "第 9 页，共 3 页", "第9页，共3页"],
    )
    assert keys[TEMPLATE, 0] == keys[TEMPLATE, 2] == keys[TEMPLATE, 3] != keys[TEMPLATE, 1]
    assert len({*keys[PAIR, :3].tolist()}) == 3


_SIGNS = "+#%‰$€£¥￥₩₹°±×÷<>=*/^&@~|\\_"


def _kept(text: str) -> tuple[str, str, str]:
    """What the side, pair and template keys see, written as plainly as possible."""
    text = unicodedata.normalize("NFKC", text).casefold()
    exact = ""
    for place, character in enumerate(text):
        before = text[place - 1] if place else " "
        after = text[place + 1] if place + 1 < len(text) else " "
        is_inside = character in ".,:" and before in "0123456789" and after in "0123456789"
        is_minus = character in "-−–" and after in "0123456789" and not before.isalnum()
        if character.isalnum() or character in _SIGNS or is_inside or is_minus:
            exact += character
    letters = "".join(filter(str.isalnum, text))
    return letters, exact, "".join(c for c in letters if unicodedata.category(c) != "Nd")


_TEXT = st.text(
    st.one_of(
        st.sampled_from(
            "aAbß1９٣२½²ﬁﷺé\u0301\u0323\u3099かgＡ-–−.,:%+℃…İı가\u1161\u11a8क\u093c你 \u200b"
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(_TEXT, _TEXT, _TEXT)
@example("1.5", "1…5", "-½")
@example("a\u0301", "á", "q\u0323\u0307")
def test_keys_are_equal_exactly_where_what_they_see_is(one: str, other: str, right: str):
    keys = _keys([one, other, one + "-1", other.upper()], [right, right, other, one])
    seen = [_kept(text) for text in (one, other, one + "-1", other.upper())]
    others = [_kept(text) for text in (right, right, other, one)]
    for row in range(4):
        for column, kept in ((LEFT, [s[0] for s in seen]), (RIGHT, [s[0] for s in others])):
            assert (keys[column, 0] == keys[column, row]) == (kept[0] == kept[row])
        for column, part in ((PAIR, 1), (TEMPLATE, 2)):
            is_same = (seen[0][part], others[0][part]) == (seen[row][part], others[row][part])
            assert (keys[column, 0] == keys[column, row]) == is_same


def test_python_folds_only_what_depends_on_its_neighbours():
    texts = [
        "plain text",
        "Straße ½ ℃ ﬁ …",
        "中文，全角（ＡＢ）",
        "가나다",
        "Tiếng Việt",
        "русский",
        "हिन्दी",
    ]
    left = Texts.of([*texts, "e\u0301"])
    depends = np.zeros(len(left), np.bool_)
    tables = folding()
    sides = (left.data, left.offsets)
    keys = np.zeros((KEYS, len(left)), np.uint64)
    hash_pairs(sides, sides, tables.entries, tables.expansions, keys, depends, near=False)
    assert depends.tolist() == [False] * len(texts) + [True]


def test_every_letter_is_one():
    assert letter_table()[ord("Z")]
    assert not letter_table()[ord("_")]
    assert not any(chr(code).isalnum() for code in range(len(letter_table()), 0x110000, 7))


def _distance(one: np.uint64, other: np.uint64) -> int:
    return bin(int(one ^ other)).count("1")


def test_near_keys_of_pairs_with_few_different_words_differ_in_few_bits():
    left = (
        "Before the committee meets again in the spring, every member is asked to read the report "
        "about the old harbour and to write down which of its twelve proposals should be followed."
    )
    right = "委员会春季再次开会之前，请每位成员阅读关于旧港口的报告，并写下应当采纳其中的哪些建议。"
    other = "Nothing of this has anything in common with what was said before, not even its length."
    keys = _keys(
        [left, left.replace("spring", "autumn"), other],
        [right, right.replace("春", "秋"), "完全不同的句子"],
        near=True,
    )[NEAR]
    assert _distance(keys[0], keys[1]) < 12
    assert _distance(keys[0], keys[2]) > 20


def test_pairs_without_words_are_not_near_one_another():
    keys = _keys(["!!!", "???", "%"], ["。", "……", "+"], near=True)
    assert keys[NEAR].tolist() == keys[PAIR].tolist()
    assert not _keys(["word"], ["词"])[NEAR].any()


def test_columns_read_any_rows_of_any_unit(tmp_path: Path):
    rng = np.random.default_rng(0)
    units = [rng.integers(0, 2**63, (KEYS, rows), dtype=np.uint64) for rows in (3, 0, 5)]
    files = [tmp_path / f"{number}.npy" for number in range(3)]
    for file, unit in zip(files, units, strict=True):
        np.save(file, unit)
    columns = KeyColumns(files)
    assert len(columns) == 8
    assert columns.starts.tolist() == [0, 3, 3, 8]
    assert columns.read(TEMPLATE, 2, 1, 4).tolist() == units[2][TEMPLATE, 1:4].tolist()
    whole = np.concatenate(units, axis=1)
    for place, (left, near) in columns.pieces(LEFT, NEAR):
        assert left.tolist() == whole[LEFT, place].tolist()
        assert near.tolist() == whole[NEAR, place].tolist()
