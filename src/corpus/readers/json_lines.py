"""JSON lines: one object a line, `{"en": …, "zh": …}` or `{"translation": {"en": …, "zh": …}}`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from src.corpus.readers.blocks import BAD_ENCODING, MALFORMED, BadRow, Block, Pair, block_of_rows
from src.corpus.readers.columns import SAMPLE_LINES
from src.corpus.readers.encoding import check_is_utf8_text
from src.corpus.readers.labels import find_labels
from src.corpus.readers.line_index import LineIndex, index_lines
from src.corpus.readers.line_reader import Lines, line_blocks
from src.corpus.readers.row_file import Request
from src.corpus.readers.streams import read_head
from src.errors import DataError

_parse = json.JSONDecoder().decode


@dataclass(frozen=True)
class JsonLinesFile:
    """A `RowFile`.

    Attributes:
        index: Its lines.
        keys: What the file calls the first and the second language of the corpus.
    """

    index: LineIndex
    keys: tuple[str, str]

    @property
    def row_count(self) -> int:
        """Lines."""
        return self.index.line_count

    @property
    def layout(self) -> tuple[str | int, ...]:
        """The keys."""
        return self.keys

    def ranges(self, chunk_size: int) -> Iterator[tuple[int, int]]:
        """Chunks; a few large ones where the file is compressed."""
        return self.index.ranges(self.row_count, chunk_size)

    def read(self, first: int, count: int, block_rows: int) -> Iterator[Block]:
        """Lines as pairs; what is no object with two texts is malformed."""
        number = first + 1
        with self.index.reader_at(first) as reader:
            for (lines,) in line_blocks((reader,), count, block_rows):
                yield block_of_rows(list(self._rows(lines, number)))
                number += len(lines.starts)

    def _rows(self, lines: Lines, first: int) -> Iterator[Pair | BadRow]:
        begin = int(lines.bounds[0])
        content = lines.data[begin : int(lines.bounds[-1])].tobytes()
        left, right = self.keys
        for number, (start, end) in enumerate(pairwise((lines.bounds - begin).tolist()), first):
            line = content[start:end].rstrip(b"\r\n")
            try:
                document = _translation(_parse(line.decode("utf-8")))
            except UnicodeDecodeError:
                yield BadRow(number, BAD_ENCODING, line.decode("utf-8", "replace"))
                continue
            except (ValueError, RecursionError):
                document = {}
            texts = document.get(left), document.get(right)
            if isinstance(texts[0], str) and isinstance(texts[1], str):
                yield Pair(number, texts[0], texts[1])
            else:
                yield BadRow(number, MALFORMED, line.decode("utf-8"))


def _translation(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        return {}
    inner = document.get("translation")
    return inner if isinstance(inner, dict) else document


def open_json_lines(request: Request) -> JsonLinesFile:
    """Looks through a file.

    Raises:
        DataError: If it cannot be read, is no text, or no object at its beginning has both
            languages.
    """
    (path,) = request.paths
    head = read_head(path)
    check_is_utf8_text(path, head)
    for line in head.removeprefix(b"\xef\xbb\xbf").split(b"\n")[:SAMPLE_LINES]:
        try:
            names = list(_translation(_parse(line.decode("utf-8"))))
        except (ValueError, RecursionError):
            continue
        left, right = find_labels(names, request.languages)
        if left is not None and right is not None:
            return JsonLinesFile(index_lines(path, request.step), (names[left], names[right]))
    left_name, right_name = request.languages
    raise DataError(
        f'{path}: none of its first lines is an object with "{left_name}" and "{right_name}"; '
        f'each line needs {{"{left_name}": "…", "{right_name}": "…"}}, or set the right format'
    )
