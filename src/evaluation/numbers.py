"""Whether a translation says the numbers of its source, and which ones it does not.

The corpus knows how languages write numbers ("3:45 PM" and "下午3:45", "March" and "3月", "1.5
million" and "150万"): `src.corpus.scoring.numbers` is asked here about pairs that a model made.
Where both texts hold the same digits in the same scale, which is nearly everywhere, nobody is
asked. Numbers that both texts write in words are not compared.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

from src.evaluation.preserve import without_protected
from src.evaluation.scales import scales_differ, with_full_ranges
from src.languages import split_direction

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DIGITS = re.compile(r"\d+")
_GROUP_MARK = re.compile(r",(?=\d{3}(?!\d))")
_SCALE_LANGUAGES = frozenset({"en", "zh", "ja"})
# Numbers that no text holds by chance, to ask about one number at a time.
_WITNESSES = ("48271", "90599", "73459", "86243")
_TOLD = 3

Span = tuple[int, int]


@dataclass(frozen=True)
class NumberFault:
    """Numbers without counterpart.

    Attributes:
        missing: Where they stand in the source.
        strange: Where they stand in the translation.
    """

    missing: tuple[Span, ...]
    strange: tuple[Span, ...]


def keep_numbers(direction: str, pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether each translation holds the numbers of its source, and no others.

    Args:
        direction: Such as "en-zh".
        pairs: Sources and their translations.
    """
    languages = split_direction(direction)
    visible = [_visible(pair) for pair in pairs]
    kept = [not _scales_differ(pair, languages) for pair in visible]
    doubtful = [
        index
        for index, (source, translation) in enumerate(visible)
        if kept[index] and _plain_numbers(source) != _plain_numbers(translation)
    ]
    full = [(with_full_ranges(left), with_full_ranges(right)) for left, right in visible]
    scores = _scores([full[index] for index in doubtful], languages)
    for index, score in zip(doubtful, scores, strict=True):
        kept[index] = score == 0
    return kept


def number_fault(direction: str, source: str, translation: str) -> NumberFault:
    """Which numbers of a pair that `keep_numbers` rejects are to blame.

    Where no number is to blame by itself, all are.
    """
    languages = split_direction(direction)
    pair = _visible((source, translation))
    spans = [[match.span() for match in _NUMBER.finditer(text)] for text in pair]
    witnesses = [number for number in _WITNESSES if not any(number in text for text in pair)]
    questions = _questions(pair, *witnesses[:2]) if len(witnesses) > 1 else []
    blamed = [
        score >= 1 or _scales_differ(question, languages)
        for score, question in zip(_scores(questions, languages), questions, strict=True)
    ]
    if not any(blamed):
        return NumberFault(tuple(spans[0]), tuple(spans[1]))
    missing, strange = blamed[: len(spans[0])], blamed[len(spans[0]) :]
    return NumberFault(tuple(compress(spans[0], missing)), tuple(compress(spans[1], strange)))


def count_numbers(text: str) -> int:
    """How many numbers in digits a text has, those in placeholders and addresses left out."""
    return sum(1 for _ in _NUMBER.finditer(without_protected(text)))


def describe_fault(fault: NumberFault, source: str, translation: str) -> str:
    """One sentence that names the numbers."""
    missing = _named(source, fault.missing)
    strange = _named(translation, fault.strange)
    if missing and strange:
        return f"the translation has {strange}, the source has {missing}"
    if missing:
        return f"the translation lacks {missing} of the source"
    return f"the translation has {strange}, which the source does not have in digits"


def _named(text: str, spans: Sequence[Span]) -> str:
    names = [text[begin:end] for begin, end in spans]
    more = [f"{len(names) - _TOLD} more"] if len(names) > _TOLD else []
    return " and ".join([*names[:_TOLD], *more])


def _visible(pair: tuple[str, str]) -> tuple[str, str]:
    """Both texts, character for character, with blanks for placeholders, tags and addresses."""
    source, translation = (
        # Half characters, which UTF-8 does not know, become question marks.
        without_protected(text).encode("utf-8", "replace").decode("utf-8")
        for text in pair
    )
    return source, translation


def _plain_numbers(text: str) -> Counter[str]:
    """Numbers in digits, written in one way: 01,234.50 → 1234.5."""
    found: Counter[str] = Counter()
    for match in _NUMBER.findall(text):
        whole, point, decimals = _GROUP_MARK.sub("", match).partition(".")
        decimals = decimals.rstrip("0")
        found[(whole.lstrip("0") or "0") + (point + decimals if decimals else "")] += 1
    return found


def _scales_differ(pair: tuple[str, str], languages: tuple[str, str]) -> bool:
    return set(languages) <= _SCALE_LANGUAGES and scales_differ(*pair)


def _questions(pair: tuple[str, str], answered: str, unanswered: str) -> list[tuple[str, str]]:
    """For each number a pair whose disagreement is 1.0 exactly if nothing answers that number.

    One side holds this number alone, the other one more that has no counterpart for certain. Two
    sides with such a number contradict each other.
    """
    left, right = (with_full_ranges(text) for text in pair)
    questions = [
        (f"{alone} ; {answered} .", f"{right} ; {answered} ; {unanswered} .")
        for alone in _one_by_one(left)
    ]
    questions += [
        (f"{left} ; {answered} ; {unanswered} .", f"{alone} ; {answered} .")
        for alone in _one_by_one(right)
    ]
    return questions


def _one_by_one(text: str) -> list[str]:
    """The text once for each number, with the digits of all others taken out."""
    return [
        _DIGITS.sub("", text[: match.start()]) + match[0] + _DIGITS.sub("", text[match.end() :])
        for match in _NUMBER.finditer(text)
    ]


def _scores(pairs: Sequence[tuple[str, str]], languages: tuple[str, str]) -> list[float]:
    """From 0.0, every number is answered, to 1.0, both sides hold one that is not."""
    if not pairs:
        return []
    from src.corpus.number_agreement import is_compiled, number_disagreement

    if not is_compiled():
        logger.info("compiling the comparison of numbers for this machine, once: half a minute")
    scores: list[float] = number_disagreement(pairs, languages).tolist()
    return scores
