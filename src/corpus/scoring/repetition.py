"""How a side repeats itself: pieces, words and units that come again."""

from __future__ import annotations

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.scoring.block import Block, Scores
from src.corpus.scoring.hashing import Hashes, HashSet, insert, new_set
from src.corpus.scoring.marks import CLASS_MASK, HAN, HAN_CLASSES, RARE_HAN, Marks
from src.corpus.utf8 import ONE, Codes, Int

_LOOP_TIMES = 4
_MIN_VOCABULARY_UNITS = 8
_NONE = np.uint64(0)
_WORD, _BITS = np.uint64(6), np.uint64(63)  # 64 bits, and the number of one among them


@compiled
def measure_repetition(
    block: Block,
    piece_length: Int,
    power: np.uint64,
    room: HashSet,
    repetition: Scores,
    looping: Scores,
    vocabulary: Scores,
) -> None:
    """How much of each row was said before in the same row.

    Args:
        block: R rows.
        piece_length: Characters of a piece; shorter repeats are ordinary language.
        power: The base of the hashes to the power of that length.
        room: Scratch.
        repetition: `[R]` receives the share of pieces that stood earlier in the row.
        looping: `[R]` receives the share of pieces that stood there at least three times, or of
            words that belong to a run of four equal ones or more, whichever is larger.
        vocabulary: `[R]` receives the share of distinct units (words, Han characters); 1.0 where
            there are fewer than 8.
    """
    entries, stamps, repeated = room.entries, room.stamps, block.repeated
    for row in range(len(repetition)):
        start, stop = block.starts[row], block.starts[row + 1]
        first, last = block.word_starts[row], block.word_starts[row + 1]
        length = np.int64(stop - start)
        pieces = np.int64(length - piece_length + 1 if length >= piece_length else 0)
        stamp, shift = new_set(entries, stamps, pieces)
        again = _repeated_pieces(
            block.sums,
            start,
            start + np.uint64(pieces),
            (np.uint64(piece_length), power, stamp, shift),
            entries,
            repeated,
        )
        total = np.int64(pieces if pieces else 1)
        repetition[row] = again / total
        for _ in range(_LOOP_TIMES - 2 if again else 0):
            stamp, shift = new_set(entries, stamps, again)
            again = _keep_repeated(repeated, again, entries, stamp, shift)
        looping[row] = max(again / total, _stutter(block.digests, first, last))
        words = np.int64(last - first)
        units = words + block.counts[row, HAN] + block.counts[row, RARE_HAN]
        vocabulary[row] = 1
        if units >= _MIN_VOCABULARY_UNITS:
            stamp, shift = new_set(entries, stamps, units)
            distinct = _distinct_words(block.digests, first, last, entries, stamp, shift)
            if units > words:
                distinct += _distinct_han(block.codes, block.marks, start, stop, block.met)
            vocabulary[row] = distinct / units


@compiled_part
def _repeated_pieces(
    sums: Hashes,
    start: np.uint64,
    stop: np.uint64,
    about: tuple[np.uint64, np.uint64, np.uint64, np.uint64],
    entries: Hashes,
    repeated: Hashes,
) -> Int:
    """Lists the pieces of a text that stood there before.

    Args:
        sums: Hashes of beginnings.
        start: Where the first piece begins.
        stop: The place after that where the last piece begins.
        about: Length of a piece, the base to the power of it, and stamp and shift of a new set.
        entries: Entries of the set.
        repeated: Receives the hashes of the pieces.

    Returns:
        How many there are.
    """
    length, power, stamp, shift = about
    again = _NONE
    for begin in range(start, stop):
        digest = sums[begin + length] - sums[begin] * power
        if not insert(entries, stamp, shift, digest):
            repeated[again] = digest
            again += ONE
    return np.int64(again)


@compiled_part
def _keep_repeated(
    digests: Hashes, count: Int, entries: Hashes, stamp: np.uint64, shift: np.uint64
) -> Int:
    """Removes the first of each of equal hashes; returns how many remain."""
    kept = 0
    for index in range(count):
        digest = digests[index]
        digests[kept] = digest
        kept += not insert(entries, stamp, shift, digest)
    return kept


@compiled_part
def _stutter(digests: Hashes, first: np.uint64, last: np.uint64) -> float:
    """The share of words that belong to a run of four equal ones or more."""
    run, continued = 1, 0
    for word in range(first + ONE, last):
        run = run + 1 if digests[word] == digests[word - ONE] else 1
        continued += run >= _LOOP_TIMES
    # A run of k equal words shows up k - 3 times, yet all of it is noise.
    return float((continued + _LOOP_TIMES - 1) / np.int64(last - first)) if continued else 0.0


@compiled_part
def _distinct_words(
    digests: Hashes,
    first: np.uint64,
    last: np.uint64,
    entries: Hashes,
    stamp: np.uint64,
    shift: np.uint64,
) -> Int:
    distinct: Int = 0
    for word in range(first, last):
        distinct += insert(entries, stamp, shift, digests[word])
    return distinct


@compiled_part
def _distinct_han(
    codes: Codes, marks: Marks, start: np.uint64, stop: np.uint64, met: Hashes
) -> Int:
    """Counts the different Han characters of a text; see `Block` for `met`."""
    distinct = _NONE
    for place in range(start, stop):
        code = np.uint64(codes[place])
        is_han = np.uint64(HAN_CLASSES >> (marks[place] & CLASS_MASK) & 1)
        others = met[code >> _WORD]
        distinct += is_han & ~(others >> (code & _BITS))
        met[code >> _WORD] = others | is_han << (code & _BITS)
    for place in range(start, stop):
        met[np.uint64(codes[place]) >> _WORD] = _NONE
    return np.int64(distinct)
