"""What stands verbatim in a translation: found, compared and put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.evaluation.preserve import (
    join_around,
    keeps_protected,
    protected_pieces,
    split_around,
)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Open %s at %(name)s, %1$d%%", ["%s", "%(name)s", "%1$d"]),
        ("{} of {count}, ${HOME} and {{user.name}}", ["{}", "{count}", "${HOME}", "{{user.name}}"]),
        ('<a href="x">here</a><br/>', ['<a href="x">', "</a>", "<br/>"]),
        ("see https://example.com/a?b=1, then", ["https://example.com/a?b=1"]),
        ("参见https://example.com/a。好", ["https://example.com/a"]),
        ("write to me@example.org.", ["me@example.org"]),
        ("run `rm -rf x` &amp; go", ["`rm -rf x`", "&amp;"]),
        ("100% sure, 5 < 6 and 7 > 3, a {b c}", []),
        ("文件%s已保存", ["%s"]),
    ],
)
def test_protected_pieces_are_found(text, pieces):
    assert protected_pieces(text) == pieces


def test_protected_pieces_may_change_places_but_not_in_number():
    assert keeps_protected("%s of {n}", "{n}中的%s")
    assert not keeps_protected("%s of {n}", "{n}")
    assert not keeps_protected("hello", "你好 %s")


@pytest.mark.parametrize(
    ("source", "words", "joined"),
    [
        ("Click <b>Save</b> now.", {"Click": "点击", "Save": "保存", "now.": "现在。"},
         "点击<b>保存</b>现在。"),
        ("点击<b>保存</b>继续", {"点击": "Click", "保存": "Save", "继续": "to go on"},
         "Click <b>Save</b> to go on"),
        ("打开%s文件。", {"打开": "Open", "文件。": "file."}, "Open %s file."),
        ("Open %s.", {"Open": "Öffne"}, "Öffne %s."),
        ("{}%", {}, "{}%"),
    ],
)  # fmt: skip
def test_pieces_are_joined_as_the_target_language_writes(source, words, joined):
    pieces = [
        (text, words[text.strip()] if is_open else text) for text, is_open in split_around(source)
    ]
    assert join_around(pieces) == joined


TEXT = st.lists(
    st.sampled_from(["%s", "{n}", "<b>", "</b>", "https://e.com/x", "`a b`", "你好", "word", " ",
                     ".", "，", "5", "%", "{", "<"]),
    max_size=12,
).map("".join)  # fmt: skip


@given(TEXT)
def test_cutting_loses_nothing_and_what_is_put_back_keeps_every_piece(text):
    pieces = split_around(text)
    assert "".join(piece for piece, _ in pieces) == text
    # A translator that loses nothing of its own, and writes nothing that looks protected.
    joined = join_around([(piece, "词" if is_open else piece) for piece, is_open in pieces])
    assert keeps_protected(text, joined)
