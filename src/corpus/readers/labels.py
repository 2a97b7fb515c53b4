"""How files name languages: `zh`, `zh_CN`, `cmn`, `Chinese` all mean `zh`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from src.languages import LANGUAGES

_CODES = {
    name: language.code
    for language in LANGUAGES.values()
    for name in (language.code, language.name.casefold(), *language.aliases)
}


@lru_cache(maxsize=1024)
def language_of(label: str) -> str | None:
    """Code of the language that a label names: by code, alias or English name, in any case.

    A region or script may follow, as in `en-AU` or `zh_Hant_HK`.
    """
    name = label.strip().casefold().replace("_", "-")
    return _CODES.get(name) or _CODES.get(name.partition("-")[0])


def find_labels(labels: Iterable[str], languages: tuple[str, str]) -> tuple[int | None, int | None]:
    """Place of the first label of each of two languages."""
    codes = [language_of(label) for label in labels]
    left, right = (codes.index(code) if code in codes else None for code in languages)
    return left, right
