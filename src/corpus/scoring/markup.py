r"""What is not language in a sentence: tags, addresses, link targets, code, templates.

Each scanner says where a piece of markup that begins at a place ends, and says the place itself
when none does. They find what these expressions find, tried in this order at every place:

    </?[A-Za-z][^<>]*>                  HTML and XML tags
    [A-Za-z]+://[^\s<>()]+              addresses
    \]\([^()\s]*(?:\s"[^"]*")?\)        the target of a Markdown link
    \{\{.*?\}\}                         template calls
    \{#[\w-]+\}                         anchors of headings
    (?::[\w+.:-]+:)?(?:``[^`]{1,80}``|`[^`]{1,80}`)    code and roles such as :class:`list`

but in time proportional to the length of any text. Addresses and roles are found by what is rare in
them, the slash and the backtick, and taken back from what was kept of the text before.
"""

from __future__ import annotations

import numpy as np

from src.compiled import compiled, compiled_part
from src.corpus.scoring.marks import CLASS_MASK, MARKUP, SPACE, WORD, Marks
from src.corpus.utf8 import ONE, START, Bool, Codes, Int

_BLANK = ord(" ")
_LINE_FEED = ord("\n")
_LESS, _MORE = ord("<"), ord(">")
_BACKTICK = ord("`")
_COLON, _SLASH = ord(":"), ord("/")
_OPEN, _CLOSE = ord("("), ord(")")
_BRACE, _END_BRACE = ord("{"), ord("}")
_BRACKET_CLOSE = ord("]")
_HASH, _QUOTE, _HYPHEN, _PLUS, _STOP = ord("#"), ord('"'), ord("-"), ord("+"), ord(".")
_LOWER_A, _LOWER_Z, _CASE = ord("a"), ord("z"), 0x20
_LONGEST_CODE = 80
# White space in regular expressions but of another class here.
_SPACING_CONTROLS = (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F, 0x85)


@compiled
def strip_markup(codes: Codes, marks: Marks) -> Int:
    """Replaces each piece of markup by a space, in place.

    Args:
        codes: `[C]` code points of one text.
        marks: `[C]` their class and flags.

    Returns:
        The new length.
    """
    length = len(codes)
    after_markup: Int = START
    template_end: Int = START
    place: Int = START
    place = _next_candidate(marks, place, length)
    kept: Int = place
    while place < length:
        end: Int = place
        taken_back: Int = START
        if marks[place] & MARKUP:
            if codes[place] == _SLASH:
                end, taken_back = _address(codes, marks, place, length, after_markup, kept)
            elif codes[place] == _BACKTICK:
                end = _code_end(codes, place, length)
                taken_back = _role_before(codes, marks, after_markup, kept) if end > place else 0
            elif codes[place] == _BRACE:
                template_end = _template_stop(codes, place, length, template_end)
                end = _brace_end(codes, marks, place, length, template_end)
            else:
                end = _bracket_end(codes, marks, place, length)
        if end > place:
            kept -= taken_back
            codes[kept] = _BLANK
            marks[kept] = SPACE
            kept += 1
            after_markup = kept
            place = end
            first = place
        else:
            first = place
            place += 1
        place = _next_candidate(marks, place, length)
        if kept < first:
            _move(codes, first, place, kept)
            _move(marks, first, place, kept)
        kept += place - first
    return kept


@compiled_part
def _next_candidate(marks: Marks, place: Int, length: Int) -> Int:
    """Where markup may start or have started next; the length where it does not."""
    at, stop = np.uint64(place), np.uint64(length)
    while at < stop and marks[at] & MARKUP == 0:
        at += ONE
    return np.int64(at)


@compiled_part
def _move(characters: Codes | Marks, begin: Int, end: Int, target: Int) -> None:
    """Copies what stands from `begin` to `end` to an earlier place."""
    source, goal = np.uint64(begin), np.uint64(target)
    for step in range(np.uint64(end - begin)):
        characters[goal + step] = characters[source + step]


@compiled_part
def _bracket_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    if codes[place] == _LESS:
        return _tag_end(codes, place, length)
    if place + 1 < length and codes[place + 1] == _OPEN:
        return _link_end(codes, marks, place, length)
    return place


@compiled_part
def is_ascii_letter(code: Int) -> Bool:
    """Whether a code point is one of A to Z and a to z."""
    return _LOWER_A <= code | _CASE <= _LOWER_Z


@compiled_part
def is_blank(code: Int, mark: Int) -> Bool:
    """Whether a character is white space, as in regular expressions."""
    return mark & CLASS_MASK == SPACE or code in _SPACING_CONTROLS


@compiled_part
def _tag_end(codes: Codes, place: Int, length: Int) -> Int:
    end = place + 1
    if end < length and codes[end] == _SLASH:
        end += 1
    if end >= length or not is_ascii_letter(codes[end]):
        return place
    while end < length and codes[end] != _LESS and codes[end] != _MORE:
        end += 1
    return end + 1 if end < length and codes[end] == _MORE else place


@compiled_part
def _address(
    codes: Codes, marks: Marks, place: Int, length: Int, first: Int, kept: Int
) -> tuple[Int, Int]:
    """Where an address whose first slash stands here ends, and how much of it lies behind.

    Args:
        codes: Code points; what was kept of the text stands before `kept`.
        marks: Their marks.
        place: The place of a slash.
        length: Length of the text.
        first: First kept character that can belong to the address.
        kept: How many characters were kept.
    """
    begin = kept - 1
    if begin < first or codes[begin] != _COLON:
        return place, 0
    while begin > first and is_ascii_letter(codes[begin - 1]):
        begin -= 1
    end = place + 2
    if begin == kept - 1 or end >= length or codes[place + 1] != _SLASH:
        return place, 0
    while end < length and _is_in_address(codes[end], marks[end]):
        end += 1
    return (end, kept - begin) if end > place + 2 else (place, 0)


@compiled_part
def _is_in_address(code: Int, mark: Int) -> Bool:
    return code not in (_LESS, _MORE, _OPEN, _CLOSE) and not is_blank(code, mark)


@compiled_part
def _link_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    end = place + 2
    while end < length and _is_in_target(codes[end], marks[end]):
        end += 1
    if end + 1 < length and codes[end + 1] == _QUOTE and is_blank(codes[end], marks[end]):
        end += 2
        while end < length and codes[end] != _QUOTE:
            end += 1
        end += 1
    return end + 1 if end < length and codes[end] == _CLOSE else place


@compiled_part
def _is_in_target(code: Int, mark: Int) -> Bool:
    return code not in (_OPEN, _CLOSE) and not is_blank(code, mark)


@compiled_part
def _brace_end(codes: Codes, marks: Marks, place: Int, length: Int, template_stop: Int) -> Int:
    following = codes[place + 1] if place + 1 < length else np.uint32(0)
    if following == _BRACE and template_stop < length and codes[template_stop] == _END_BRACE:
        return template_stop + 2
    if following == _HASH:
        return _anchor_end(codes, marks, place, length)
    return place


@compiled_part
def _template_stop(codes: Codes, place: Int, length: Int, known: Int) -> Int:
    """The first `}}` or end of the line behind `{{`; the known one where it is still ahead."""
    stop = place + 2
    if known >= stop or place + 1 >= length or codes[place + 1] != _BRACE:
        return known
    while stop < length and codes[stop] != _LINE_FEED:
        if codes[stop] == _END_BRACE and stop + 1 < length and codes[stop + 1] == _END_BRACE:
            return stop
        stop += 1
    return stop


@compiled_part
def _anchor_end(codes: Codes, marks: Marks, place: Int, length: Int) -> Int:
    end = place + 2
    while end < length and (marks[end] & WORD or codes[end] == _HYPHEN):
        end += 1
    is_closed = end < length and codes[end] == _END_BRACE
    return end + 1 if is_closed and end > place + 2 else place


@compiled_part
def _role_before(codes: Codes, marks: Marks, first: Int, kept: Int) -> Int:
    """Length of the role, such as `:class:`, that ends with the kept text; 0 without one."""
    if kept == 0 or codes[kept - 1] != _COLON:
        return 0
    begin = place = kept
    while place > first and _is_in_role(codes[place - 1], marks[place - 1]):
        place -= 1
        if codes[place] == _COLON and place < kept - 2:
            begin = place
    return kept - begin


@compiled_part
def _is_in_role(code: Int, mark: Int) -> Bool:
    return mark & WORD != 0 or code in (_COLON, _HYPHEN, _PLUS, _STOP)


@compiled_part
def _code_end(codes: Codes, place: Int, length: Int) -> Int:
    is_double = place + 1 < length and codes[place + 1] == _BACKTICK
    begin = place + 2 if is_double else place + 1
    furthest = min(length, begin + _LONGEST_CODE + 1)
    end = begin
    while end < furthest and codes[end] != _BACKTICK:
        end += 1
    if end >= furthest or end == begin:
        return place
    if is_double:
        return end + 2 if end + 1 < length and codes[end + 1] == _BACKTICK else place
    return end + 1
