"""The sentences of `evaluation.sets`, which no training pair may share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from src.corpus.normalise import Normaliser
from src.corpus.readers import open_tables, read_blocks, source_languages, source_names
from src.corpus.texts import Texts
from src.languages import corpus_pairs
from src.schema.data import DataConfig, SourceConfig


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
        if source_languages(source, pairs) != languages:
            continue
        for table in open_tables(source, name, data.chunk_size, languages):
            for first, count in table.ranges(data.chunk_size):
                for block in read_blocks(table, first, count, data.chunk_size):
                    yield normaliser.apply(block.left, block.right)
