"""Dates, amounts, places and the like, said in English and in Chinese by the Unicode CLDR.

CLDR, which `babel` carries, knows how each language writes a value. Saying the same value in both
gives a true translation without a download. Each function here returns a `Generator`: give it a
random source and it draws a value and says it twice.

Values come from `random.Random.random` only, whose sequence Python guarantees across versions, and
every formatting call names its locale: neither the machine's locale nor its time zone nor the
Python version changes a byte.
"""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from babel import Locale, dates, lists, numbers, units

ENGLISH = Locale.parse("en")
CHINESE = Locale.parse("zh_CN")

FIRST_DAY = datetime.date(1990, 1, 1)
ALL_DAYS = 70 * 365  # to 2059, so that a two-digit year stays unambiguous
PAST_DAYS = 35 * 365

Period = Literal["second", "minute", "hour", "day", "week", "month", "year"]
# Seconds of a period, and the largest number of it that is said as "n periods ago".
PERIODS: dict[Period, tuple[int, int]] = {
    "second": (1, 59),
    "minute": (60, 59),
    "hour": (3_600, 23),
    "day": (86_400, 30),
    "week": (604_800, 8),
    "month": (2_629_800, 11),
    "year": (31_557_600, 40),
}

_Option = TypeVar("_Option")


class Pair(NamedTuple):
    """The same thing said in both languages."""

    english: str
    chinese: str


Generator = Callable[[random.Random], Pair]


def draw_index(rng: random.Random, stop: int) -> int:
    """An integer from 0 to `stop - 1`, from one call of `rng.random`."""
    return int(rng.random() * stop)


def draw(rng: random.Random, options: Sequence[_Option]) -> _Option:
    """One of the options."""
    return options[draw_index(rng, len(options))]


def _say(formatted: Callable[[Locale], str]) -> Pair:
    # CLDR's thin and non-breaking spaces would only double the forms a small model must learn.
    english, chinese = (
        formatted(locale).translate({0x2009: " ", 0x202F: " ", 0x00A0: " "})
        for locale in (ENGLISH, CHINESE)
    )
    return Pair(english, chinese)


def _draw_day(rng: random.Random, days: int) -> datetime.date:
    return FIRST_DAY + datetime.timedelta(days=draw_index(rng, days))


def _draw_moment(rng: random.Random, days: int, hours: range) -> datetime.datetime:
    day = _draw_day(rng, days)
    clock = datetime.time(draw(rng, hours), draw_index(rng, 60), tzinfo=datetime.timezone.utc)
    return datetime.datetime.combine(day, clock)


def date(style: Literal["full", "long", "short"], days: int = ALL_DAYS) -> Generator:
    """A day: `Monday, March 5, 2029` (full), `March 5, 2029` (long), `3/5/29` (short)."""

    def generate(rng: random.Random) -> Pair:
        day = _draw_day(rng, days)
        return _say(lambda locale: dates.format_date(day, style, locale=locale))

    return generate


def date_parts(skeleton: str, days: int = ALL_DAYS, hours: range = range(24)) -> Generator:
    """Some fields of a moment, by CLDR skeleton: `yMMMM` is `March 2029`, `hm` is `2:23 PM`."""

    def generate(rng: random.Random) -> Pair:
        moment = _draw_moment(rng, days, hours)
        return _say(lambda locale: dates.format_skeleton(skeleton, moment, locale=locale))

    return generate


def date_time(rng: random.Random) -> Pair:
    """A moment to the second: `Dec 17, 2024, 7:52:00 AM`, in Chinese with a 24-hour clock."""
    moment = _draw_moment(rng, ALL_DAYS, range(24))
    return _say(lambda locale: dates.format_datetime(moment, "medium", locale=locale))


def date_range(rng: random.Random) -> Pair:
    """Two days: `Mar 7 – Apr 3, 2039`, leaving out what both share."""
    first = _draw_day(rng, ALL_DAYS)
    last = first + datetime.timedelta(days=1 + draw_index(rng, 40))
    return _say(lambda locale: dates.format_interval(first, last, "yMMMd", locale=locale))


def duration(periods: Sequence[Period], most: int = 99) -> Generator:
    """A span of time in one unit: `3 weeks`."""

    def generate(rng: random.Random) -> Pair:
        period = draw(rng, periods)
        return _say_span(1 + draw_index(rng, most), period, add_direction=False)

    return generate


def time_ago(rng: random.Random) -> Pair:
    """A span counted back from now: `29 years ago`."""
    period = draw(rng, list(PERIODS))
    return _say_span(-1 - draw_index(rng, PERIODS[period][1]), period, add_direction=True)


def time_ahead(rng: random.Random) -> Pair:
    """A span counted forward from now: `in 47 seconds`."""
    period = draw(rng, list(PERIODS))
    return _say_span(1 + draw_index(rng, PERIODS[period][1]), period, add_direction=True)


def _say_span(count: int, period: Period, *, add_direction: bool) -> Pair:
    span = datetime.timedelta(seconds=count * PERIODS[period][0])
    # The high threshold keeps "45 days" from being said as "2 months".
    return _say(
        lambda locale: dates.format_timedelta(
            span, period, threshold=1000, add_direction=add_direction, locale=locale
        )
    )


def money(currencies: Sequence[str], style: Literal["name", "standard"]) -> Generator:
    """An amount with the currency's name (`5 euros`) or its symbol (`€5.00`)."""

    def generate(rng: random.Random) -> Pair:
        currency = draw(rng, currencies)
        amount = 1 + draw_index(rng, 10 ** (2 + draw_index(rng, 5)))
        is_whole = draw_index(rng, 2) == 0 or numbers.get_currency_precision(currency) == 0
        value = amount if is_whole else amount / 100
        return _say(
            lambda locale: numbers.format_currency(
                value, currency, locale=locale, format_type=style
            )
        )

    return generate


def quantity(rng: random.Random) -> float:
    """Small and large whole numbers, and numbers with one or two decimals."""
    most, decimals = draw(rng, ((999, 0), (99_999, 0), (9_999, 1), (9_999_999, 2)))
    number = 1 + draw_index(rng, most)
    return number / 10**decimals if decimals else number


@functools.cache
def _unit_length(unit: str, locale: Locale) -> Literal["long", "short"]:
    # Where CLDR's long form equals the short one, babel holds only the short one and would fall
    # back to printing the identifier.
    return "short" if unit in units.format_unit(1, unit, "long", locale=locale) else "long"


def measure(unit_names: Sequence[str]) -> Generator:
    """A quantity with its unit: `445 miles per hour`."""

    def generate(rng: random.Random) -> Pair:
        unit, value = draw(rng, unit_names), quantity(rng)
        return _say(
            lambda locale: units.format_unit(value, unit, _unit_length(unit, locale), locale=locale)
        )

    return generate


def percent(rng: random.Random) -> Pair:
    """A share from 0.1 % to 100 %, half of them whole: `55.1%`."""
    steps = draw(rng, (100, 1000))
    value = (1 + draw_index(rng, steps)) / steps
    return _say(lambda locale: numbers.format_percent(value, "#,##0.#%", locale=locale))


def head_count(rng: random.Random) -> Pair:
    """A number of people, from a hundred thousand to a hundred million."""
    people = 100_000 + draw_index(rng, 10 ** (5 + draw_index(rng, 4)))
    return _say(lambda locale: numbers.format_decimal(people, locale=locale))


def names(
    kind: Literal["territories", "languages"],
    codes: Sequence[str],
    smallest: int = 1,
    largest: int = 1,
) -> Generator:
    """A list of `smallest` to `largest` different names: `Norway, South Africa, and Chile`."""

    def generate(rng: random.Random) -> Pair:
        count = smallest + draw_index(rng, largest - smallest + 1)
        chosen: list[str] = []
        while len(chosen) < count:
            code = draw(rng, codes)
            if code not in chosen:
                chosen.append(code)
        return _say(
            lambda locale: lists.format_list(
                [getattr(locale, kind)[code] for code in chosen], locale=locale
            )
        )

    return generate


def sentence(english: str, chinese: str, **slots: Generator) -> Generator:
    """A frame whose slots hold the same values in both languages, no value twice."""

    def generate(rng: random.Random) -> Pair:
        filled = {name: fill(rng) for name, fill in slots.items()}
        while len(set(filled.values())) < len(filled):
            filled = {name: fill(rng) for name, fill in slots.items()}
        return Pair(
            english.format(**{name: pair.english for name, pair in filled.items()}),
            chinese.format(**{name: pair.chinese for name, pair in filled.items()}),
        )

    return generate
