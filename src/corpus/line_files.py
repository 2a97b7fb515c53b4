"""Files of lines, plain or compressed, read as bytes.

Only a line feed ends a line. Python's own text mode and `str.splitlines` also break lines at
carriage returns, form feeds, U+0085 and U+2028, all of which occur inside sentences of crawled
text; one such break shifts every following line against the other language.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from src.errors import DataError

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

_BLOCK_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Stray NUL bytes occur in crawled text; in UTF-16 text and in most binary files they abound.
_MAX_NUL_SHARE = 0.1
_MAX_UNDECODABLE_SHARE = 0.5


class _ZstandardFile(io.RawIOBase):
    """Reads all frames of a .zst file and notices a cut-off last one, as the library does not."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._is_inside_frame = False
        self._ready = b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any writable buffer
        while not self._ready:
            compressed = self._file.read(_BLOCK_BYTES)
            if not compressed:
                if self._is_inside_frame:
                    raise EOFError("compressed file ended before the end of its last frame")
                return 0
            self._ready = self._decompress(compressed)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decompress(self, compressed: bytes) -> bytes:
        parts = []
        while compressed:
            parts.append(self._frame.decompress(compressed))
            self._is_inside_frame = not self._frame.eof
            compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        return b"".join(parts)


def is_compressed(path: Path) -> bool:
    """Whether the name says that the file is compressed; such files cannot be entered midway."""
    return path.suffix in COMPRESSED_SUFFIXES


@contextmanager
def open_lines(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for reading its (decompressed) bytes.

    Raises:
        DataError: If the file cannot be opened, or, within the block, if it is damaged.
    """
    try:
        with _open(path) as stream:
            yield stream
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check data.sources") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it; check its owner and mode") from error
    except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: cut off or damaged ({error}); fetch it again or repair it first"
        ) from error
    except OSError as error:
        # The bz2 module reports damage as a plain OSError without an error number.
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    if path.suffix == ".xz":
        return cast(BinaryIO, lzma.open(path, "rb"))
    if path.suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(_ZstandardFile(path), _BLOCK_BYTES))
    return path.open("rb")


@dataclass(frozen=True)
class LineIndex:
    """Where the lines of a file are.

    Attributes:
        line_count: Lines, the last one counted with or without its line feed.
        offsets: Byte at which every `step`-th line starts, from line 0 on, in decompressed bytes.
        step: Lines between two offsets.
    """

    line_count: int
    offsets: tuple[int, ...]
    step: int


def index_lines(path: Path, step: int) -> LineIndex:
    """Reads a file once and finds its lines.

    Raises:
        DataError: If the file is unreadable, empty, damaged, or not text.
    """
    offsets, line_count, position, last = [0], 0, 0, b""
    try:
        with open_lines(path) as stream:
            while block := stream.read(_BLOCK_BYTES):
                if position == 0:
                    _check_is_text(path, block)
                count = block.count(b"\n")
                if (line_count + count) // step > line_count // step:
                    offsets += _offsets_in(block, position, line_count, step)
                line_count += count
                position += len(block)
                last = block[-1:]
    except DataError as error:
        if line_count:
            raise DataError(f"{error}; line {line_count:,} is the last good one") from error
        raise
    if position == 0:
        raise DataError(f"{path}: is empty; remove it from data.sources or fill it")
    if offsets[-1] == position:
        offsets.pop()  # the line feed of the last line opens no further line
    return LineIndex(line_count + (last != b"\n"), tuple(offsets), step)


def _offsets_in(block: bytes, position: int, line_count: int, step: int) -> Iterator[int]:
    place = -1
    while (place := block.find(b"\n", place + 1)) >= 0:
        line_count += 1
        if line_count % step == 0:
            yield position + place + 1


def read_lines(path: Path, *, offset: int, skip: int, count: int) -> Iterator[bytes]:
    r"""Lines without their line ends (`\n` or `\r\n`).

    Args:
        path: A file that `index_lines` has accepted.
        offset: Byte to start at; 0 in compressed files.
        skip: Lines to pass over from there.
        count: Lines to read.

    Raises:
        DataError: If the file became unreadable, or ended before `count` lines.
    """
    read = 0
    with open_lines(path) as stream:
        if offset:  # a zstd stream cannot seek
            stream.seek(offset)
        for _ in range(skip):
            stream.readline()
        for line in stream:
            if read == count:
                return
            if offset == skip == read == 0:
                line = line.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901
            yield line.removesuffix(b"\n").removesuffix(b"\r")
            read += 1
    if read < count:
        raise DataError(f"{path}: became shorter while it was read; run again when it is complete")


def _check_is_text(path: Path, block: bytes) -> None:
    if block[:2] in _UTF16_MARKS:
        raise DataError(
            f"{path}: is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 {path.name} > new-file"
        )
    if block.count(b"\0") > _MAX_NUL_SHARE * len(block):
        line = block.count(b"\n", 0, block.index(b"\0")) + 1
        raise DataError(f"{path}: is not text, line {line} holds NUL bytes; name a UTF-8 text file")
    lines = block.split(b"\n")[:-1] or [block]
    bad = [number for number, line in enumerate(lines, start=1) if not _is_utf8(line)]
    if len(bad) > _MAX_UNDECODABLE_SHARE * len(lines):
        raise DataError(
            f"{path}: is not UTF-8, {len(bad)} of its first {len(lines)} lines cannot be decoded, "
            f"line {bad[0]} first; if it is GBK: iconv -f GB18030 -t UTF-8 {path.name} > new-file"
        )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
