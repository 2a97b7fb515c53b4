"""Telling English from other languages in the same letters, by its commonest words.

Scripts decide between English and Chinese; only Latin-script neighbours (French, Indonesian,
pinyin ...) need words. Function words make up a third of running text in every language, so a
handful of them, and letters that English does not have, tell a sentence's language well enough to
drop it; text without any (names, code, headings) is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from src.corpus.characters import CharacterClass, Hashes, Indices, TextBlock

_MIN_WORDS = 5

_ENGLISH = """
the of and to in a is that for it as was with be by on not he i this are or his from at which but
have an had they you were their one all we can her has there been if more when will would who so no
what she do up out my about into than them only some could these its then two any your just our how
did may also after over such most other those like me him us where why does should because while
use using used new see get set add
"""
_OTHER = """
la el los las de del que en un una por con para es su al lo como más pero sus le les des du et est
dans qui pas au avec ne ce il elle sont plus ont der das und ist nicht von zu mit ein eine auf für
dem sich auch im wird di che è per non della sono gli dei nel alla più anche os em não uma dos na
ao mais foi são com um het een dat niet zijn op te voor met ook aan och att det som på av är inte
ett jest się nie że jak af er til ikke og yang dan dengan untuk dari tidak ini itu dalam adalah
pada ve bir bu için ile olarak và của là không có cho được những các người trong này với
"""


def foreign_share(block: TextBlock) -> NDArray[np.float64]:
    """How much of each row speaks another language than English or Chinese.

    Args:
        block: N rows of text.

    Returns:
        `[N]` the larger of two shares: letters of other scripts among all letters; and, in rows of
        five words or more, the surplus of foreign over English function words among all words.
    """
    letters = block.count(*CharacterClass.letters())
    by_script = block.count(CharacterClass.OTHER_LETTER) / np.maximum(letters, 1)
    begins, ends, rows, hashes = block.letter_words
    foreign = is_member(hashes, _other_words()) | _has_accent(block, begins, ends)
    english = np.bincount(rows[is_member(hashes, _english_words())], minlength=len(block))
    surplus = np.bincount(rows[foreign], minlength=len(block)) - english
    total = np.bincount(rows, minlength=len(block))
    by_words = np.where(total < _MIN_WORDS, 0, surplus) / np.maximum(total, 1)
    return np.asarray(np.maximum(by_script, by_words))


def is_member(hashes: Hashes, table: Hashes) -> NDArray[np.bool_]:
    """Which hashes stand in a sorted, non-empty table."""
    places = np.minimum(np.searchsorted(table, hashes), len(table) - 1)
    return np.asarray(table[places] == hashes)


def _has_accent(block: TextBlock, begins: Indices, ends: Indices) -> NDArray[np.bool_]:
    accented = (block.classes == CharacterClass.LATIN) & (block.codes > ord("z"))
    before = np.concatenate(([0], np.cumsum(accented)))
    return np.asarray(before[ends] > before[begins])


def _hashes_of(words: Sequence[str]) -> Hashes:
    block = TextBlock(words)
    return np.sort(block.hashes(block.starts[:-1], block.starts[1:] - 1))


@cache
def _english_words() -> Hashes:
    return _hashes_of(_ENGLISH.split())


@cache
def _other_words() -> Hashes:
    return _hashes_of(sorted({*_OTHER.split()} - {*_ENGLISH.split()}))
