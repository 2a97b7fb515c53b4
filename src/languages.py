"""The languages that can be paired: what they are called and which script they are written in.

Only facts that hold for every part stand here. What is done to a language (punctuation, number
words, function words) belongs to the part that does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Script = Literal[
    "latin",
    "han",
    "japanese",
    "hangul",
    "cyrillic",
    "greek",
    "arabic",
    "hebrew",
    "thai",
    "devanagari",
]


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        code: ISO 639-1, as in `en-zh`.
        name: In English, as prompts and messages say it.
        script: What most of its letters are. Japanese mixes kana and Han.
        aliases: Other names of its column in a table, in lower case.
    """

    code: str
    name: str
    script: Script
    aliases: tuple[str, ...] = ()


_LANGUAGES = (
    Language("en", "English", "latin", ("eng", "en-us", "en-gb")),
    Language("zh", "Chinese", "han", ("zho", "cmn", "zh-cn", "zh-hans", "zh-tw", "zh-hant")),
    Language("ar", "Arabic", "arabic", ("ara",)),
    Language("cs", "Czech", "latin", ("ces",)),
    Language("de", "German", "latin", ("deu",)),
    Language("el", "Greek", "greek", ("ell",)),
    Language("es", "Spanish", "latin", ("spa",)),
    Language("fr", "French", "latin", ("fra",)),
    Language("he", "Hebrew", "hebrew", ("heb",)),
    Language("hi", "Hindi", "devanagari", ("hin",)),
    Language("id", "Indonesian", "latin", ("ind",)),
    Language("it", "Italian", "latin", ("ita",)),
    Language("ja", "Japanese", "japanese", ("jpn",)),
    Language("ko", "Korean", "hangul", ("kor",)),
    Language("nl", "Dutch", "latin", ("nld",)),
    Language("pl", "Polish", "latin", ("pol",)),
    Language("pt", "Portuguese", "latin", ("por", "pt-br")),
    Language("ru", "Russian", "cyrillic", ("rus",)),
    Language("th", "Thai", "thai", ("tha",)),
    Language("tr", "Turkish", "latin", ("tur",)),
    Language("uk", "Ukrainian", "cyrillic", ("ukr",)),
    Language("vi", "Vietnamese", "latin", ("vie",)),
)
LANGUAGES = {language.code: language for language in _LANGUAGES}
"""Every language by its code."""


def split_direction(direction: str) -> tuple[str, str]:
    """The two codes of a direction or pair such as `en-zh`.

    Raises:
        ValueError: If it is not two different known languages; says what would be.
    """
    source, separator, target = direction.partition("-")
    unknown = [code for code in (source, target) if code not in LANGUAGES]
    if not separator or source == target or (unknown and "-" in target):
        raise ValueError(f"'{direction}' is not two languages; write them as en-zh")
    if unknown:
        known = ", ".join(sorted(LANGUAGES))
        raise ValueError(f"'{direction}': language '{unknown[0]}' is not known; use one of {known}")
    return source, target


def corpus_pairs(directions: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The pairs of languages that directions need text of, each as its first direction writes it.

    `en-zh` and `zh-en` share one corpus: (en, zh).
    """
    pairs: list[tuple[str, str]] = []
    for direction in directions:
        source, target = split_direction(direction)
        if (source, target) not in pairs and (target, source) not in pairs:
            pairs.append((source, target))
    return tuple(pairs)
