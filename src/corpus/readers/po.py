"""gettext PO: the messages of a program and their translations.

- `msgid` and `msgstr` are a pair. Which language the translation is in, the header says
  (`Language: zh_CN`); where it does not, the message is in the first language of the source.
- A plural entry gives two pairs, the first form and the last one: `msgid` with `msgstr[0]` and
  `msgid_plural` with the last `msgstr[n]`. Where a language has one form (Chinese), that is the
  translation of the plural, and the only pair.
- A fuzzy entry is a guess that nobody has looked at: it is counted as `fuzzy`.
- An untranslated entry has an empty side, and is counted as `empty` by the filters.
- The header and obsolete entries (`#~`) are no rows.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import polib

from src.corpus.readers.blocks import FUZZY, BadRow, Block, Pair, Row, blocks_of_rows
from src.corpus.readers.encoding import check_is_text
from src.corpus.readers.labels import language_of
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import ByteFile
from src.errors import DataError

_CHARSET = re.compile(rb"charset=([\w.:-]+)")
_HEADER_BYTES = 1 << 14
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class PoFile:
    """A `RowFile`.

    Attributes:
        path: The file.
        is_swapped: Whether messages are in the second language of the corpus.
        row_count: Pairs and fuzzy entries.
    """

    path: Path
    is_swapped: bool
    row_count: int

    @property
    def layout(self) -> tuple[str | int, ...]:
        """Which side is which."""
        return (int(self.is_swapped),)

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:  # noqa: ARG002
        """The whole file, which has to be parsed as a whole."""
        yield 0, self.row_count

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Entries as pairs."""
        rows = list(
            islice(_rows(_parse(self.path), is_swapped=self.is_swapped), first, first + count)
        )
        if len(rows) < count:
            raise DataError(
                f"{self.path}: became shorter while it was read; run again when it is complete"
            )
        yield from blocks_of_rows(rows, block_rows)


def _rows(entries: polib.POFile, *, is_swapped: bool) -> Iterator[Row]:
    for entry in entries:
        if entry.obsolete:
            continue
        if entry.fuzzy:
            yield BadRow(entry.linenum, FUZZY, entry.msgid)
            continue
        for message, translation in _pairs(entry):
            if is_swapped:
                yield Pair(entry.linenum, translation, message)
            else:
                yield Pair(entry.linenum, message, translation)


def _pairs(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    if not entry.msgid_plural:
        yield entry.msgid, entry.msgstr
        return
    forms = [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)] or [""]
    if len(forms) > 1:
        yield entry.msgid, forms[0]
    yield entry.msgid_plural, forms[-1]


def _parse(path: Path) -> polib.POFile:
    with ByteFile(path) as file:
        content = b"".join(iter(lambda: file.read(_PIECE_BYTES), b""))
    check_is_text(path, content)
    found = _CHARSET.search(content[:_HEADER_BYTES])
    charset = found[1].decode("ascii") if found else "utf-8"
    try:
        text = content.decode("utf-8" if charset == "CHARSET" else charset)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line:,} is not {charset}, as its header promises; correct the charset "
            "there, or the line"
        ) from error
    except (LookupError, UnicodeError) as error:  # Python calls one of its codecs "undefined"
        raise DataError(
            f"{path}: its header names the charset {charset}, which nobody knows; write the right "
            "one there, e.g. UTF-8"
        ) from error
    # From a string the library reads lines that end at U+2028 and other characters inside them.
    with tempfile.NamedTemporaryFile(suffix=".po") as copy:
        copy.write(text.encode("utf-8"))
        copy.flush()
        try:
            return polib.pofile(copy.name, encoding="utf-8")
        except OSError as error:
            line_number = re.search(r"line (\d+)", str(error))
            where = f"line {line_number[1]}" if line_number else "it"
            raise DataError(
                f"{path}: {where} is no valid PO; see what msgfmt --check {path.name} says"
            ) from error


def open_po(request: Request) -> PoFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read or is a translation into another language.
    """
    (path,) = request.paths
    entries = _parse(path)
    named = entries.metadata.get("Language", "")
    language = language_of(named)
    if language is not None and language not in request.languages:
        raise DataError(
            f"{path}: is a translation into {named}, not between {request.languages[0]} and "
            f"{request.languages[1]}; name its languages with `languages`"
        )
    message_language = request.order[0]
    if language is not None:
        message_language = next(code for code in request.languages if code != language)
    is_swapped = message_language == request.languages[1]
    row_count = sum(1 for _ in _rows(entries, is_swapped=is_swapped))
    if not row_count:
        raise DataError(f"{path}: holds no messages; remove it from data.sources")
    return PoFile(path, is_swapped, row_count)
