"""Lengths, and characters that should not be there."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.scoring.block import Block, Scores
from src.corpus.scoring.marks import BROKEN, CLASSES, HAN, RARE_HAN, SPACE, SYMBOL
from src.corpus.utf8 import ONE, Bool, Codes

_MIN_RARE_HAN = 3
_SUSPICIOUS_RARE_SHARE = 0.25
_RUIN_FIRST, _RUIN_SECOND = ord("锟"), ord("斤")


@compiled
def measure_sizes(
    block: Block,
    class_worth: Scores,
    characters: Scores,
    ink: Scores,
    worth: Scores,
    punctuation: Scores,
) -> None:
    """Lengths of R rows.

    Args:
        block: R rows.
        class_worth: `[16]` words' worth of a character of each class.
        characters: `[R]` receives characters, markup included.
        ink: `[R]` receives characters that are neither markup nor white space.
        worth: `[R]` receives words' worths.
        punctuation: `[R]` receives the share of `ink` that is neither letter nor digit.
    """
    for row in range(len(ink)):
        total = 0.0
        for kind in range(CLASSES):
            total += block.counts[row, kind] * class_worth[kind]
        characters[row] = block.characters[row]
        worth[row] = total
        length = np.int64(block.starts[row + 1] - block.starts[row])
        inked = length - block.counts[row, SPACE]
        ink[row] = inked
        punctuation[row] = block.counts[row, SYMBOL] / max(inked, 1)


@compiled
def measure_encoding(block: Block, broken: Scores) -> None:
    """The share of characters of each row that only a wrong encoding explains.

    Those are U+FFFD, controls and private use; and Han characters where a quarter of them is
    rare, because UTF-8 read as GBK looks like that and no text does; and the ruins (`锟斤拷`) of
    U+FFFD read as GBK.

    Args:
        block: R rows.
        broken: `[R]` receives the shares.
    """
    for row in range(len(broken)):
        start, stop = block.starts[row], block.starts[row + 1]
        found, rare = block.counts[row, BROKEN], block.counts[row, RARE_HAN]
        han = block.counts[row, HAN] + rare
        is_gibberish = rare >= _MIN_RARE_HAN and rare > _SUSPICIOUS_RARE_SHARE * han
        if han > 0 and (is_gibberish or _is_ruined(block.codes, start, stop)):
            found += han
        broken[row] = found / max(np.int64(stop - start), 1)


@compiled_part
def _is_ruined(codes: Codes, start: np.uint64, stop: np.uint64) -> Bool:
    found = 0
    for place in range(start + ONE, stop):
        found |= (codes[place - ONE] == _RUIN_FIRST) & (codes[place] == _RUIN_SECOND)
    return found != 0
