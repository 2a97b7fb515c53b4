"""The sentences of `evaluation.sets`, which no training pair may share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from src.corpus.normalise import Normaliser
from src.corpus.readers import (
    languages_in_file,
    open_tables,
    read_blocks,
    source_languages,
    source_names,
)
from src.corpus.texts import Texts
from src.errors import DataError
from src.languages import corpus_pairs
from src.schema.data import DataConfig, SourceConfig


def require_sets(sets: Sequence[SourceConfig], data: DataConfig) -> None:
    """Refuses sets that cannot be read, before hours are spent on filtering.

    Raises:
        DataError: Naming the set.
    """
    pairs = corpus_pairs(data.language_pairs)
    for source, name in zip(sets, source_names(sets), strict=True):
        if (languages := _languages_of(source, pairs)) is None:
            continue
        try:
            open_tables(source, name, data.chunk_size, languages)
        except DataError as error:
            raise DataError(f"evaluation.sets: {error}") from error


def evaluation_pairs(
    sets: Sequence[SourceConfig], languages: tuple[str, str], data: DataConfig
) -> Iterator[tuple[Texts, Texts]]:
    """Both sides of all sets in a pair of languages, repaired as the corpus is.

    Args:
        sets: Files of this machine.
        languages: Sets in other languages are left out.
        data: How text is repaired and which languages there are.

    Raises:
        DataError: If a set cannot be read.
    """
    pairs = corpus_pairs(data.language_pairs)
    normaliser = Normaliser(data.normalise, languages)
    for source, name in zip(sets, source_names(sets), strict=True):
        if _languages_of(source, pairs) != languages:
            continue
        for table in open_tables(source, name, data.chunk_size, languages):
            for first, count in table.ranges(data.chunk_size):
                for block in read_blocks(table, first, count, data.chunk_size):
                    yield normaliser.apply(block.left, block.right)


def _languages_of(source: SourceConfig, pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The pair of the corpus that a set belongs to; None: one that is not trained."""
    said = languages_in_file(source)
    if said is not None and not any({*said} == {*pair} for pair in pairs):
        return None
    return source_languages(source, pairs)
