"""Hashes of pieces of text, and sets of hashes that need no emptying between rows.

The hash of the piece from i to j is polynomial: with S[i] the hash of the first i characters,
S[i + 1] = S[i] * B + code[i], it is S[j] - S[i] * B**(j - i) modulo 2**64, so one pass over a text
gives the hash of every piece of it.

A set is an array with open addressing. Its entries hold 48 bits of hash and the 16-bit stamp of
the row that put them there; entries with another stamp count as empty. Two of a hundred pieces of
a row are taken for equal, though they differ, once in 10**10 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled, compiled_part
from src.corpus.scoring.marks import Folds
from src.corpus.utf8 import ONE, Bool, Codes, Int

Hashes = NDArray[np.uint64]
Places = NDArray[np.uint32]


class HashSet(NamedTuple):
    """Room for one set at a time.

    Attributes:
        entries: `[T]`, T a power of two and at least twice the number of members.
        stamps: `[1]` the stamp of the set it holds.
    """

    entries: Hashes
    stamps: NDArray[np.int64]

    @classmethod
    def for_members(cls, most: int) -> HashSet:
        """Room for so many members."""
        size = 1 << max(_SMALLEST_BITS, (2 * most - 1).bit_length())
        return cls(np.zeros(size, np.uint64), np.zeros(1, np.int64))


BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: 2**64 divided by the golden ratio
_BASE_SQUARED = np.uint64(int(BASE) ** 2 % 2**64)
_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_STAMP_BITS = 16
_ALL = np.uint64(2**64 - 1)
_STAMP_MASK = np.uint64(2**_STAMP_BITS - 1)
_HASH_MASK = ~_STAMP_MASK
_ROOM = 4  # entries per member, so that few places are taken when a member comes
_WORD_BITS = 64
_FIND_SHIFT = np.uint64(44)  # the low bits of a product know little of the text
_SMALLEST_BITS = 9  # the same for nearly all rows: how often a loop runs can be predicted
_BUCKET = 4
_ZERO, _TWO = np.uint64(0), np.uint64(2)


@cache
def powers(count: int) -> Hashes:
    """`[count]` B**k modulo 2**64."""
    table = np.full(count, BASE, np.uint64)
    table[0] = 1
    return np.cumprod(table, dtype=np.uint64)


@compiled_part
def sum_up(codes: Codes, start: np.uint64, stop: np.uint64, fold: Folds, sums: Hashes) -> None:
    """Goes on with the hashes of all beginnings, upper and lower case alike.

    Args:
        codes: `[C]` code points.
        start: First one to hash; what stands before is hashed already.
        stop: Place after the last one to hash.
        fold: See `fold_table`.
        sums: `[C + 1]` receives S.
    """
    # Two at a time, because each waits for the product of the one before it.
    total, place = sums[start], start
    while place + ONE < stop:
        first, second = _letter(codes[place], fold), _letter(codes[place + ONE], fold)
        sums[place + ONE] = total * BASE + first
        total = total * _BASE_SQUARED + (first * BASE + second)
        place += _TWO
        sums[place] = total
    if place < stop:
        sums[place + ONE] = total * BASE + _letter(codes[place], fold)


@compiled_part
def _letter(code: np.uint32, fold: Folds) -> np.uint64:
    """What a character adds to a hash; never 0, so that repeated characters count."""
    return (np.uint64(fold[code]) if code < len(fold) else np.uint64(code)) + ONE


@compiled_part
def hash_words(
    sums: Hashes,
    powers: Hashes,
    begins: Places,
    ends: Places,
    digests: Hashes,
    first: np.uint64,
    last: np.uint64,
) -> None:
    """Hashes the words from `first` to `last`.

    Args:
        sums: `[C + 1]` hashes of beginnings.
        powers: Powers of the base.
        begins: First character of each word.
        ends: Place after its last.
        digests: Receives the hashes.
        first: First word to hash.
        last: The word after the last.
    """
    for word in range(first, last):
        begin, end = begins[word], ends[word]
        digests[word] = sums[end] - sums[begin] * powers[end - begin]


@compiled_part
def piece(sums: Hashes, powers: Hashes, begin: Int, end: Int) -> np.uint64:
    """The hash of the characters from `begin` to `end`."""
    return np.uint64(sums[end] - sums[begin] * powers[end - begin])


@compiled
def new_set(
    entries: Hashes, stamps: NDArray[np.int64], members: Int
) -> tuple[np.uint64, np.uint64]:
    """Begins an empty set that will have so many members at most.

    Returns:
        The stamp and the shift that `insert` and `contains` need.
    """
    stamps[0] += 1
    if stamps[0] >> _STAMP_BITS:
        entries[:] = _ZERO
        stamps[0] = 1
    bits = _SMALLEST_BITS
    while (1 << bits) < _ROOM * members and (1 << bits) < len(entries):
        bits += 1
    return np.uint64(stamps[0]), np.uint64(_WORD_BITS - bits)


@compiled
def insert(entries: Hashes, stamp: np.uint64, shift: np.uint64, digest: np.uint64) -> Bool:
    """Puts a hash into a set; returns whether it is new there."""
    product = digest * _MULTIPLIER
    entry = (product & _HASH_MASK) | stamp
    last = _ALL >> shift
    place = product >> shift
    while (entries[place] ^ stamp) & _STAMP_MASK == _ZERO:
        if entries[place] == entry:
            return False
        place = (place + ONE) & last
    entries[place] = entry
    return True


@compiled
def contains(entries: Hashes, stamp: np.uint64, shift: np.uint64, digest: np.uint64) -> Bool:
    """Whether a hash was put into a set."""
    product = digest * _MULTIPLIER
    entry = (product & _HASH_MASK) | stamp
    last = _ALL >> shift
    place = product >> shift
    while (entries[place] ^ stamp) & _STAMP_MASK == _ZERO:
        if entries[place] == entry:
            return True
        place = (place + ONE) & last
    return False


def digest_of(word: str) -> int:
    """The hash of a whole word, as `piece` gives it."""
    digest = 0
    for character in word.lower():
        digest = (digest * int(BASE) + ord(character) + 1) % 2**_WORD_BITS
    return digest


def word_table(words: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """A set of words that does not change, for `find`.

    Returns:
        `[S]` hashes, 0 where there is none, and `[S]` the index of the word in `words`, else -1.
    """
    buckets = 1 << len(words).bit_length()
    while True:
        hashes = np.zeros((buckets, _BUCKET), np.uint64)
        indices = np.full((buckets, _BUCKET), -1, np.int64)
        taken = np.zeros(buckets, np.int64)
        for index, word in enumerate(words):
            product = digest_of(word) * int(_MULTIPLIER) % 2**_WORD_BITS
            bucket = product >> int(_FIND_SHIFT) & buckets - 1
            if taken[bucket] < _BUCKET:
                hashes[bucket, taken[bucket]] = digest_of(word)
                indices[bucket, taken[bucket]] = index
            taken[bucket] += 1
        if taken.max(initial=0) <= _BUCKET:
            return hashes.ravel(), indices.ravel()
        buckets *= 2


@compiled_part
def find(hashes: Hashes, digest: np.uint64) -> Int:
    """The place of a hash in the first result of `word_table`, or -1."""
    # All entries of a bucket are looked at, because branches on the text cannot be predicted.
    last = np.uint64(len(hashes) // _BUCKET - 1)
    bucket = np.int64((digest * _MULTIPLIER >> _FIND_SHIFT) & last) * _BUCKET
    place = np.int64(-1)
    for entry in range(_BUCKET):
        place = bucket + entry if hashes[np.uint64(bucket + entry)] == digest else place
    return place
