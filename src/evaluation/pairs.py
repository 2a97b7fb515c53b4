"""The held-out pairs that a model is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from src.errors import DataError

Item = TypeVar("Item")


def read_pairs(
    data_folder: Path, split: str, languages: tuple[str, str], max_samples: int | None
) -> list[dict[str, str]]:
    """Pairs of a split, as language → text, spread evenly over it where not all are wanted.

    Args:
        data_folder: `data.output_dir`.
        split: "test" or "dev".
        languages: Of the two sides, in any order.
        max_samples: Largest number of pairs. None: all.

    Raises:
        DataError: If there are none or a file cannot be read.
    """
    folder = data_folder / "text"
    paths = [
        path
        for one, other in (languages, languages[::-1])
        for path in sorted(folder.glob(f"{split}-{one}-{other}-[0-9]*.parquet"))
    ]
    names = "-".join(languages)
    if not paths:
        raise DataError(
            f"no {split} pairs of {names} in {folder}; run `python run.py process` with this "
            "configuration first"
        )
    pairs = [pair for path in paths for pair in _read_shard(path, languages)]
    if not pairs:
        raise DataError(
            f"the {split} split of {names} in {folder} is empty; process more data or set "
            f"data.splits.{split}"
        )
    return spread(pairs, max_samples or len(pairs))


def _read_shard(path: Path, languages: tuple[str, str]) -> list[dict[str, str]]:
    try:
        pairs: list[dict[str, str]] = pq.read_table(path, columns=list(languages)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); run `python run.py process` "
            "again"
        ) from error
    return pairs


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items at even distances, the first one included; always the same ones."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]
