"""TMX, the exchange format of translation memories: XML, one `<tu>` a row.

    <tu><tuv xml:lang="en"><seg>A <bpt i="1">&lt;b&gt;</bpt>word<ept i="1"/></seg></tuv> …</tu>

The first variant of each language counts. What stands for formatting (bpt, ept, it, ph, ut) is left
out with its content, other inline elements leave their text. Nothing is kept of what has been read.

XML can define entities that expand to gigabytes or read other files. Text needs none, so a file
that defines one is refused before any is expanded, as defusedxml does; the names of characters that
HTML knows (`&nbsp;`) stay as they are written, for normalisation to repair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from xml.parsers import expat

from src.corpus.readers.blocks import ONE_LANGUAGE, BadRow, Block, Pair, Row, blocks_of_rows
from src.corpus.readers.encoding import check_is_not_packed
from src.corpus.readers.labels import language_of
from src.corpus.readers.line_index import even_ranges
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import HEAD_BYTES_OF_KIND, ByteFile, read_head
from src.errors import DataError

_PIECE_BYTES = 1 << 16
_FORMATTING = frozenset({"bpt", "ept", "it", "ph", "ut"})
_UTF16 = {b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}


@dataclass(frozen=True)
class TmxFile:
    """A `RowFile`.

    Attributes:
        path: The file.
        languages: Of the corpus.
        encoding: Of the file.
        row_count: Translation units.
        offsets: Byte at which every `step`-th unit starts, from unit 0 on, in unpacked bytes.
        step: Units between two offsets.
    """

    path: Path
    languages: tuple[str, str]
    encoding: str
    row_count: int
    offsets: tuple[int, ...]
    step: int

    @property
    def layout(self) -> tuple[str | int, ...]:
        """The encoding."""
        return (self.encoding,)

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Chunks; unpacking up to a byte is cheap beside parsing."""
        return even_ranges(self.row_count, chunk_size)

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Units as pairs; one without both languages is bad."""
        place, skip = divmod(first, self.step)
        rows = islice(self._rows(place), skip, skip + count)
        yield from blocks_of_rows(rows, block_rows)

    def _rows(self, place: int) -> Iterator[Row]:
        parser = _UnitParser(self.languages, self.encoding)
        number = place * self.step + 1
        with ByteFile(self.path, self.offsets[place]) as file:
            while piece := file.read(_PIECE_BYTES):
                try:
                    parser.feed(piece)
                except expat.ExpatError as error:
                    raise self._changed() from error
                for left, right in parser.take():
                    if left is None or right is None:
                        yield BadRow(number, ONE_LANGUAGE, left or right or "")
                    else:
                        yield Pair(number, left, right)
                    number += 1
        if number <= self.row_count:
            raise self._changed()

    def _changed(self) -> DataError:
        return DataError(f"{self.path}: changed while it was read; run again when it is complete")


class _UnitParser:
    """Parses translation units from the middle of a file on."""

    def __init__(self, languages: tuple[str, str], encoding: str) -> None:
        self._languages = languages
        self._units: list[list[str | None]] = []
        self._unit: list[str | None] = [None, None]
        self._side: int | None = None
        self._parts: list[str] | None = None  # of the segment that is being read
        self._formatting = 0  # how deep inside elements whose text is left out
        self._parser = _safe_parser(encoding)
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.SkippedEntityHandler = self._entity
        # Instead of the beginning of the file.
        self._parser.Parse("<tmx><body>".encode(encoding))

    def feed(self, piece: bytes) -> None:
        self._parser.Parse(piece)

    def take(self) -> list[list[str | None]]:
        """The units that have become whole: text of each language, None where it has none."""
        units, self._units = self._units, []
        return units

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "tu":
            self._unit = [None, None]
        elif name == "tuv":
            # TMX 1.1 said lang.
            code = language_of(attributes.get("xml:lang", attributes.get("lang", "")))
            self._side = self._languages.index(code) if code in self._languages else None
        elif name == "seg":
            if self._side is not None and self._unit[self._side] is None:
                self._parts = []
        elif name in _FORMATTING:
            self._formatting += 1

    def _end(self, name: str) -> None:
        if name == "seg":
            if self._side is not None and self._parts is not None:
                self._unit[self._side] = "".join(self._parts)
            self._parts = None
        elif name == "tu":
            self._units.append(self._unit)
        elif name in _FORMATTING:
            self._formatting -= 1

    def _text(self, text: str) -> None:
        if self._parts is not None and not self._formatting:
            self._parts.append(text)

    def _entity(self, name: str, _is_parameter: int) -> None:
        self._text(f"&{name};")


class _EntityDefinedError(Exception):
    """A file defines an entity."""


def _safe_parser(encoding: str | None) -> expat.XMLParserType:
    """A parser that expands nothing and opens no other file."""
    parser = expat.ParserCreate(encoding)
    parser.EntityDeclHandler = _refuse_entity
    # Names that no one defines are then passed on and do not end the parsing.
    parser.UseForeignDTD()
    return parser


def _refuse_entity(name: str, *_definition: object) -> None:
    raise _EntityDefinedError(name)


class _UnitIndexer:
    """Counts translation units and notes where they start."""

    def __init__(self, step: int) -> None:
        self.offsets: list[int] = []
        self.row_count = 0
        self.encoding = "UTF-8"
        self.root: str | None = None
        self._step = step
        self._parser = _safe_parser(None)
        self._parser.StartElementHandler = self._start
        self._parser.XmlDeclHandler = self._declaration

    def feed(self, piece: bytes) -> None:
        self._parser.Parse(piece)

    def finish(self) -> None:
        self._parser.Parse(b"", True)  # noqa: FBT003  it has no name

    @property
    def line(self) -> int:
        """Line that the parser has reached."""
        return self._parser.CurrentLineNumber

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self.root = self.root or name
        if name == "tu":
            if self.row_count % self._step == 0:
                self.offsets.append(self._parser.CurrentByteIndex)
            self.row_count += 1

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.encoding = encoding or self.encoding


def open_tmx(request: Request) -> TmxFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read, is not well-formed, or defines entities.
    """
    (path,) = request.paths
    head = read_head(path, HEAD_BYTES_OF_KIND)
    check_is_not_packed(path, head)
    if not head:
        raise DataError(f"{path}: is empty; remove it from data.sources or fill it")
    indexer = _UnitIndexer(request.step)
    try:
        with ByteFile(path) as file:
            while piece := file.read(_PIECE_BYTES):
                indexer.feed(piece)
        indexer.finish()
    except _EntityDefinedError as error:
        raise DataError(
            f"{path}: line {indexer.line} defines the entity '{error}', with which a small file "
            "can fill the memory; remove the definition, text needs none"
        ) from error
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise DataError(
            f"{path}: line {error.lineno:,} is not well-formed XML ({reason}), after "
            f"{indexer.row_count:,} translation units; repair it first, e.g. "
            f"xmllint --recover {path.name} > new.tmx"
        ) from error
    except (ValueError, LookupError) as error:  # from the parser, about an encoding
        raise DataError(
            f"{path}: its encoding {indexer.encoding} cannot be read; convert it to UTF-8 with "
            "iconv and change its first line"
        ) from error
    except DataError as error:
        raise DataError(
            f"{error}; {indexer.row_count:,} translation units of it can be read"
        ) from error
    if indexer.root != "tmx":
        raise DataError(f"{path}: its root element is {indexer.root}, so it is no tmx")
    if not indexer.row_count:
        raise DataError(f"{path}: holds no translation units; remove it from data.sources")
    encoding = _UTF16.get(read_head(path, 2), indexer.encoding)
    return TmxFile(
        path, request.languages, encoding, indexer.row_count, tuple(indexer.offsets), request.step
    )
