"""Corpora as rows: which files a source names, and how each format turns lines into pairs.

A row is one line of a table (CSV: one record, which may span lines), or one line of each Moses
file. A row that cannot be read becomes a `BadRow` with the reason; it is counted and can be read
back, and the rows after it stay aligned.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from src.corpus.line_files import (
    COMPRESSED_SUFFIXES,
    LineIndex,
    index_lines,
    open_lines,
    read_lines,
)
from src.errors import DataError
from src.schema import SourceConfig

logger = logging.getLogger(__name__)

Format = Literal["moses", "tsv", "csv", "jsonl", "parquet", "tmx", "po"]

MALFORMED = "malformed_line"
BAD_ENCODING = "bad_encoding"

_SAMPLE_LINES = 1000
_BRACES = re.compile(r"\{([^{},]+),([^{},]+)\}")
_COLUMN_NAMES = {"en": ("en", "english"), "zh": ("zh", "chinese")}
_FORMATS: dict[str, Format] = {
    ".tsv": "tsv",
    ".txt": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


class Pair(NamedTuple):
    """A sentence and its translation."""

    english: str
    chinese: str


class BadRow(NamedTuple):
    """A row that is no pair: why, and what can be shown of it."""

    reason: str
    text: str


Row = Pair | BadRow


@dataclass(frozen=True)
class Table:
    """One file, or one pair of Moses files, ready to be read.

    Attributes:
        source: Name of the source it belongs to.
        format: How rows are written.
        paths: The file; English and Chinese file for Moses.
        indexes: Where the lines of each file are.
        header_lines: 1 when the first line names the columns.
        columns: Columns of English and Chinese, and the number of columns in a row (tsv, csv).
    """

    source: str
    format: Format
    paths: tuple[Path, ...]
    indexes: tuple[LineIndex, ...]
    header_lines: int = 0
    columns: tuple[int, int, int] = (0, 1, 2)

    @property
    def row_count(self) -> int:
        """Rows to expect; for CSV an upper limit."""
        return self.indexes[0].line_count - self.header_lines


def find_files(source: SourceConfig) -> list[tuple[Path, ...]]:
    """The files a source names, sorted; pairs of files for Moses.

    Raises:
        DataError: If there is none.
    """
    braces = _BRACES.search(source.path)
    if braces is None:
        return [(path,) for path in _expand(source.path)]
    before, after = source.path[: braces.start()], source.path[braces.end() :]
    first, second = (_expand(before + side + after) for side in braces.groups())
    # The partner of a.en is a.zh: the names agree once the language is taken out.
    stems = [
        [str(path).removesuffix(after).removesuffix(side) for path in paths]
        for paths, side in ((first, braces[1]), (second, braces[2]))
    ]
    if stems[0] != stems[1]:
        lonely = sorted({*stems[0]} ^ {*stems[1]})
        raise DataError(f"{source.path}: {lonely[0]}{braces[0]}{after} exists in one language only")
    chinese_first = braces[1].lower().startswith("zh")
    pairs = zip(first, second, strict=True)
    return [(two, one) if chinese_first else (one, two) for one, two in pairs]


def _expand(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    found = [path]
    if re.search(r"[*?\[]", pattern):
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(anchor.glob(str(path.relative_to(path.anchor))))
    if not found:
        raise DataError(f"{pattern}: matches no file; check data.sources")
    for file in found:
        if file.is_dir():
            raise DataError(f"{file}: is a folder, not a file; name its files, e.g. {file}/*.tsv")
        if not file.exists():
            raise DataError(f"{file}: no such file; check data.sources")
    return found


def source_names(sources: Sequence[SourceConfig]) -> list[str]:
    """A name per source for reports: the configured one, or the file name without its suffixes.

    Equal names get their folder in front, then a number.
    """
    names: list[str] = []
    for source in sources:
        path = Path(_BRACES.sub("", source.path))
        stem = path.name.split(".", maxsplit=1)[0].strip("*?-_") or path.parent.name
        candidates = [source.name or stem or source.path]
        candidates.append(f"{path.parent.name}/{candidates[0]}")
        candidates += [f"{candidates[0]}-{number}" for number in range(2, len(sources) + 2)]
        names.append(next(name for name in candidates if name not in names))
    return names


def open_tables(source: SourceConfig, name: str, step: int) -> list[Table]:
    """Finds a source's files and looks through each once.

    Args:
        source: One entry of `data.sources`.
        name: Its name in reports.
        step: Lines between two places at which reading can start.

    Raises:
        DataError: If a file is missing, unreadable, empty, damaged, not text, or not in its format.
    """
    return [_open_table(source, name, paths, step) for paths in find_files(source)]


def _open_table(source: SourceConfig, name: str, paths: tuple[Path, ...], step: int) -> Table:
    format_ = source.format or _guess_format(paths)
    if (format_ == "moses") != (len(paths) > 1):
        raise DataError(
            f"{source.path}: format {format_} does not fit; Moses files are named as a pair, "
            "e.g. corpus/train.{en,zh}, and other formats as one file"
        )
    indexes = tuple(index_lines(path, step) for path in paths)
    if len({index.line_count for index in indexes}) > 1:
        counts = " but ".join(
            f"{path} has {index.line_count:,} lines"
            for path, index in zip(paths, indexes, strict=True)
        )
        raise DataError(f"{counts}; line n of one must translate line n of the other")
    header_lines, columns = 0, (0, 1, 2)
    if format_ in {"tsv", "csv"}:
        header_lines, columns = _find_columns(paths[0], format_)
    table = Table(name, format_, paths, indexes, header_lines, columns)
    if table.row_count == 0:
        raise DataError(f"{paths[0]}: holds a header but no pairs; remove it from data.sources")
    return table


def _guess_format(paths: tuple[Path, ...]) -> Format:
    if len(paths) > 1:
        return "moses"
    suffixes = [s for s in paths[0].suffixes if s not in COMPRESSED_SUFFIXES]
    if not suffixes or suffixes[-1] not in _FORMATS:
        raise DataError(
            f"{paths[0]}: cannot tell its format from its name; set format to tsv, csv or jsonl, "
            "or name two files as corpus/train.{en,zh}"
        )
    return _FORMATS[suffixes[-1]]


def _find_columns(path: Path, format_: Format) -> tuple[int, tuple[int, int, int]]:
    with open_lines(path) as stream:
        head = [stream.readline() for _ in range(_SAMPLE_LINES)]
    lines = [
        line.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n") for line in head if line
    ]
    rows = [line.split("\t") for line in lines] if format_ == "tsv" else _sample_csv(lines)
    names = [name.strip().casefold() for name in rows[0]] if rows else []
    places = [
        next((i for i, name in enumerate(names) if name in _COLUMN_NAMES[language]), None)
        for language in ("en", "zh")
    ]
    english, chinese = places
    if english is not None and chinese is not None:
        return 1, (english, chinese, len(names))
    width = Counter(map(len, rows)).most_common(1)[0][0]
    if width < 2:  # noqa: PLR2004  a pair has two sides
        separator = "tab" if format_ == "tsv" else "comma"
        raise DataError(
            f"{path}: line 1 holds no {separator}, so it is no {format_}; each line needs English, "
            f"a {separator}, and Chinese, or set the right format"
        )
    return 0, (0, 1, width)


def _sample_csv(lines: list[str]) -> list[list[str]]:
    records = csv.reader(lines)
    rows: list[list[str]] = []
    try:
        rows.extend(records)
    except csv.Error:
        logger.debug("a CSV record cannot be parsed; it will be counted as %s", MALFORMED)
    return rows or [[]]


def read_rows(table: Table, first: int, count: int) -> Iterator[Row]:
    """Rows `first` to `first + count` of a table; for CSV, which has no such places, all rows.

    Raises:
        DataError: If a file has become unreadable since it was looked through.
    """
    if table.format == "csv":
        yield from _read_csv(table)
        return
    lines = [
        _lines_from(path, index, first + table.header_lines, count)
        for path, index in zip(table.paths, table.indexes, strict=True)
    ]
    if table.format == "moses":
        yield from map(_decode_moses, *lines)
    elif table.format == "tsv":
        yield from (_decode_tsv(line, table.columns) for line in lines[0])
    else:
        yield from map(_decode_json, lines[0])


def _lines_from(path: Path, index: LineIndex, first: int, count: int) -> Iterator[bytes]:
    if path.suffix in COMPRESSED_SUFFIXES:
        return read_lines(path, offset=0, skip=first, count=count)
    place, skip = divmod(first, index.step)
    return read_lines(path, offset=index.offsets[place], skip=skip, count=count)


def _undecodable(line: bytes) -> BadRow:
    return BadRow(BAD_ENCODING, line.decode("utf-8", "replace"))


def _decode_moses(english: bytes, chinese: bytes) -> Row:
    try:
        return Pair(english.decode("utf-8"), chinese.decode("utf-8"))
    except UnicodeDecodeError:
        return _undecodable(english + b"\t" + chinese)


def _decode_tsv(line: bytes, columns: tuple[int, int, int]) -> Row:
    try:
        cells = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return _undecodable(line)
    english, chinese, width = columns
    if len(cells) != width:
        return BadRow(MALFORMED, "\t".join(cells))
    return Pair(cells[english], cells[chinese])


def _decode_json(line: bytes) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return _undecodable(line)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return BadRow(MALFORMED, text)
    if isinstance(document, dict) and isinstance(document.get("translation"), dict):
        document = document["translation"]
    if not isinstance(document, dict):
        return BadRow(MALFORMED, text)
    english, chinese = document.get("en"), document.get("zh")
    if not isinstance(english, str) or not isinstance(chinese, str):
        return BadRow(MALFORMED, text)
    # JSON can spell half a character (`\ud83d`), which no file can hold.
    if _has_surrogate(english) or _has_surrogate(chinese):
        return BadRow(BAD_ENCODING, text)
    return Pair(english, chinese)


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _read_csv(table: Table) -> Iterator[Row]:
    path = table.paths[0]
    # Undecodable bytes pass the parser as surrogates, so that a bad row stays one row.
    lines = (
        line.decode("utf-8", "surrogateescape") + "\n"
        for line in read_lines(path, offset=0, skip=table.header_lines, count=table.row_count)
    )
    records = csv.reader(lines)
    while True:
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(MALFORMED, f"record {records.line_num}: {error}")
            continue
        english, chinese, width = table.columns
        if any(map(_has_surrogate, cells)):
            yield _undecodable(",".join(cells).encode("utf-8", "surrogateescape"))
        elif len(cells) != width:
            yield BadRow(MALFORMED, ",".join(cells))
        else:
            yield Pair(cells[english], cells[chinese])
