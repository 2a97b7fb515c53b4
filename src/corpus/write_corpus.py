"""Writing the processed corpus: `text/` and `rejected/`, shard by shard, by several workers.

A shard holds 500,000 rows of one split in the order of the corpus, so its content follows from the
verdicts alone, whoever writes it and when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from src.corpus.arrays import write_array
from src.corpus.quantities import Histograms, histograms
from src.corpus.shards import ShardFile, shard_path, shard_schema
from src.corpus.texts import Texts
from src.corpus.unit_files import LEFT, RIGHT, read_blocks_of, read_unreadable
from src.corpus.unit_rows import Corpus, Languages
from src.corpus.verdicts import SPLITS, Verdict, Verdicts
from src.host_memory import release_freed_memory
from src.tasks.engine import Engine
from src.tasks.progress import Progress

ROWS_PER_SHARD = 500_000
_REJECTED = "rejected"
_VERDICTS = "verdicts.npy"
_CODES = 256


class Piece(NamedTuple):
    """Rows of one unit that go into a shard.

    Attributes:
        folder: Of the unit.
        source: Name of the source.
        rows: Its place in the corpus.
        skip: Rows of this kind that went into an earlier shard.
        take: Rows of this kind that belong here.
    """

    folder: Path
    source: str
    rows: slice
    skip: int
    take: int


@dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
        split: A split, or "rejected".
        path: The shard.
        languages: Of its sides.
        verdicts: File of all verdicts.
        reasons: Reason by code, for rejected rows.
        pieces: Where its rows are, in order.
    """

    split: str
    path: Path
    languages: Languages
    verdicts: Path
    reasons: dict[int, str]
    pieces: tuple[Piece, ...]

    def __str__(self) -> str:
        return str(self.path)

    @property
    def row_count(self) -> int:
        """Rows in the shard."""
        return sum(piece.take for piece in self.pieces)


def write_corpus(
    corpus: Corpus, verdicts: Verdicts, reasons: dict[int, str], folder: Path, engine: Engine
) -> Histograms:
    """Writes `text/` and `rejected/` below a folder.

    Args:
        corpus: Rows of finished units.
        verdicts: `[N]` what becomes of each.
        reasons: Reason by code of a verdict.
        folder: Exists.
        engine: What runs tasks.

    Returns:
        Histograms of what is in the splits.

    Raises:
        WorkerLost: If a worker process dies.
    """
    for name in ("text", _REJECTED):
        (folder / name).mkdir(parents=True)
    file = folder / _VERDICTS
    write_array(file, verdicts)
    tasks = [
        ShardTask(split, path, languages, file, reasons, pieces)
        for languages in corpus.languages()
        for split in (*SPLITS, _REJECTED)
        for path, pieces in _plan(corpus, verdicts, languages, split, folder)
    ]
    progress = Progress("writing", sum(task.row_count for task in tasks))
    totals: Histograms = {}
    for task, after in engine.run(write_shard, tasks, describe=str):
        progress.add(task.row_count)
        for name, bins in after.items():
            totals[name] = totals.get(name, np.zeros_like(bins)) + bins
    file.unlink()
    return totals


def verdict_counts(corpus: Corpus, verdicts: Verdicts) -> NDArray[np.int64]:
    """`[units, 256]` rows of each unit by the code of their verdict."""
    counts = np.zeros((len(corpus.units), _CODES), np.int64)
    for place in corpus.blocks:
        counts[place.unit] += np.bincount(verdicts[place.rows], minlength=_CODES)
    return counts


def _plan(
    corpus: Corpus, verdicts: Verdicts, languages: Languages, split: str, folder: Path
) -> Iterator[tuple[Path, tuple[Piece, ...]]]:
    """The shards of one split; a split without rows has one, empty."""
    counts = verdict_counts(corpus, verdicts)
    room, number = ROWS_PER_SHARD, 0
    pieces: list[Piece] = []
    parent = folder / (_REJECTED if split == _REJECTED else "text")
    for index, unit in enumerate(corpus.units):
        if unit.table.languages != languages:
            continue
        left = _rows_for(split, counts[index], sum(corpus.counts[index].unreadable.values()))
        skip = 0
        while left:
            take = min(left, room)
            place = slice(int(corpus.keys.starts[index]), int(corpus.keys.starts[index + 1]))
            pieces.append(Piece(unit.folder, unit.table.source, place, skip, take))
            skip, left, room = skip + take, left - take, room - take
            if not room:
                yield shard_path(parent, split, languages, number), tuple(pieces)
                room, number, pieces = ROWS_PER_SHARD, number + 1, []
    if pieces or not number:
        yield shard_path(parent, split, languages, number), tuple(pieces)


def _rows_for(split: str, counts: NDArray[np.int64], unreadable: int) -> int:
    if split == _REJECTED:
        return int(counts[Verdict.DUPLICATE_PAIR :].sum()) + unreadable
    return int(counts[SPLITS[split]])


def write_shard(task: ShardTask) -> Histograms:
    """Writes one shard; returns the histograms of a split's rows."""
    verdicts = np.load(task.verdicts, mmap_mode="r")
    is_rejected = task.split == _REJECTED
    totals: Histograms = {}
    with ShardFile(task.path, shard_schema(task.languages, with_reason=is_rejected)) as shard:
        for piece in task.pieces:
            for rows in _rows(task, piece, verdicts[piece.rows]):
                shard.write(rows.columns(piece.source, with_reason=is_rejected))
                if not is_rejected:
                    _add(totals, rows)
    release_freed_memory()  # shards differ in size, and what they leave adds up
    return totals


class _Rows(NamedTuple):
    left: Texts
    right: Texts
    quality: NDArray[np.float32]
    length_ratio: NDArray[np.float32]
    reasons: list[str]

    def columns(self, source: str, *, with_reason: bool) -> list[pa.Array]:
        arrays = [self.left.to_arrow(), self.right.to_arrow()]
        arrays += [pa.repeat(pa.scalar(source), len(self.left)), pa.array(self.quality)]
        return [*arrays, pa.array(self.reasons, pa.string())] if with_reason else arrays


def _rows(task: ShardTask, piece: Piece, verdicts: Verdicts) -> Iterator[_Rows]:
    """The rows of a piece, block by block, in order."""
    skip, take = piece.skip, piece.take
    for rows in _all_rows(task, piece.folder, verdicts):
        size = len(rows.left)
        begin, end = min(skip, size), min(skip + take, size)
        skip, take = skip - begin, take - (end - begin)
        if end > begin:
            yield _Rows(
                rows.left.slice(begin, end),
                rows.right.slice(begin, end),
                rows.quality[begin:end],
                rows.length_ratio[begin:end],
                rows.reasons[begin:end],
            )
        if not take:
            return


def _all_rows(task: ShardTask, folder: Path, verdicts: Verdicts) -> Iterator[_Rows]:
    """All rows of a unit that are of the task's kind."""
    names = [LEFT, RIGHT, "quality", "length_ratio"]
    start = 0
    for batch in read_blocks_of(folder, names):
        here = np.asarray(verdicts[start : start + batch.num_rows])
        start += batch.num_rows
        code = SPLITS.get(task.split)
        rows = np.flatnonzero(here >= Verdict.DUPLICATE_PAIR if code is None else here == code)
        if len(rows):
            yield _Rows(
                Texts.from_arrow(batch[LEFT]).take(rows),
                Texts.from_arrow(batch[RIGHT]).take(rows),
                batch["quality"].to_numpy()[rows],
                batch["length_ratio"].to_numpy()[rows],
                [task.reasons[code] for code in here[rows].tolist()] if code is None else [],
            )
    if task.split == _REJECTED:
        unreadable = read_unreadable(folder)
        nothing = np.zeros(unreadable.num_rows, np.float32)
        yield _Rows(
            Texts.from_arrow(unreadable["text"]),
            Texts.of([""] * unreadable.num_rows),
            nothing,
            nothing,
            unreadable["reason"].to_pylist(),
        )


def _add(totals: Histograms, rows: _Rows) -> None:
    columns = {"quality": rows.quality, "length_ratio": rows.length_ratio}
    for name, bins in histograms(rows.left, rows.right, columns).items():
        totals[name] = totals.get(name, np.zeros_like(bins)) + bins
