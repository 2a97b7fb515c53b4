"""Which files a source names, and what it is called in reports."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.corpus.readers.labels import language_of
from src.errors import DataError
from src.files import expand_home
from src.languages import split_direction
from src.schema.data import SourceConfig

_BRACES = re.compile(r"\{([^{},]+),([^{},]+)\}")
_MAGIC = re.compile(r"[*?\[]")
_WILDCARD = re.compile(r"(\*\*/|\*|\?|\[[^\]]+\])")
_WILDCARD_PATTERNS = {"**/": "((?:.*/)?)", "*": "([^/]*)", "?": "([^/])"}


class Sides(NamedTuple):
    """The two halves of a path with braces, such as `corpus/train.{en,zh}`.

    Attributes:
        labels: What stands in the braces.
        patterns: The path with one and with the other.
    """

    labels: tuple[str, str]
    patterns: tuple[str, str]


def sides_of(path: str) -> Sides | None:
    """The two halves, or None where a path has no braces."""
    found = _BRACES.search(path)
    if found is None:
        return None
    labels = found[1], found[2]
    return Sides(labels, (path.replace(found[0], labels[0]), path.replace(found[0], labels[1])))


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def has_wildcards(path: str) -> bool:
    """Whether a path names many files."""
    return _MAGIC.search(path) is not None


def find_files(source: SourceConfig) -> list[tuple[Path, ...]]:
    """The files a source names, sorted; pairs of files for Moses, in the order of the braces.

    Raises:
        DataError: If there is none.
    """
    if is_remote(source.path):
        raise DataError(f"{source.path}: is a URL; fetch it before looking for files")
    sides = sides_of(source.path)
    if sides is None:
        return [(path,) for path in _expand(source.path)]
    literal = tuple(map(expand_home, sides.patterns))
    if all(path.is_file() for path in literal):  # brackets may be part of a name
        return [literal]
    first, second = (_by_wildcards(pattern) for pattern in sides.patterns)
    lonely = sorted({*first} ^ {*second})
    if lonely:
        path = first.get(lonely[0]) or second[lonely[0]]
        raise DataError(
            f"{path}: has no partner in the other language; {source.path} names pairs of files"
        )
    return [(first[key], second[key]) for key in first]


def _by_wildcards(pattern: str) -> dict[tuple[str, ...], Path]:
    """Files by what their wildcards stand for, which partners have in common."""
    pieces = _WILDCARD.split(str(expand_home(pattern)))
    expression = "".join(
        _expression_of(piece) if place % 2 else re.escape(piece)
        for place, piece in enumerate(pieces)
    )
    files = {}
    for path in _expand(pattern):
        found = re.fullmatch(expression, str(path))
        files[found.groups() if found else (str(path),)] = path
    return files


def _expression_of(wildcard: str) -> str:
    """A group of a regular expression that stands for the same."""
    if wildcard in _WILDCARD_PATTERNS:
        return _WILDCARD_PATTERNS[wildcard]
    is_negated = wildcard.startswith("[!")
    characters = wildcard[1 + is_negated : -1].replace("\\", r"\\")
    # In wildcards "^" and a second "[" are characters as others, and nothing matches a slash.
    characters = re.sub(r"[\^\[]", r"\\\g<0>", characters)
    return f"([{'^/' * is_negated}{characters}])"


def _expand(pattern: str) -> list[Path]:
    path = expand_home(pattern)
    if path.exists() or not has_wildcards(pattern):
        return [_require_file(path)]
    anchor = Path(path.anchor) if path.is_absolute() else Path()
    found = sorted(anchor.glob(str(path.relative_to(path.anchor))))
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise DataError(f"{pattern}: matches no file; check the path")
    return files


def _require_file(path: Path) -> Path:
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a file; name its files, e.g. {path}/*.tsv")
    if not path.exists():
        raise DataError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise DataError(f"{path}: is a pipe or device; write what it gives to a file first")
    return path


def source_names(sources: Sequence[SourceConfig]) -> list[str]:
    """A name per source for reports: the configured one, or the file name without its suffixes.

    Equal names get their folder in front, then a number.
    """
    names: list[str] = []
    for source in sources:
        location = source.path.partition("?")[0] if is_remote(source.path) else source.path
        path = Path(_BRACES.sub("", location))
        stem = path.name.split(".", maxsplit=1)[0].strip("*?-_") or path.parent.name
        candidates = [source.name or stem or source.path]
        candidates.append(f"{path.parent.name}/{candidates[0]}")
        candidates += [f"{candidates[0]}-{number}" for number in range(2, len(sources) + 2)]
        names.append(next(name for name in candidates if name not in names))
    return names


def source_languages(source: SourceConfig, pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The pair of languages of the corpus that a source belongs to.

    Args:
        source: Says it itself (`languages`), or names a language on each Moses file.
        pairs: All pairs of the corpus; the first one where the source does not say.

    Raises:
        DataError: If it says a pair that the corpus does not have.
    """
    said = languages_in_file(source)
    if said is None:
        return pairs[0]
    for pair in pairs:
        if {*pair} == {*said}:
            return pair
    known = ", ".join("-".join(pair) for pair in pairs)
    raise DataError(
        f"{source.path}: is {said[0]}-{said[1]}, and data.language_pairs has {known}; add it there "
        "or remove the source"
    )


def languages_in_file(source: SourceConfig) -> tuple[str, str] | None:
    """The two languages in the order of the files' columns or names; None where nothing says it."""
    sides = sides_of(source.path)
    if sides is not None:
        first, second = map(language_of, sides.labels)
        if first is not None and second is not None and first != second:
            return first, second
    return None if source.languages is None else split_direction(source.languages)
