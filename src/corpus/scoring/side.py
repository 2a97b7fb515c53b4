"""Everything that is measured on one side of a pair by itself."""

from __future__ import annotations

from typing import NamedTuple

from src.corpus.scoring.block import LONGEST, Block, Scores
from src.corpus.scoring.hashing import HashSet, powers
from src.corpus.scoring.language import measure_foreign, measure_scripts
from src.corpus.scoring.marks import fold_table
from src.corpus.scoring.pair import Pair, Side
from src.corpus.scoring.reading import ReadingTables, read_texts
from src.corpus.scoring.repetition import measure_repetition
from src.corpus.scoring.sizes import measure_encoding, measure_sizes
from src.corpus.texts import Texts


class SideScores(NamedTuple):
    """What is known of each of N texts, all float64 `[N]`.

    Attributes:
        characters: Characters, markup included.
        ink: Characters that are neither markup nor white space.
        worth: Length in words' worths.
        repetition: Share of pieces that stood there before.
        looping: Share of pieces or words that stood there three times before.
        punctuation: Share that is neither letter nor digit.
        encoding: Share that only a wrong encoding explains.
        script: Share in the side's own script.
        partner: Share in the other side's script.
        foreign: Share in other languages.
        vocabulary: Share of distinct units.
    """

    characters: Scores
    ink: Scores
    worth: Scores
    repetition: Scores
    looping: Scores
    punctuation: Scores
    encoding: Scores
    script: Scores
    partner: Scores
    foreign: Scores
    vocabulary: Scores


def measure_side(
    texts: Texts, pair: Pair, side: Side, block: Block, room: HashSet, scores: SideScores
) -> None:
    """Reads a slice of one side into its block and measures it.

    Args:
        texts: R texts, no more than a block has room for.
        pair: The languages.
        side: The language of the texts.
        block: Receives the texts.
        room: Scratch.
        scores: `[R]` receives the scores.
    """
    table = powers(LONGEST + 1)
    length = side.facts.piece_length
    read_texts(texts.data, texts.offsets, ReadingTables(pair.marks, fold_table(), table), block)
    measure_sizes(
        block, pair.worth, scores.characters, scores.ink, scores.worth, scores.punctuation
    )
    measure_encoding(block, scores.encoding)
    measure_repetition(
        block, length, table[length], room, scores.repetition, scores.looping, scores.vocabulary
    )
    measure_scripts(block, pair.units, side.facts, scores.script, scores.partner)
    measure_foreign(block, side.tables, side.facts, scores.foreign)
