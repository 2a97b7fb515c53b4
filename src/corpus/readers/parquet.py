"""Parquet: columns named by language, or a column `translation` of structs that are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from src.corpus.readers.blocks import BAD_ENCODING, MALFORMED, BadRow, Block, block_of_columns
from src.corpus.readers.encoding import check_is_not_packed
from src.corpus.readers.kernels import valid_lines
from src.corpus.readers.labels import find_labels
from src.corpus.readers.line_index import few_ranges
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import (
    HEAD_BYTES_OF_KIND,
    explained_read_errors,
    is_compressed,
    kind_of,
    read_head,
)
from src.corpus.texts import Texts
from src.errors import DataError

_STRUCT = "translation"
_TEXT_TYPES = frozenset(
    {
        *(pa.string(), pa.large_string(), pa.string_view()),
        *(pa.binary(), pa.large_binary(), pa.binary_view()),
    }
)


@dataclass(frozen=True)
class ParquetFile:
    """A `RowFile`.

    Attributes:
        path: The file.
        columns: Columns of the first and the second language of the corpus; names joined by a dot
            lead into a struct.
        group_starts: First row of every row group, and the number of rows of the file.
    """

    path: Path
    columns: tuple[str, str]
    group_starts: tuple[int, ...]

    @property
    def row_count(self) -> int:
        """Rows."""
        return self.group_starts[-1]

    @property
    def layout(self) -> tuple[str | int, ...]:
        """The columns."""
        return self.columns

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Row groups, as many together as make a chunk; a few pieces of a very large one."""
        begin = 0
        for end in self.group_starts[1:]:
            if end - begin >= 2 * chunk_size:
                for first, count in few_ranges(end - begin, chunk_size):
                    yield begin + first, count
            elif end - begin >= chunk_size or end == self.row_count:
                yield begin, end - begin
            else:
                continue
            begin = end

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Rows; one without one of the texts is malformed."""
        group = int(np.searchsorted(self.group_starts, first, side="right")) - 1
        skip, row = first - self.group_starts[group], first
        with _explained(self.path), pq.ParquetFile(self.path) as file:
            groups = range(group, file.num_row_groups)
            batches = file.iter_batches(
                block_rows, row_groups=groups, columns=list(self.columns), use_threads=False
            )
            for batch in batches:
                part = batch.slice(skip, first + count - row)
                skip -= min(skip, len(batch))
                if len(part):
                    yield self._block(part, row + 1)
                    row += len(part)
                if row == first + count:
                    return
        raise DataError(
            f"{self.path}: became shorter while it was read; run again when it is complete"
        )

    def _block(self, batch: pa.RecordBatch, number: int) -> Block:
        sides = [_column(batch, name) for name in self.columns]
        present = pc.and_(pc.is_valid(sides[0]), pc.is_valid(sides[1]))
        present = present.to_numpy(zero_copy_only=False)
        left, right = (Texts.from_arrow(pc.fill_null(side, "")) for side in sides)
        valid = _valid(left) & _valid(right)
        good = present & valid
        bad = []
        for row in np.flatnonzero(~good).tolist():
            cells = [_shown(side, row) for side in (left, right)]
            bad.append(
                BadRow(number + row, MALFORMED if valid[row] else BAD_ENCODING, "\t".join(cells))
            )
        if bad:
            rows = np.flatnonzero(good)
            left, right = left.take(rows), right.take(rows)
        return block_of_columns(left, right, bad)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column as bytes, since files may promise UTF-8 and hold something else."""
    first, _, field = name.partition(".")
    column = batch.column(batch.schema.get_field_index(first))
    if field and pa.types.is_struct(column.type):
        column = pc.struct_field(column, field)
    return column.cast(pa.large_binary()).view(pa.large_string())


def _shown(texts: Texts, row: int) -> str:
    cell = texts.data[texts.offsets[row] : texts.offsets[row + 1]]
    return cell.tobytes().decode("utf-8", "replace")


def _valid(texts: Texts) -> NDArray[np.bool_]:
    return valid_lines(texts.data, texts.offsets[:-1], texts.offsets[1:])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    with explained_read_errors(path):
        try:
            yield
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{path}: is no whole Parquet file ({str(error).splitlines()[0]}); fetch it again "
                "or set the right format"
            ) from error
        except pa.ArrowException as error:
            raise DataError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from error


def open_parquet(request: Request) -> ParquetFile:
    """Looks at a file's metadata.

    Raises:
        DataError: If it cannot be read or has no text columns of the two languages.
    """
    (path,) = request.paths
    if is_compressed(path):
        raise DataError(f"{path}: Parquet files are compressed inside; unpack it first")
    head = read_head(path, HEAD_BYTES_OF_KIND)
    if kind_of(head) != "Parquet":
        check_is_not_packed(path, head)
    with _explained(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        metadata = file.metadata
        counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    columns = _find_columns(path, schema, request.languages)
    if not sum(counts):
        raise DataError(f"{path}: is empty; remove it from data.sources or fill it")
    starts = np.concatenate([[0], np.cumsum(counts)])
    return ParquetFile(path, columns, tuple(starts.tolist()))


def _find_columns(path: Path, schema: pa.Schema, languages: tuple[str, str]) -> tuple[str, str]:
    fields = {field.name: field.type for field in schema}
    columns = list(schema.names)
    struct = fields.get(_STRUCT)
    if struct is not None and pa.types.is_struct(struct):
        inner = [struct.field(place) for place in range(struct.num_fields)]
        columns += [f"{_STRUCT}.{field.name}" for field in inner]
        fields |= {f"{_STRUCT}.{field.name}": field.type for field in inner}
    names = list(fields)
    left, right = find_labels([name.removeprefix(f"{_STRUCT}.") for name in names], languages)
    if left is None or right is None:
        raise DataError(
            f"{path}: its columns are {', '.join(map(str, schema.names))}; name the two texts "
            f"{languages[0]} and {languages[1]}"
        )
    for name in (names[left], names[right]):
        count = max(columns.count(name), columns.count(name.partition(".")[0]))
        if count > 1:
            raise DataError(f"{path}: {count} of its columns are called {name}; rename all but one")
        kind = fields[name].value_type if pa.types.is_dictionary(fields[name]) else fields[name]
        if kind not in _TEXT_TYPES:
            raise DataError(f"{path}: column {name} holds {kind}, not text")
    return names[left], names[right]
