"""What the demo corpus says, and how often: a table of small text generators.

One rule keeps it learnable in both directions by a model of a million weights: one English form
answers to one Chinese form. `Mar 5, 2029` and `March 5, 2029` would both be 2029年3月5日, so the
short month only occurs where Chinese differs too (周一, a clock time, a range of days).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from src.corpus.demo_values import (
    PAST_DAYS,
    PERIODS,
    Generator,
    Pair,
    date,
    date_parts,
    date_range,
    date_time,
    duration,
    head_count,
    measure,
    money,
    names,
    percent,
    sentence,
    time_ago,
    time_ahead,
)

SHOWCASE = Pair("Monday, March 5, 2029", "2029年3月5日星期一")
"""What the demo translates at its end; never in the corpus, so that it takes generalisation."""


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TERRITORIES = _codes(
    "CN US FR DE JP GB IT ES CA BR IN RU KR MX EG TH VN AU TR SE NO FI DK NL BE CH AT PL PT GR IE "
    "NZ ZA KE NG MA AR CL PE CO CU IR IQ IL SA PK BD NP LK LA KH MY SG ID PH MN KZ UA CZ"
)
# Those that stand in an English sentence without an article.
PLACES = tuple(code for code in TERRITORIES if code not in ("US", "GB", "NL", "PH"))
LANGUAGES = _codes(
    "zh en fr de ja es it pt ru ko ar hi th vi tr sv no fi da nl pl el he fa bn ne ms id mn uk cs "
    "hu ro bg sw la"
)
CURRENCIES = _codes(
    "CNY USD EUR JPY GBP KRW INR RUB BRL CAD AUD CHF SEK THB MXN SGD HKD NZD TRY ZAR"
)
MASSES = _codes(
    "mass-kilogram mass-gram mass-milligram mass-tonne mass-pound mass-ounce mass-carat"
)
LENGTHS = _codes(
    "length-kilometer length-meter length-centimeter length-millimeter length-mile length-foot "
    "length-inch length-nautical-mile"
)
MEASURES = (
    *MASSES,
    *LENGTHS,
    *_codes("area-square-kilometer area-square-meter area-hectare area-acre"),
    *_codes("volume-liter volume-milliliter volume-cubic-meter volume-gallon"),
    *_codes("speed-kilometer-per-hour speed-meter-per-second speed-mile-per-hour speed-knot"),
    *_codes("temperature-celsius temperature-fahrenheit"),
    *_codes("digital-kilobyte digital-megabyte digital-gigabyte digital-terabyte"),
    *_codes("power-watt power-kilowatt power-horsepower"),
    *_codes("energy-kilocalorie energy-kilowatt-hour"),
)

_FULL_DATE, _LONG_DATE = date("full"), date("long")
_DAY_WITH_WEEKDAY, _MONTH = date_parts("yMMMEd"), date_parts("yMMMM")
_CLOCK = date_parts("hm")
_PLACE, _LANGUAGE = names("territories", PLACES), names("languages", LANGUAGES)
_NAMED_PRICE = money(CURRENCIES, "name")


class Category(NamedTuple):
    """One kind of text.

    Attributes:
        name: Short name, for tests and statistics.
        weight: How often it is drawn, relative to the other categories.
        description: What it says.
        generate: Draws one pair.
    """

    name: str
    weight: int
    description: str
    generate: Generator


CATEGORIES = (
    Category("full_date", 6, "a day with its weekday, spelt out", _FULL_DATE),
    Category("long_date", 6, "a day", _LONG_DATE),
    Category("short_date", 2, "a day in digits; no Chinese characters", date("short")),
    Category("weekday_date", 4, "a day with its weekday, abbreviated", _DAY_WITH_WEEKDAY),
    Category("weekday_day", 2, "weekday and day without a year", date_parts("MMMEd")),
    Category("month", 2, "a month of a year", _MONTH),
    Category("quarter", 1, "a quarter of a year", date_parts("yQQQ")),
    Category("clock", 2, "a time of day", _CLOCK),
    Category("date_time", 4, "day and time; 12-hour clock against 24-hour clock", date_time),
    Category("date_range", 3, "from one day to another", date_range),
    Category("ago", 1, "how long ago", time_ago),
    Category("ahead", 1, "how long until", time_ahead),
    Category("duration", 2, "a span of time", duration(list(PERIODS))),
    Category("price", 6, "an amount with the currency's name", _NAMED_PRICE),
    Category("measure", 5, "a quantity with its unit", measure(MEASURES)),
    Category("places", 4, "a list of countries", names("territories", TERRITORIES, 2, 4)),
    Category("languages", 3, "a list of languages", names("languages", LANGUAGES, 2, 3)),
    Category(
        "meeting_day",
        3,
        "on which day a meeting is",
        sentence("The meeting is on {day}.", "会议定于{day}。", day=_FULL_DATE),
    ),
    Category(
        "meeting_start",
        3,
        "day and time of a meeting; the order differs",
        sentence(
            "The meeting starts at {time} on {day}.",
            "会议于{day}{time}开始。",
            day=_LONG_DATE,
            time=_CLOCK,
        ),
    ),
    Category(
        "price_tag",
        3,
        "an amount with the currency's symbol",
        sentence("The price is {price}.", "价格为{price}。", price=money(CURRENCIES, "standard")),
    ),
    Category(
        "ticket",
        3,
        "what somebody paid",
        sentence("She paid {price} for the ticket.", "她花了{price}买票。", price=_NAMED_PRICE),
    ),
    Category(
        "train",
        2,
        "when a train leaves",
        sentence("The train leaves at {time}.", "火车{time}出发。", time=_CLOCK),
    ),
    Category(
        "contract",
        2,
        "when a contract ends",
        sentence("The contract ends on {day}.", "合同于{day}到期。", day=_LONG_DATE),
    ),
    Category(
        "met",
        2,
        "how long ago people met",
        sentence("We met {span}.", "我们{span}见过面。", span=time_ago),
    ),
    Category(
        "far",
        2,
        "two distant countries",
        sentence("{here} is far from {there}.", "{here}离{there}很远。", here=_PLACE, there=_PLACE),
    ),
    Category(
        "flew",
        2,
        "a past journey; the order differs",
        sentence(
            "He flew from {here} to {there} on {day}.",
            "他于{day}从{here}飞往{there}。",
            here=_PLACE,
            there=_PLACE,
            day=date("long", PAST_DAYS),
        ),
    ),
    Category(
        "speaks",
        2,
        "which languages somebody speaks",
        sentence(
            "She speaks {spoken}.",
            "她会说{spoken}。",
            spoken=names("languages", LANGUAGES, 2, 3),
        ),
    ),
    Category(
        "learns",
        2,
        "which language a country learns",
        sentence(
            "Many people in {place} learn {language}.",
            "{place}有很多人学习{language}。",
            place=_PLACE,
            language=_LANGUAGE,
        ),
    ),
    Category(
        "package",
        2,
        "the weight of a package",
        sentence("The package weighs {mass}.", "包裹重{mass}。", mass=measure(MASSES)),
    ),
    Category(
        "distance",
        2,
        "a distance",
        sentence("The distance is {length}.", "距离为{length}。", length=measure(LENGTHS)),
    ),
    Category(
        "progress",
        2,
        "how much work is done",
        sentence("{share} of the work is done.", "工作已完成{share}。", share=percent),
    ),
    Category(
        "population",
        2,
        "the population of a country",
        sentence(
            "The population of {place} is {people}.",
            "{place}的人口为{people}。",
            place=_PLACE,
            people=head_count,
        ),
    ),
    Category(
        "inflation",
        2,
        "how prices rose in a past month; the order differs",
        sentence(
            "Prices rose by {share} in {month}.",
            "{month}物价上涨了{share}。",
            share=percent,
            month=date_parts("yMMMM", PAST_DAYS),
        ),
    ),
    Category(
        "reply",
        1,
        "by when to reply",
        sentence("Please reply by {day}.", "请在{day}之前回复。", day=_DAY_WITH_WEEKDAY),
    ),
    Category(
        "fares",
        2,
        "what flights to a country cost",
        sentence(
            "Flights to {place} cost {price}.",
            "飞往{place}的航班票价为{price}。",
            place=_PLACE,
            price=_NAMED_PRICE,
        ),
    ),
    Category(
        "opening_hours",
        1,
        "when a store is open",
        sentence(
            "The store is open from {first} to {last}.",
            "商店营业时间为{first}至{last}。",
            first=date_parts("hm", hours=range(6, 12)),
            last=date_parts("hm", hours=range(12, 24)),
        ),
    ),
    Category(
        "hotel",
        1,
        "for how long a hotel is booked",
        sentence(
            "The hotel in {place} is booked for {span}.",
            "{place}的酒店已预订{span}。",
            place=_PLACE,
            span=duration(["day", "week"], 30),
        ),
    ),
)

_WEIGHTS_SO_FAR = tuple(accumulate(category.weight for category in CATEGORIES))


def draw_pair(rng: random.Random) -> Pair:
    """One pair from the table, each category as often as its weight says."""
    point = rng.random() * _WEIGHTS_SO_FAR[-1]
    chosen = next(
        category
        for category, upper in zip(CATEGORIES, _WEIGHTS_SO_FAR, strict=True)
        if point < upper
    )
    return chosen.generate(rng)


def distinct_pairs(rng: random.Random) -> Iterator[Pair]:
    """Pairs without end in which no English and no Chinese side occurs twice, nor the showcase.

    The short forms run out first: the larger a corpus, the fewer of them it has.
    """
    english_seen, chinese_seen = {SHOWCASE.english}, {SHOWCASE.chinese}
    while True:
        pair = draw_pair(rng)
        if pair.english in english_seen or pair.chinese in chinese_seen:
            continue
        english_seen.add(pair.english)
        chinese_seen.add(pair.chinese)
        yield pair
