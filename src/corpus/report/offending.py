"""Which part of a dropped pair is to blame, for the examples of the report.

Only examples come here, so it may be slow. Where a reason is a matter of characters, they are
looked up; where only the scorer knows, such as whether a number has a counterpart or a word is of
another language, the scorer is asked about pairs made for the question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from src.corpus.report.broken import broken_characters
from src.corpus.report.spans import (
    LATIN,
    WORD,
    Spans,
    covered,
    found,
    is_unspaced,
    merged,
    own_scripts,
    script_runs,
    trimmed,
    units,
    whole,
)
from src.corpus.scores import Columns, score_pairs
from src.corpus.texts import Texts
from src.schema.data import FiltersConfig

Languages = tuple[str, str]
Parts = tuple[Spans, Spans]

# As src.corpus.scoring finds them.
_MARKUP = re.compile(
    r"</?[A-Za-z][^<>]*>|[A-Za-z]+://[^\s<>()]+|\]\([^()\s]*(?:\s\"[^\"]*\")?\)|\{\{.*?\}\}"
    r"|\{#[\w-]+\}|(?::[\w+.:-]+:)?(?:``[^`]{1,80}``|`[^`]{1,80}`)"
)
_PLACEHOLDER = re.compile(
    r"%(?:\([a-z_]+\))?(?:[0-9]\$)?[-+#0]?[0-9.]*l{0,2}[sdiufgxXc@](?![a-zA-Z])|%[1-9]\b"
    r"|(?<![\\\w^=$>{])\{[A-Za-z0-9_]*\}(?!\})"
)
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_DIGITS = re.compile(r"\d+")
_SYMBOLS = re.compile(r"(?:[^\w\s]|_)+(?: (?:[^\w\s]|_)+)*")
# Numbers that no text holds by chance.
_WITNESSES = ("48271", "90599", "73459", "86243")
_PIECE_LENGTHS = {False: 12, True: 4}
_STUTTER = 3
_SPEAKS_FOREIGN = 0.5
_HALF = 0.5
_WORTH_MENTIONING = 0.05


def offending_parts(reason: str, left: str, right: str, languages: Languages) -> Parts:
    """Which characters of a dropped pair are the reason it was dropped.

    Args:
        reason: As the report names it; of an unknown one the whole pair is to blame.
        left: Text in the first language.
        right: Text in the second.
        languages: Codes of both.

    Returns:
        Begins and ends on the left and on the right, in order, without overlap. A side without
        any is innocent. Where nothing smaller is to blame, whole sides are.
    """
    left, right = _encodable(left), _encodable(right)
    parts: Parts = [], []
    if reason in _FINDERS:
        parts = _FINDERS[reason](left, right, languages)
    elif reason in _VISIBLE_FINDERS:
        parts = _VISIBLE_FINDERS[reason](_without_markup(left), _without_markup(right), languages)
    return parts if parts[0] or parts[1] else (whole(left), whole(right))


def _encodable(text: str) -> str:
    """The text with lone surrogates replaced, character for character."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _without_markup(text: str) -> str:
    """The text with blanks where there is markup, which the scores do not look at."""
    return _MARKUP.sub(lambda match: " " * len(match[0]), text)


def _scores(pairs: Sequence[tuple[str, str]], languages: Languages) -> Columns:
    """`[N]` score columns of any number of pairs."""
    left, right = (Texts.of([pair[side] for pair in pairs]) for side in (0, 1))
    return score_pairs(left, right, languages, FiltersConfig())


def _worse(left: Spans, right: Spans, texts: tuple[str, str]) -> Parts:
    """The spans of the side with the larger share of them; of both where they are alike."""
    shares = [
        covered(spans) / max(len(text), 1) for spans, text in zip((left, right), texts, strict=True)
    ]
    return (
        left if shares[0] >= _HALF * shares[1] else [],
        right if shares[1] >= _HALF * shares[0] else [],
    )


def _empty(left: str, right: str, _languages: Languages) -> Parts:
    return (
        whole(left) if not left.strip() else [],
        whole(right) if not right.strip() else [],
    )


def _longer(left: str, right: str, languages: Languages) -> Parts:
    ratio = float(_scores([(left, right)], languages)["length_ratio"][0])
    is_left = ratio > 1 or (ratio == 1 and len(left) >= len(right))
    return (whole(left), []) if is_left else ([], whole(right))


def _more_characters(left: str, right: str, _languages: Languages) -> Parts:
    return (whole(left), []) if len(left) >= len(right) else ([], whole(right))


def _markup(left: str, right: str, _languages: Languages) -> Parts:
    is_bare = [not _MARKUP.sub("", text).strip() for text in (left, right)]
    return (
        found(_MARKUP, left) if is_bare[0] else [],
        found(_MARKUP, right) if is_bare[1] else [],
    )


def _broken(left: str, right: str, _languages: Languages) -> Parts:
    return broken_characters(left, right)


def _copied_words(left: str, right: str, _languages: Languages) -> Parts:
    shared = {match[0].casefold() for match in WORD.finditer(left)} & {
        match[0].casefold() for match in WORD.finditer(right)
    }
    sides = [
        merged((m.span() for m in WORD.finditer(text) if m[0].casefold() in shared), text)
        for text in (left, right)
    ]
    return sides[0], sides[1]


def _other_languages(left: str, right: str, languages: Languages) -> Parts:
    """Letters of other scripts on a side that is mostly such; else strange letters and words."""
    texts = (left, right)
    alien = [_alien(text, own_scripts(code)) for text, code in zip(texts, languages, strict=True)]
    if any(share > _HALF for _, share in alien):
        left_spans, right_spans = (spans if share > _HALF else [] for spans, share in alien)
        return left_spans, right_spans
    sides = []
    for side, (text, code) in enumerate(zip(texts, languages, strict=True)):
        strange, _ = _alien(text, own_scripts(code) | LATIN)
        sides.append(merged([*strange, *_foreign_words(text, side, languages)], text))
    return sides[0], sides[1]


def _alien(text: str, own: frozenset[str]) -> tuple[Spans, float]:
    """The letters of other scripts, and their share of the words and wordless characters."""
    aliens = [(begin, end) for begin, end, script in script_runs(text) if script not in own]
    inside = {place for begin, end in aliens for place in range(begin, end)}
    pieces = units(text)
    count = sum(begin in inside for begin, _, _ in pieces)
    return merged(aliens, text), count / max(len(pieces), 1)


def _foreign_words(text: str, side: int, languages: Languages) -> Spans:
    words = sorted({match[0] for match in WORD.finditer(text)})
    if not words:
        return []
    # A sentence of nothing but this word, so that it alone decides.
    sentences = [" ".join([word] * 8) for word in words]
    pairs = [(one, "") if side == 0 else ("", one) for one in sentences]
    is_foreign = _scores(pairs, languages)["foreign"] > _SPEAKS_FOREIGN
    foreign = {word for word, yes in zip(words, is_foreign, strict=True) if yes}
    return [match.span() for match in WORD.finditer(text) if match[0] in foreign]


def _punctuation(left: str, right: str, _languages: Languages) -> Parts:
    return _worse(found(_SYMBOLS, left), found(_SYMBOLS, right), (left, right))


def _repetition(left: str, right: str, languages: Languages) -> Parts:
    sides = [
        _repeated_pieces(text, _PIECE_LENGTHS[is_unspaced(code)]) or _stutter(text)
        for text, code in zip((left, right), languages, strict=True)
    ]
    return _worse(sides[0], sides[1], (left, right))


def _repeated_pieces(text: str, length: int) -> Spans:
    """What the text has said before, in pieces of a given length."""
    seen: set[str] = set()
    again = []
    for begin in range(len(text) - length + 1):
        piece = text[begin : begin + length].lower()
        if piece in seen:
            again.append((begin, begin + length))
        seen.add(piece)
    return trimmed(merged(again, text), text)


def _stutter(text: str) -> Spans:
    """Words said at once for the fourth time and more."""
    pieces = units(text)
    return merged(
        (
            pieces[at][:2]
            for at in range(_STUTTER, len(pieces))
            if len({piece[2] for piece in pieces[at - _STUTTER : at + 1]}) == 1
        ),
        text,
    )


def _said_before(left: str, right: str, _languages: Languages) -> Parts:
    """Words that stood before, on the side that is poorer in words."""
    sides = []
    for text in (left, right):
        seen: set[str] = set()
        again = []
        for begin, end, unit in units(text):
            if unit in seen:
                again.append((begin, end))
            seen.add(unit)
        sides.append(merged(again, text))
    return _worse(sides[0], sides[1], (left, right))


def _unanswered_numbers(left: str, right: str, languages: Languages) -> Parts:
    """Numbers without counterpart; all numbers where the scorer blames none by itself."""
    witnesses = [number for number in _WITNESSES if number not in left and number not in right]
    if len(witnesses) < 2:  # noqa: PLR2004
        return found(_NUMBER, left), found(_NUMBER, right)
    answered, unanswered = witnesses[:2]
    spans = found(_NUMBER, left), found(_NUMBER, right)
    # The other side holds one number without counterpart for certain. Two such sides contradict
    # each other (1.0), so this side has one, too, exactly if its only number goes unanswered.
    pairs = [
        (f"{_with_one_number(left, span)} ; {answered} .", f"{right} ; {answered} ; {unanswered} .")
        for span in spans[0]
    ]
    pairs += [
        (f"{left} ; {answered} ; {unanswered} .", f"{_with_one_number(right, span)} ; {answered} .")
        for span in spans[1]
    ]
    if not pairs:
        return [], []
    lacking = _scores(pairs, languages)["numbers"] >= 1
    on_left, on_right = np.split(lacking, [len(spans[0])])
    parts = (
        [span for span, lacks in zip(spans[0], on_left, strict=True) if lacks],
        [span for span, lacks in zip(spans[1], on_right, strict=True) if lacks],
    )
    return parts if parts[0] or parts[1] else spans


def _with_one_number(text: str, span: tuple[int, int]) -> str:
    """The text with the digits of all other numbers taken out."""
    begin, end = span
    return _DIGITS.sub("", text[:begin]) + text[begin:end] + _DIGITS.sub("", text[end:])


def _lacking_placeholders(left: str, right: str, _languages: Languages) -> Parts:
    counts = [Counter(_PLACEHOLDER.findall(text)) for text in (left, right)]
    surplus = (counts[0] - counts[1], counts[1] - counts[0])
    sides = [
        [match.span() for match in _PLACEHOLDER.finditer(text) if match[0] in lacking]
        for text, lacking in zip((left, right), surplus, strict=True)
    ]
    return sides[0], sides[1]


def _digits(left: str, right: str, _languages: Languages) -> Parts:
    return found(_DIGITS, left), found(_DIGITS, right)


def _worst_quality(left: str, right: str, languages: Languages) -> Parts:
    """What is to blame for the worst component of the quality score."""
    columns = {name: float(c[0]) for name, c in _scores([(left, right)], languages).items()}
    badness = {
        "length_ratio": abs(float(np.log2(columns["length_ratio"]))),
        "repetition": columns["repetition"],
        "punctuation": columns["punctuation"],
        "wrong_script": max(1 - columns["script"], columns["foreign"]),
        "low_vocabulary": 1 - columns["vocabulary"],
        "untranslated": columns["copied"],
        "numbers": columns["numbers"],
        "placeholders": columns["placeholders"],
        "encoding": columns["encoding"],
    }
    worst = max(badness, key=lambda name: badness[name])
    if badness[worst] < _WORTH_MENTIONING:
        return [], []
    return _VISIBLE_FINDERS[worst](left, right, languages)


_Finder = Callable[[str, str, Languages], Parts]
_FINDERS: dict[str, _Finder] = {
    "bad_encoding": _broken,
    "template": _digits,
    "empty": _empty,
    "only_markup": _markup,
    "too_long": _more_characters,
}
# These get what a reader sees.
_VISIBLE_FINDERS: dict[str, _Finder] = {
    "encoding": _broken,
    "length_ratio": _longer,
    "low_quality": _worst_quality,
    "low_vocabulary": _said_before,
    "numbers": _unanswered_numbers,
    "placeholders": _lacking_placeholders,
    "punctuation": _punctuation,
    "repetition": _repetition,
    "untranslated": _copied_words,
    "wrong_script": _other_languages,
}
FINDERS = frozenset({*_FINDERS, *_VISIBLE_FINDERS})
"""Reasons for which something smaller than the whole pair can be to blame."""
