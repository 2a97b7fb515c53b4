"""Whether two sentences speak of the same numbers.

A wrong number is the error that a reader of a translation cannot see, so pairs whose numbers
differ are worth losing; but the two languages write numbers so differently that comparing digits
would lose far more good pairs than bad ones. Each number written in digits therefore stands for a
set of values (`2:07 PM` for 2 and 14, `29` in a date for 1929 and 2029, `3.5 million` for 3.5 and
3,500,000), and numbers in words (`March`, `twenty-five`, `二十五`) may answer a number in digits
of the other side but ask for no answer themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

Value = float | str
_HOURS_PER_DAY = 24
_LONGEST_EXACT = 15  # digits that a float holds exactly; longer runs are compared as text

_DIGITS = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?\Z")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+\Z")
_CLOCK_BEFORE = re.compile(r"(?:上午|下午|中午|晚上|凌晨|早上|傍晚|[上下]午\s?|at )\s?\Z")
_CLOCK_AFTER = re.compile(r"\s?(?:[:：点點时時]|[0-9:]*\s?[ap]\.?m\b|o'clock)", re.IGNORECASE)
_DATE_EDGES = frozenset("/-–.'’‘年")
_DECADE = re.compile(r"['’]?s\b|\s?年代")
_SCALE = re.compile(
    r"\+?[\s-]?[多余几]?\s?(?:(thousand|k\b)|(million|mn?\b)|(billion|bn?\b)|(trillion)|"
    r"(万亿|兆)|(亿)|(千万)|(百万)|(万)|(千)|(百)|(hundred)|(decade))",
    re.IGNORECASE,
)
_SCALES = (1e3, 1e6, 1e9, 1e12, 1e12, 1e8, 1e7, 1e6, 1e4, 1e3, 1e2, 1e2, 1e1)

_WORDS_FROM_ZERO = """zero one two three four five six seven eight nine ten eleven twelve thirteen
fourteen fifteen sixteen seventeen eighteen nineteen"""
_ORDINALS_FROM_FIRST = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh
twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
_TENS_FROM_TWENTY = "twenty thirty forty fifty sixty seventy eighty ninety"
_ENGLISH_VALUES: dict[str, float] = {
    **{word: float(n) for n, word in enumerate(_WORDS_FROM_ZERO.split())},
    **{word: float(n) for n, word in enumerate(_ORDINALS_FROM_FIRST.split(), start=1)},
    **{word: float(10 * n) for n, word in enumerate(_TENS_FROM_TWENTY.split(), start=2)},
    **{f"{w[:-1]}ieth": float(10 * n) for n, w in enumerate(_TENS_FROM_TWENTY.split(), start=2)},
    "a": 1.0,
    "an": 1.0,
    "single": 1.0,
    "once": 1.0,
    "both": 2.0,
    "pair": 2.0,
    "twice": 2.0,
    "double": 2.0,
    "triple": 3.0,
    "dozen": 12.0,
    "half": 0.5,
    "quarter": 0.25,
}
_ENGLISH_SCALES = {
    "decade": 1e1,
    "hundred": 1e2,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
_ENGLISH_WORD = re.compile(
    r"\b(?:" + "|".join([*_ENGLISH_VALUES, *_ENGLISH_SCALES, "and"]) + r")s?\b", re.IGNORECASE
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\b")
_ROMAN = re.compile(r"\b[IVXLC]{1,8}\b")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}

_CHINESE_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {
    "〇": 0,
    "两": 2,
    "半": 0.5,
}
_CHINESE_SMALL_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_RUN = re.compile("[零〇一二三四五六七八九两半十百千万亿]+")
_CHINESE_SUM = re.compile(r"([0-9]{1,6})亿([0-9]{1,4})万")


@dataclass(frozen=True)
class WrittenNumbers:
    """The numbers of one sentence.

    Attributes:
        required: One set of possible values per number in digits that must be answered.
        attached: The same for digits that belong to a name (`COVID-19`, `x86`) or head a list.
        spoken: Values written in words; they may answer, and need no answer.
    """

    required: tuple[frozenset[Value], ...]
    attached: tuple[frozenset[Value], ...]
    spoken: frozenset[Value]

    def values(self) -> set[Value]:
        """Every value that this side can answer with."""
        return set(self.spoken).union(*self.required, *self.attached)


def disagreement(english: str, chinese: str) -> float:
    """How strongly the numbers of two sentences contradict each other.

    Returns:
        0.0 when every number finds its counterpart. 1.0 when both sides hold a number in digits
        without one: they cannot both be right. Between, the share of unanswered numbers when only
        one side has such: translators do leave numbers out or write them in other words.
    """
    left, right = _read_english(english), _read_chinese(chinese)
    left_values, right_values = left.values(), right.values()
    left_lacks = [number for number in left.required if number.isdisjoint(right_values)]
    right_lacks = [number for number in right.required if number.isdisjoint(left_values)]
    left_hints = any(number.isdisjoint(right_values) for number in left.attached)
    right_hints = any(number.isdisjoint(left_values) for number in right.attached)
    if (left_lacks or left_hints) and (right_lacks or right_hints):
        return 1.0
    lacking = len(left_lacks) + len(right_lacks)
    return lacking / max(len(left.required), len(right.required)) if lacking else 0.0


def _read_english(text: str) -> WrittenNumbers:
    required, attached = _read_digits(text)
    spoken = {float(_MONTHS.index(match[1]) + 1) for match in _MONTH.finditer(text)}
    spoken.update(_english_words(text))
    spoken.update(_roman_value(match[0]) for match in _ROMAN.finditer(text))
    return WrittenNumbers(required, attached, frozenset(spoken))


def _read_chinese(text: str) -> WrittenNumbers:
    required, attached = _read_digits(_CHINESE_SUM.sub(_as_one_number, text))
    spoken: set[Value] = set()
    for match in _CHINESE_RUN.finditer(text):
        spoken.update(_chinese_values(match[0]))
    spoken.update(_roman_value(match[0]) for match in _ROMAN.finditer(text))
    return WrittenNumbers(required, attached, frozenset(spoken))


def _as_one_number(match: re.Match[str]) -> str:
    """`3亿5000万` is 350000000."""
    return str(int(match[1]) * 100_000_000 + int(match[2]) * 10_000)


def _read_digits(text: str) -> tuple[tuple[frozenset[Value], ...], tuple[frozenset[Value], ...]]:
    required: list[frozenset[Value]] = []
    attached: list[frozenset[Value]] = []
    for match in _DIGITS.finditer(text):
        belongs_to_name = _is_attached(text, match.start(), match.end())
        for begin, end in _pieces(match):
            values = frozenset(_alternatives(text, begin, end))
            (attached if belongs_to_name else required).append(values)
    return tuple(required), tuple(attached)


def _pieces(match: re.Match[str]) -> Iterator[tuple[int, int]]:
    """A grouped or decimal number is one piece; `1,2,3` and `3.11.2` are several."""
    if _GROUPED.match(match[0]) or _DECIMAL.match(match[0]):
        yield match.span()
        return
    begin = match.start()
    for piece in re.split("[.,]", match[0]):
        yield begin, begin + len(piece)
        begin += len(piece) + 1


def _is_attached(text: str, begin: int, end: int) -> bool:
    before, after = text[max(0, begin - 2) : begin], text[end : end + 1]
    if before[-1:].isascii() and before[-1:].isalpha():
        return True
    if before[-1:] == ":" and not text[begin:end].strip("0"):
        return True  # the minutes of a full hour, which the other side may leave out
    if before[-1:] in {"-", "_", "#"} and before[:1].isascii() and before[:1].isalpha():
        return True
    if text[begin:end] == "1":
        return True  # Chinese counts one thing where English has "a", "the" or nothing
    return not text[:begin].strip(" (（*•-") and after in {".", ")", "、", "）"}


def _alternatives(text: str, begin: int, end: int) -> Iterator[Value]:
    value = _plain_value(text[begin:end])
    yield value
    if isinstance(value, str):
        return
    after = text[end : end + 12]
    if scale := _SCALE.match(after):
        yield round(value * _SCALES[(scale.lastindex or 1) - 1], 4)
    if value <= _HOURS_PER_DAY and (
        _CLOCK_AFTER.match(after) or _CLOCK_BEFORE.search(text[:begin][-4:])
    ):
        yield from (value + 12, value - 12)
    if _DECADE.match(after):
        # The 1930s are 20世纪30年代.
        yield from (value % 100, value // 100 + 1)
    is_date_part = not _DATE_EDGES.isdisjoint(text[max(0, begin - 1) : begin] + after[:1])
    if end - begin == len("29") and is_date_part:
        yield from (1900 + value, 2000 + value)


def _plain_value(digits: str) -> Value:
    plain = digits.replace(",", "")
    if len(plain) > _LONGEST_EXACT or plain.count(".") > 1 or plain == ".":
        return plain
    return float(plain)


def _english_words(text: str) -> Iterator[float]:
    """Values of number words: each by itself and, where they stand together, as one number."""
    run: list[str] = []
    end_of_last = -2
    for match in _ENGLISH_WORD.finditer(text):
        if run and match.start() - end_of_last > 1:
            yield from _composed(run)
            run = []
        run.append(match[0].lower())
        end_of_last = match.end()
    yield from _composed(run)


def _composed(run: list[str]) -> Iterator[float]:
    total = current = 0.0
    for word in run:
        singular = word if word in _ENGLISH_VALUES else word.removesuffix("s")
        if singular in _ENGLISH_VALUES:
            yield _ENGLISH_VALUES[singular]
            current += _ENGLISH_VALUES[singular]
        elif singular in {"hundred", "decade"}:
            current = (current or 1.0) * _ENGLISH_SCALES[singular]
        elif singular in _ENGLISH_SCALES:
            total += (current or 1.0) * _ENGLISH_SCALES[singular]
            current = 0.0
    if total + current:
        yield total + current


def _roman_value(numeral: str) -> float:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    following = [*values[1:], 0]
    return float(sum(-v if v < n else v for v, n in zip(values, following, strict=True)))


def _chinese_values(run: str) -> Iterator[float]:
    """`二十五` is 25, `一九九九` is 1999, `三五` is 3 and 5."""
    yield from (float(_CHINESE_DIGITS[c]) for c in run if c in _CHINESE_DIGITS)
    if all(character in _CHINESE_DIGITS for character in run):
        if "半" not in run:
            yield float("".join(str(_CHINESE_DIGITS[c]) for c in run)[:_LONGEST_EXACT])
        return
    total = section = digit = 0.0
    for character in run:
        if character in _CHINESE_DIGITS:
            digit = float(_CHINESE_DIGITS[character])
        elif character in _CHINESE_SMALL_UNITS:
            section += (digit or 1.0) * _CHINESE_SMALL_UNITS[character]
            digit = 0.0
        elif character == "万":
            total += (section + digit or 1.0) * 1e4
            section = digit = 0.0
        else:
            total = (total + section + digit or 1.0) * 1e8
            section = digit = 0.0
    yield total + section + digit
