"""Tensors in host memory, and the safetensors files they are kept in.

A safetensors file, byte for byte (all integers little endian):

    offset 0      8 bytes      N, unsigned: length of the header
    offset 8      N bytes      the header, JSON in UTF-8, padded with spaces to a multiple of 8:
                               {name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    offset 8 + N  to the end   the tensors' bytes, C order, without gaps

`data_offsets` count from the end of the header. A key `__metadata__` may hold strings and is
skipped. Tensors are laid out from wide to narrow elements and by name within a width, so every
tensor is aligned and equal tensors give equal files. Nothing in such a file is ever executed.

Reading checks the header completely before the first tensor is made: a header that points outside
the file, overlaps, or leaves gaps is refused, as the format's reference library does.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from src.errors import CheckpointCorrupt

# NumPy has no bfloat16: such tensors travel as their 16 bits.
_STORAGE: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_NAMES = {storage: name for name, storage in _STORAGE.items() if name != "BF16"}
DTYPES = tuple(_STORAGE)

_LENGTH_BYTES = 8
_ALIGNMENT = 8
# The reference library's own limit: a length field of random bytes must not become an allocation.
_LARGEST_HEADER = 100_000_000
_METADATA_KEY = "__metadata__"

_PIECE_BYTES = 16 * 1024 * 1024
# More threads than these few do not make memory faster.
_COPY_THREADS = min(4, os.cpu_count() or 1)


class Sink(Protocol):
    """Where bytes go, e.g. a file that is hashed while it is written."""

    def write(self, data: memoryview | bytes) -> None:
        """Takes all of `data`."""


@dataclass(frozen=True, eq=False)
class HostTensor:
    """One tensor in host memory, in a form that safetensors can hold.

    The array is not copied: it belongs to this tensor from here on, and must not change while a
    save that holds it is in flight.

    Attributes:
        dtype: Safetensors name: F32, BF16, I64 ...
        shape: Dimensions; empty for a scalar.
        data: Little-endian array of that shape; for BF16 the bit patterns as uint16.
    """

    dtype: str
    shape: tuple[int, ...]
    data: NDArray[Any]

    def __post_init__(self) -> None:
        storage = _STORAGE.get(self.dtype)
        if storage is None:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.data.dtype != storage:
            raise ValueError(f"a {self.dtype} tensor holds {storage}, not {self.data.dtype}")
        if self.data.shape != self.shape:
            raise ValueError(f"shape {self.shape} with data of shape {self.data.shape}")

    @classmethod
    def from_numpy(cls, array: NDArray[Any], dtype: str | None = None) -> HostTensor:
        """Wraps `array` without a copy, unless it is big endian.

        Args:
            array: Any shape, also empty or zero-dimensional.
            dtype: "BF16" for the bit patterns of bfloat16 in a uint16 array; None: as NumPy says.

        Raises:
            ValueError: If safetensors has no such type.
        """
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        name = dtype or _NAMES.get(little_endian.dtype)
        if name is None:
            raise ValueError(f"dtype {array.dtype} has no safetensors name; convert it first")
        return cls(name, little_endian.shape, little_endian)


class HostBuffers:
    """Host memory that all snapshots of a run share, one after another.

    Memory that was never touched is slow: its pages are made and zeroed during the copy, which
    takes several times as long (benchmarks/checkpoint_save.py). The price is that one
    snapshot stays allocated between saves. Training stands still while it is copied, so a few
    cores share the work.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[Any]] = {}

    def copy_all(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Copies every array over the copy made under its name before.

        The save that holds those must be over; `CheckpointManager.wait` returns when it is.

        Args:
            arrays: Name → array of any shape and layout.

        Returns:
            Name → copy, C-contiguous, valid until the next call.
        """
        copies = {name: self._buffer(name, array) for name, array in arrays.items()}
        pieces = [piece for name, array in arrays.items() for piece in _pieces(copies[name], array)]
        with ThreadPoolExecutor(_COPY_THREADS) as pool:
            for _ in pool.map(lambda piece: np.copyto(*piece), pieces):
                pass
        return copies

    def _buffer(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != array.shape or buffer.dtype != array.dtype:
            buffer = self._buffers[name] = np.empty(array.shape, array.dtype)
        return buffer


def _pieces(
    target: NDArray[Any], source: NDArray[Any]
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Cuts along the first axis, so that one large embedding does not keep a single core busy."""
    if source.nbytes <= _PIECE_BYTES:
        yield target, source
        return
    rows = max(1, _PIECE_BYTES * len(source) // source.nbytes)
    for start in range(0, len(source), rows):
        yield target[start : start + rows], source[start : start + rows]


def write_safetensors(sink: Sink, tensors: Mapping[str, HostTensor]) -> None:
    """Streams `tensors` to `sink`; needs no second copy of any C-contiguous tensor."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].data.itemsize, item[0]))
    header: dict[str, dict[str, object]] = {}
    end = 0
    for name, tensor in ordered:
        if name == _METADATA_KEY:
            raise ValueError(f"{_METADATA_KEY} is reserved and cannot name a tensor")
        begin, end = end, end + tensor.data.nbytes
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    sink.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
    for _, tensor in ordered:
        sink.write(np.ascontiguousarray(tensor.data).reshape(-1).view(np.uint8).data)


def read_tensors(path: Path) -> dict[str, HostTensor]:
    """Maps a safetensors file into memory; pages are read from disk when they are touched.

    The arrays are read-only views that keep the mapping alive; deleting the file does not hurt
    them.

    Returns:
        The tensors in the order of the file.

    Raises:
        CheckpointCorrupt: If the file is missing, truncated, or its header is wrong.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _LENGTH_BYTES:
                _refuse(path, f"has {size} bytes, fewer than the {_LENGTH_BYTES} of its length")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    header_bytes = int.from_bytes(mapped[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + header_bytes
    if header_bytes > _LARGEST_HEADER or start > size:
        _refuse(path, f"has {size} bytes, its header alone claims {header_bytes}")
    header = _parse_header(path, mapped[_LENGTH_BYTES:start])
    _check_layout(path, header, size - start)
    try:
        return {name: _view(mapped, start, entry) for name, entry in header.items()}
    except (ValueError, OverflowError) as error:  # e.g. an empty tensor with a side of 2**70
        _refuse(path, f"has a shape that NumPy refuses: {error}")


@dataclass(frozen=True)
class _Entry:
    """One tensor of a header, its types checked."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _parse_header(path: Path, text: bytes) -> dict[str, _Entry]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as error:  # undecodable, malformed, repeated, too deep
        _refuse(path, f"has a header that is not JSON: {error}")
    if not isinstance(header, dict):
        _refuse(path, f"has a header that is not a JSON object but {type(header).__name__}")
    return {
        name: _parse_entry(path, name, value)
        for name, value in header.items()
        if name != _METADATA_KEY
    }


def _parse_entry(path: Path, name: str, value: object) -> _Entry:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end]}:
            numbers = [*shape, begin, end]
            if not all(type(number) is int and number >= 0 for number in numbers):
                _refuse(path, f"tensor {name}: shape {shape}, offsets {[begin, end]}")
        case _:
            _refuse(path, f"tensor {name}: not a dtype, a shape and two offsets: {value!r:.200}")
    if dtype not in _STORAGE:
        _refuse(path, f"tensor {name}: dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    expected = math.prod(shape) * _STORAGE[dtype].itemsize
    if end - begin != expected:
        _refuse(path, f"tensor {name}: {dtype} {shape} is {expected} bytes, not {end - begin}")
    return _Entry(dtype, tuple(shape), begin, end)


def _check_layout(path: Path, header: Mapping[str, _Entry], data_bytes: int) -> None:
    """Tensors must fill the bytes after the header exactly: no overlap, no gap, no rest."""
    position = 0
    for name, entry in sorted(header.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            fault = "overlaps the one before" if entry.begin < position else "leaves a gap"
            _refuse(path, f"tensor {name}: starts at {entry.begin}, not {position}: it {fault}")
        position = entry.end
    if position != data_bytes:
        _refuse(path, f"holds {data_bytes} bytes of tensors, its header promises {position}")


def _view(mapped: mmap.mmap, start: int, entry: _Entry) -> HostTensor:
    storage = _STORAGE[entry.dtype]
    count = math.prod(entry.shape)
    # frombuffer refuses an offset at the very end, where empty tensors may lie.
    flat = (
        np.frombuffer(mapped, dtype=storage, count=count, offset=start + entry.begin)
        if count
        else np.empty(0, dtype=storage)
    )
    aligned = np.require(flat, requirements="A")  # others' files may have odd header lengths
    return HostTensor(entry.dtype, entry.shape, aligned.reshape(entry.shape))


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{', '.join(repeated)} occurs twice")
    return found


def _refuse(path: Path, reason: str) -> NoReturn:
    raise CheckpointCorrupt(path.parent, f"{path.name} {reason}")
