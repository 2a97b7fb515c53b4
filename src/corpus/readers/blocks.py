"""What reading gives: blocks of pairs, and rows that are no pair with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from src.corpus.texts import Texts

MALFORMED = "malformed_line"
BAD_ENCODING = "bad_encoding"
FUZZY = "fuzzy"
ONE_LANGUAGE = "one_language"

# Blocks are cut before their raw bytes outgrow this, so that long lines cannot fill the memory.
MOST_BLOCK_BYTES = 32 << 20
_MOST_BLOCK_CHARACTERS = MOST_BLOCK_BYTES // 4


class BadRow(NamedTuple):
    """A row that is no pair.

    Attributes:
        row: Its number in the file, from 1 on: of the line where a row is a line (the header
            counts), of the record, unit or entry elsewhere.
        reason: Why, as it is counted.
        text: What can be shown of it.
    """

    row: int
    reason: str
    text: str


class Block(NamedTuple):
    """Rows read together.

    Attributes:
        left: N texts in the first language of the corpus.
        right: Their N translations.
        bad: The rows that are no pair.
        rows: N + len(bad).
    """

    left: Texts
    right: Texts
    bad: list[BadRow]
    rows: int


def block_of_columns(left: Texts, right: Texts, bad: list[BadRow]) -> Block:
    """A block of readable and unreadable rows."""
    return Block(left, right, bad, len(left) + len(bad))


class Pair(NamedTuple):
    """A row as Python strings, for formats that need Python to read them.

    Attributes:
        row: Its number in the file, as in `BadRow`.
        left: Text in the first language of the corpus.
        right: Its translation.
    """

    row: int
    left: str
    right: str


Row = Pair | BadRow


def block_of_rows(rows: Sequence[Row]) -> Block:
    r"""A block of rows made in Python.

    Strings may hold half a character (JSON can spell `\ud83d` alone), which no file can hold: such
    rows are bad.
    """
    try:
        return _encoded(rows)
    except UnicodeEncodeError:
        return _encoded([_checked(row) for row in rows])


def _encoded(rows: Sequence[Row]) -> Block:
    pairs = [row for row in rows if isinstance(row, Pair)]
    left, right = Texts.of([pair.left for pair in pairs]), Texts.of([pair.right for pair in pairs])
    return block_of_columns(left, right, [row for row in rows if isinstance(row, BadRow)])


def _checked(row: Row) -> Row:
    if isinstance(row, BadRow):
        return row
    text = f"{row.left}\t{row.right}"
    shown = text.encode("utf-8", "replace").decode("utf-8")
    return row if shown == text else BadRow(row.row, BAD_ENCODING, shown)


def blocks_of_rows(rows: Iterable[Row], block_rows: int) -> Iterator[Block]:
    """Blocks of rows that come one by one."""
    block: list[Row] = []
    characters = 0
    for row in rows:
        block.append(row)
        characters += sum(len(cell) for cell in row[1:])
        if len(block) == block_rows or characters >= _MOST_BLOCK_CHARACTERS:
            yield block_of_rows(block)
            block, characters = [], 0
    if block:
        yield block_of_rows(block)
