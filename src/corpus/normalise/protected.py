r"""Code, addresses, placeholders and roles (`:class:`name``), whose punctuation is not prose.

As a regular expression, of which the leftmost match counts:

    `+[^`]*`+ | [A-Za-z]+://\S+ | :[\w+.:-]+:`[^`]*` | {[^{}]*} | <[^<>]*>
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.compiled import compiled_part
from src.corpus.normalise.rules import TABLE_SIZE
from src.corpus.utf8 import Bool, Codes, Int

Letters = NDArray[np.bool_]

_TICK, _COLON, _SLASH, _SPACE = ord("`"), ord(":"), ord("/"), ord(" ")
_UNDERSCORE = ord("_")
_BRACE_OPEN, _LESS = ord("{"), ord("<")
_BRACE_CLOSE, _GREATER = np.int64(ord("}")), np.int64(ord(">"))
_ROLE_MARKS = (ord("+"), ord("."), ord(":"), ord("-"))
_ASCII_END = 0x80
_ASCII_SPACES = ((0x09, 0x0D), (0x1C, 0x20))
_WIDE_SPACES = (0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
_TYPOGRAPHIC_FIRST, _TYPOGRAPHIC_LAST = 0x2000, 0x200A
_A, _Z, _CASE = ord("a"), ord("z"), ord("a") - ord("A")


@compiled_part
def is_white(code: Int) -> Bool:
    """`str.isspace`."""
    if code < _ASCII_END:
        is_space: Bool = False
        for first, last in _ASCII_SPACES:
            is_space |= first <= code <= last
        return is_space
    return _TYPOGRAPHIC_FIRST <= code <= _TYPOGRAPHIC_LAST or code in _WIDE_SPACES


@compiled_part
def is_word(code: Int, letters: Letters) -> Bool:
    r"""`\w` of regular expressions."""
    return code == _UNDERSCORE or (code < TABLE_SIZE and letters[code])


@compiled_part
def next_protected(codes: Codes, begin: Int, length: Int, letters: Letters) -> tuple[Int, Int]:
    """The next protected piece.

    Args:
        codes: Code points of a text.
        begin: Where to look from.
        length: Of the text.
        letters: `[0x40000]` whether each code point is a letter or digit.

    Returns:
        Where it begins and ends; twice the length where there is none.
    """
    place, role_from = begin, begin
    while place < length:
        code = np.int64(codes[place])
        end = place
        if code == _TICK:
            end = _code_end(codes, place, length)
        elif code == _COLON and place >= role_from:
            end, role_from = _role_end(codes, place, length, letters)
        elif code == _BRACE_OPEN:
            end = _bracket_end(codes, place, length, _BRACE_CLOSE)
        elif code == _LESS:
            end = _bracket_end(codes, place, length, _GREATER)
        elif _is_latin(code):
            word_end = place
            while word_end < length and _is_latin(np.int64(codes[word_end])):
                word_end += 1
            end = _address_end(codes, word_end, length)
            if end == word_end:
                place = word_end  # no address begins within the word, either
                continue
        if end > place:
            return place, end
        place += 1
    return length, length


@compiled_part
def _is_latin(code: Int) -> Bool:
    return _A <= code <= _Z or _A <= code + _CASE <= _Z


@compiled_part
def _code_end(codes: Codes, place: Int, length: Int) -> Int:
    """The end of what ticks at `place` enclose; `place` where they enclose nothing."""
    inside = place
    while inside < length and codes[inside] == _TICK:
        inside += 1
    end = inside
    while end < length and codes[end] != _TICK:
        end += 1
    if end == length:
        return inside if inside > place + 1 else place
    while end < length and codes[end] == _TICK:
        end += 1
    return end


@compiled_part
def _address_end(codes: Codes, place: Int, length: Int) -> Int:
    """The end of an address whose `://` is at `place`; `place` where there is none."""
    is_address = (
        place + 3 < length
        and codes[place] == _COLON
        and codes[place + 1] == _SLASH
        and codes[place + 2] == _SLASH
        and not is_white(np.int64(codes[place + 3]))
    )
    if not is_address:
        return place
    end = place + 3
    while end < length and not is_white(np.int64(codes[end])):
        end += 1
    return end


@compiled_part
def _role_end(codes: Codes, place: Int, length: Int, letters: Letters) -> tuple[Int, Int]:
    """The end of a role at `place`, or `place`; and from where on another may begin."""
    tick = place + 1
    while tick < length and (codes[tick] in _ROLE_MARKS or is_word(np.int64(codes[tick]), letters)):
        tick += 1
    if tick < length and codes[tick] == _TICK and codes[tick - 1] == _COLON and tick > place + 2:
        end = tick + 1
        while end < length and codes[end] != _TICK:
            end += 1
        if end < length:
            return end + 1, end + 1
    return place, tick


@compiled_part
def _bracket_end(codes: Codes, place: Int, length: Int, closing: Int) -> Int:
    """The end of brackets that hold no other; `place` where they do not close."""
    opening = codes[place]
    end = place + 1
    while end < length and codes[end] != closing:
        if codes[end] == opening:
            return place
        end += 1
    return end + 1 if end < length else place
