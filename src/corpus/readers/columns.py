"""Which columns of a table hold the two languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.corpus.readers.labels import find_labels, language_of
from src.errors import DataError

SAMPLE_LINES = 1000


class Columns(NamedTuple):
    """Where the cells are.

    Attributes:
        left: Column of the first language of the corpus.
        right: Column of the second.
        width: Cells in a row.
        header_lines: Lines up to the one that names the columns; 0 when none does.
    """

    left: int
    right: int
    width: int
    header_lines: int

    @property
    def places(self) -> tuple[int, int, int]:
        """Left, right and width, as the compiled loops want them."""
        return self.left, self.right, self.width


def find_columns(
    path: Path, rows: Sequence[Sequence[str]], languages: tuple[str, str], order: tuple[str, str]
) -> Columns | None:
    """Finds them by their names, or takes the first two.

    Args:
        path: For messages.
        rows: The first rows, blank ones and the header among them.
        languages: Of the corpus.
        order: The same two as a table without names has them.

    Returns:
        None where most rows have a single cell.

    Raises:
        DataError: If the first row names languages, but not both of these.
    """
    first = next((place for place, row in enumerate(rows) if not is_blank(row)), 0)
    names = rows[first] if rows else []
    left, right = find_labels(names, languages)
    if left is not None and right is not None:
        return Columns(left, right, len(names), header_lines=first + 1)
    named = {language_of(name) for name in names} - {None}
    if len(named) > 1:
        missing = languages[0] if left is None else languages[1]
        raise DataError(
            f"{path}: its columns are {', '.join(names)}, and none is {missing}; name the two "
            "languages of this source with `languages`"
        )
    widths = Counter(len(row) for row in rows if not is_blank(row))
    width = widths.most_common(1)[0][0] if widths else 0
    if width < len(languages):
        return None
    return Columns(order.index(languages[0]), order.index(languages[1]), width, header_lines=0)


def is_blank(row: Sequence[str]) -> bool:
    """Whether a row is an empty line."""
    return len(row) == 0 or (len(row) == 1 and not row[0])


def uncut_line(rows: Sequence[Sequence[str]], lines_before: int = 0) -> str:
    """The first row of a single cell, for the message about a file that has no columns.

    Args:
        rows: The first rows.
        lines_before: Those of them that are no table.
    """
    for number, row in enumerate(rows[lines_before:], start=lines_before + 1):
        if len(row) == 1 and not is_blank(row):
            return f"line {number:,}"
    return "its beginning"
