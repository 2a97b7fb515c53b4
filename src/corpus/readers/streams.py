"""The bytes of a file, plain or compressed; every failure to read them is one sentence."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import zstandard

from src.errors import DataError

gzip_library: Any
try:  # Intel's implementation unpacks .gz twice as fast
    from isal import isal_zlib as gzip_library
except ImportError:
    gzip_library = zlib

PACKERS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
COMPRESSED_SUFFIXES = tuple(PACKERS)

# How files of each kind begin; a text begins with none of these.
_BEGINNINGS = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bzip2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    "Parquet": re.compile(rb"PAR1\x15"),
    "zip": re.compile(rb"PK\x03\x04"),
}
HEAD_BYTES_OF_KIND = 16
_MOST_MAGIC_BYTES = 10  # a shorter file may be one that is cut off

_PACKED_BYTES = 1 << 16
_DISCARDED_BYTES = 1 << 20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # 16 stands for "with gzip's header and checksum"
_DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    gzip_library.error,
    lzma.LZMAError,
    zstandard.ZstdError,
)


class _Unpacker(Protocol):
    """What the four libraries have in common: one object unpacks one member or frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Stream(Protocol):
    """What plain and compressed files have in common."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...

    def close(self) -> None: ...


def _open_plain(path: Path, offset: int) -> _Stream:
    stream = path.open("rb", buffering=0)
    stream.seek(offset)
    return stream


def _new_unpacker(suffix: str) -> _Unpacker:
    if suffix == ".gz":
        return cast("_Unpacker", gzip_library.decompressobj(_GZIP_WINDOW))
    if suffix == ".bz2":
        return bz2.BZ2Decompressor()
    if suffix == ".xz":
        return lzma.LZMADecompressor()
    return zstandard.ZstdDecompressor().decompressobj()


class _UnpackedFile:
    """Reads all members or frames of a compressed file, and notices a cut-off last one."""

    def __init__(self, path: Path) -> None:
        self._suffix = path.suffix.lower()
        self._file = path.open("rb", buffering=0)
        self._unpacker: _Unpacker | None = None
        self._ready = memoryview(b"")

    def close(self) -> None:
        self._file.close()

    def readinto(self, buffer: memoryview, /) -> int:
        while not self._ready:
            packed = self._file.read(_PACKED_BYTES)
            if not packed:
                if self._unpacker is not None:
                    raise EOFError("it ends too early")
                return 0
            self._ready = memoryview(self._unpack(packed))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, packed: bytes) -> bytes:
        parts = []
        while packed:
            if self._unpacker is None:
                packed = packed.lstrip(b"\0")  # padding between and after members
                if not packed:
                    break
                self._unpacker = _new_unpacker(self._suffix)
            parts.append(self._unpacker.decompress(packed))
            packed = b""
            if self._unpacker.eof:
                packed = self._unpacker.unused_data
                self._unpacker = None
        return b"".join(parts)


def is_compressed(path: Path) -> bool:
    """Whether the name says that the file is compressed; such files cannot be entered midway."""
    return path.suffix.lower() in COMPRESSED_SUFFIXES


def kind_of(head: bytes) -> str | None:
    """What a file is by its first bytes: compressed, Parquet or an archive; None for all others."""
    found = (kind for kind, beginning in _BEGINNINGS.items() if beginning.match(head))
    return next(found, None)


class ByteFile:
    """A file opened for reading its (unpacked) bytes.

    Args:
        path: The file.
        offset: Where to start; compressed files are unpacked up to there.

    Raises:
        DataError: If the file cannot be opened or is damaged, here and while it is read.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._failure: DataError | None = None
        self._stream: _Stream
        with explained_read_errors(path):
            self._stream = _UnpackedFile(path) if is_compressed(path) else _open_plain(path, offset)
        if is_compressed(path):
            self._discard(offset)

    def __enter__(self) -> ByteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read_into(self, buffer: memoryview) -> int:
        """Fills a buffer as far as the file can be read; returns the bytes read, 0 at the end.

        Raises:
            DataError: If not even one more byte can be read.
        """
        if self._failure is not None:
            raise self._failure
        size = 0
        try:
            with explained_read_errors(self._path):
                while size < len(buffer) and (count := self._stream.readinto(buffer[size:])):
                    size += count
        except DataError as error:
            if not size:
                raise
            self._failure = error  # what came before it is good
        return size

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end of the file."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.read_into(memoryview(buffer))])

    def _discard(self, count: int) -> None:
        buffer = memoryview(bytearray(_DISCARDED_BYTES))
        while count:
            skipped = self.read_into(buffer[:count])
            if not skipped:
                return  # whoever reads on finds the end
            count -= skipped


@contextmanager
def explained_read_errors(path: Path) -> Iterator[None]:
    """Turns the failure to open or read a file into one sentence.

    Raises:
        DataError: If the block fails to read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it; check its owner and mode") from error
    except _DAMAGE as error:
        raise _damage(path, error) from error
    except OSError as error:
        if error.errno is None:  # so the bz2 library reports damage
            raise _damage(path, error) from error
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _damage(path: Path, error: Exception) -> DataError:
    promised = PACKERS.get(path.suffix.lower())
    if promised is not None:
        with path.open("rb") as file:
            head = file.read(_PACKED_BYTES).lstrip(b"\0")
        kind = kind_of(head)
        if kind is None and len(head) > _MOST_MAGIC_BYTES:
            return DataError(f"{path}: is not {promised}; rename it without {path.suffix}")
        if kind not in {None, promised}:
            return DataError(f"{path}: is {kind} and not {promised}; rename it")
    return DataError(f"{path}: cut off or damaged ({error}); fetch it again or repair it first")


def read_head(path: Path, size: int = 1 << 20) -> bytes:
    """The first (unpacked) bytes of a file; what can be read of them where the file is damaged.

    Raises:
        DataError: If nothing can be read.
    """
    with ByteFile(path) as file:
        return file.read(size)
