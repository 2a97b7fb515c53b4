"""Scores of one pair in plain Python, for English and Chinese: what the compiled loops must equal.

Written for being read, with regular expressions and `Counter`; nothing of the kernels is used
but the tables of characters and words.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property

from src.corpus.characters import CharacterClass, class_table
from src.corpus.scoring.function_words import AMBIGUOUS_WORDS, FUNCTION_WORDS

MARKUP = re.compile(
    r"</?[A-Za-z][^<>]*>"
    r"|[A-Za-z]+://[^\s<>()]+"
    r"|\]\([^()\s]*(?:\s\"[^\"]*\")?\)"
    r"|\{\{.*?\}\}"
    r"|\{#[\w-]+\}"
    r"|(?::[\w+.:-]+:)?(?:``[^`]{1,80}``|`[^`]{1,80}`)"
)
PLACEHOLDER = re.compile(
    r"%(?:\([a-z_]+\))?(?:[0-9]\$)?[-+#0]?[0-9.]*l{0,2}[sdiufgxXc@](?![a-zA-Z])"
    r"|%[1-9]\b"
    r"|(?<![\\\w^=$>{])\{[A-Za-z0-9_]*\}(?!\})"
)
_HAN = (CharacterClass.HAN, CharacterClass.RARE_HAN)
_NOT_IN_WORDS = (*_HAN, CharacterClass.KANA, CharacterClass.THAI)
_IN_WORDS = {CharacterClass.DIGIT, *CharacterClass.letters()} - set(_NOT_IN_WORDS)
_FOREIGN = set(CharacterClass.letters()) - {CharacterClass.LATIN, *_HAN}
_ENGLISH = set(FUNCTION_WORDS["en"].split())
_AMBIGUOUS = set(AMBIGUOUS_WORDS.split())
_OTHER = {
    word
    for words in FUNCTION_WORDS.values()
    for word in words.split()
    if word not in _ENGLISH and word not in _AMBIGUOUS and len(word) > 1
}


def folded(text: str) -> str:
    return "".join(c.lower() if len(c.lower()) == 1 and c < "\U00010000" else c for c in text)


class PlainSide:
    """One side of a pair."""

    def __init__(self, text: str, piece_length: int) -> None:
        self.text = text
        self.piece_length = piece_length
        self.visible = MARKUP.sub(" ", text)
        self.classes = [CharacterClass(class_table()[ord(c)]) for c in self.visible]
        self.counts = Counter(self.classes)
        self.han = self.counts[_HAN[0]] + self.counts[_HAN[1]]
        self.ink = len(self.visible) - self.counts[CharacterClass.SPACE]

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        inside = [kind in _IN_WORDS for kind in self.classes]
        joined = list(inside)
        for place in range(1, len(inside) - 1):
            if self.visible[place] in "'’.,:_-/" and inside[place - 1] and inside[place + 1]:
                joined[place] = True
        marks = "".join("w" if is_inside else " " for is_inside in joined)
        return [match.span() for match in re.finditer("w+", marks)]

    @cached_property
    def spellings(self) -> list[str]:
        return [folded(self.visible[begin:end]) for begin, end in self.words]

    @cached_property
    def letter_words(self) -> list[tuple[int, int]]:
        return [span for span in self.words if self.classes[span[0]] != CharacterClass.DIGIT]

    def repeats(self) -> tuple[float, float]:
        length, text = self.piece_length, folded(self.visible)
        pieces = Counter(text[i : i + length] for i in range(len(text) - length + 1))
        total = max(1, sum(pieces.values()))
        again = sum(count - 1 for count in pieces.values())
        looping = sum(max(0, count - 3) for count in pieces.values())
        run, continued = 1, 0
        for before, word in zip(self.spellings, self.spellings[1:], strict=False):
            run = run + 1 if word == before else 1
            continued += run >= 4
        stutter = (continued + 3) / len(self.words) if continued else 0.0
        return again / total, max(looping / total, stutter)

    def vocabulary(self) -> float:
        han = [c for c, kind in zip(self.visible, self.classes, strict=True) if kind in _HAN]
        units = self.spellings + han
        return len(set(units)) / len(units) if len(units) >= 8 else 1.0

    def encoding(self) -> float:
        broken, rare = self.counts[CharacterClass.BROKEN], self.counts[CharacterClass.RARE_HAN]
        if (rare >= 3 and rare > 0.25 * self.han) or "锟斤" in self.visible:
            broken += self.han
        return broken / max(1, len(self.visible))

    def is_lone(self, place: int, end: int) -> bool:
        return place + 1 >= end or self.classes[place + 1] != self.classes[place]

    def shares(self, own: tuple[CharacterClass, ...]) -> tuple[float, float]:
        """Share of units in the side's own script, and in that of the other side."""
        kinds = [kind for kind in self.classes if kind in _HAN]
        units = len(kinds) + 0.4 * self.counts[CharacterClass.KANA]
        units += 0.32 * self.counts[CharacterClass.THAI]
        for begin, end in self.letter_words:
            kind = self.classes[begin]
            if kind == CharacterClass.LATIN or not self.is_lone(begin, end):
                kinds.append(kind)
                units += 1
        others = _HAN if own == (CharacterClass.LATIN,) else (CharacterClass.LATIN,)
        if not units:
            return 1.0, 0.0
        return sum(k in own for k in kinds) / units, sum(k in others for k in kinds) / units

    def foreign(self) -> float:
        letters = sum(self.counts[kind] for kind in CharacterClass.letters())
        found = surplus = 0
        for place, kind in enumerate(self.classes):
            if kind in _FOREIGN:
                follows = place > 0 and self.classes[place - 1] == kind
                is_kana = kind == CharacterClass.KANA
                found += is_kana or follows or not self.is_lone(place, len(self.classes))
        for begin, end in self.letter_words:
            word = self.visible[begin:end]
            accents = [
                c
                for c, kind in zip(word, self.classes[begin:end], strict=True)
                if kind == CharacterClass.LATIN and "z" < c < "\u2000"
            ]
            surplus += folded(word) in _OTHER or bool(accents)
            surplus -= folded(word) in _ENGLISH
        total = len(self.letter_words)
        by_words = surplus / total if total >= 5 and surplus >= 2 else 0.0
        return max(found / max(1, letters), by_words)

    def worth(self) -> float:
        per_word = {
            CharacterClass.KANA: 4.0, CharacterClass.HANGUL: 2.3, CharacterClass.CYRILLIC: 5.6,
            CharacterClass.GREEK: 5.6, CharacterClass.ARABIC: 4.3, CharacterClass.HEBREW: 3.9,
            CharacterClass.THAI: 5.0, CharacterClass.DEVANAGARI: 5.0, CharacterClass.HAN: 1.6,
            CharacterClass.RARE_HAN: 1.6, CharacterClass.SPACE: float("inf"),
        }  # fmt: skip
        return sum(count / per_word.get(kind, 4.8) for kind, count in self.counts.items())

    def copies_of(self, source: PlainSide) -> tuple[float, float, int]:
        """Shares of copied words and prose, and characters of names in brackets."""
        known = set(source.spellings)
        copied = prose = glosses = 0
        gloss_end = -2
        for begin, end in self.letter_words:
            word = self.visible[begin:end]
            if folded(word) not in known:
                continue
            copied += 1
            prose += len(word) > 1 and re.fullmatch("[a-z]+", word) is not None
            before = self.visible[begin - 1 : begin]
            if before in {"(", "（"} or (before == " " and begin == gloss_end + 1):
                glosses += end - begin
                gloss_end = end
        unspaced = 0.4 * self.counts[CharacterClass.KANA] + 0.32 * self.counts[CharacterClass.THAI]
        units = max(1.0, (self.han + unspaced) / 1.6 + len(self.letter_words))
        return copied / units, prose / units, glosses


def is_technical_name(side: PlainSide) -> bool:
    letters = [k for k in side.classes if k in CharacterClass.letters()]
    if side.visible != side.text or set(letters) - {CharacterClass.LATIN}:
        return False
    technical = plain = 0
    for begin, end in side.words:
        word = side.visible[begin:end]
        digits = any(k == CharacterClass.DIGIT for k in side.classes[begin:end])
        shouts = re.fullmatch("[A-Z]{4,}", word) is not None
        has_later_capital = re.search("[A-Z]", word[1:]) is not None and not shouts
        technical += has_later_capital or (digits and re.search("[A-Z]", word) is not None)
        plain += shouts or (re.search("[a-z]", word) is not None and not re.search("[A-Z]", word))
    return technical > 0 and not plain and len(side.words) <= 4


def plain_scores(english: str, chinese: str) -> dict[str, float]:
    """Every column but `numbers`, `boilerplate` and `quality`."""
    left, right = PlainSide(english, 12), PlainSide(chinese, 4)
    left_repeats, right_repeats = left.repeats(), right.repeats()
    left_script, left_partner = left.shares((CharacterClass.LATIN,))
    right_script, right_partner = right.shares(_HAN)
    copied, prose, glosses = right.copies_of(left)
    is_name = left.visible == right.visible and len(left.visible) <= 40 and is_technical_name(left)
    placeholders = [sorted(PLACEHOLDER.findall(side.visible)) for side in (left, right)]
    return {
        "characters": max(len(english), len(chinese)),
        "shortest": min(len(english), len(chinese)),
        "visible": min(left.ink, right.ink),
        "length_ratio": (left.worth() + 3) / (right.worth() - glosses / 4.8 + 3),
        "repetition": max(left_repeats[0], right_repeats[0]),
        "looping": max(left_repeats[1], right_repeats[1]),
        "punctuation": max(
            side.counts[CharacterClass.SYMBOL] / max(1, side.ink) for side in (left, right)
        ),
        "encoding": max(left.encoding(), right.encoding()),
        "script": 1.0 if is_name else min(left_script, right_script),
        "swapped": min(left_partner, right_partner),
        "foreign": max(left.foreign(), right.foreign()),
        "vocabulary": min(left.vocabulary(), right.vocabulary()),
        "copied": 0.0 if is_name else copied,
        "copied_prose": 0.0 if is_name else prose,
        "placeholders": float(placeholders[0] != placeholders[1]),
    }
