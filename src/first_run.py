"""The machine code of the data stage, made by all cores before the first pair of the first run.

Left alone, every worker process would compile what it meets when it meets it, and each the same:
minutes, most of them on one core. Here each task calls one room of the stage with a few sentences,
with arrays of the types that it works on, so that all of its compiled functions are made and kept
(see `src.compiled`); workers find them.
"""

from __future__ import annotations

import gc
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name  # type: ignore[import-untyped]
from numpy.typing import NDArray

from src.compiled import machine_code_folder
from src.corpus import readers
from src.corpus.adequacy import learn
from src.corpus.key_tables import KeyTable
from src.corpus.keys import pair_keys
from src.corpus.normalise import Normaliser
from src.corpus.sampling import choose, coverage
from src.corpus.scoring.block import new_block
from src.corpus.scoring.pair import describe_pair
from src.corpus.scoring.shared import SharedScores, compare_sides, new_scratch
from src.corpus.scoring.side import SideScores, measure_side
from src.corpus.texts import Texts
from src.files import write_text
from src.schema.data import DataConfig, NormaliseConfig, SourceConfig
from src.tasks.processes import run_tasks
from src.tokens.columns import TextColumn
from src.tokens.fast_encoder import FastEncoder
from src.tokens.merging import MOST_IDS, STARTS, Tables, pair_table
from src.tokens.pieces import survey
from src.units import format_seconds

logger = logging.getLogger(__name__)

_LANGUAGES = ("en", "zh")
# Between them they need every compiled repair.
_LEFT = ("<p>Two  words,12 cats</p>", "- a list, its first item", "a\u200bb", "one sentence more")
_RIGHT = ("<p>两 个词,12 只猫</p>", "清单的第一项 。", "體面,好", "又一句话")
_MORE_PAIRS = 4096
_WORDS = 200


def make_machine_code(data: DataConfig, workers: int) -> None:
    """Compiles what the stage will need, unless an earlier run did.

    Args:
        data: The configuration of the stage; what it switches off is not compiled.
        workers: Processes.

    Raises:
        WorkerLost: If a worker process dies.
    """
    missing = [room for room in rooms_of(data) if not _is_made(room)]
    if not missing or numba.config.DISABLE_JIT:  # type: ignore[attr-defined]  # made at import
        return
    logger.info("compiling for this machine, once: less than a minute")
    started = time.monotonic()
    for _ in run_tasks(make_room, missing, workers=workers, describe="machine code of {}".format):
        pass
    logger.info("compiled in %s", format_seconds(time.monotonic() - started))


def rooms_of(data: DataConfig) -> list[str]:
    """The rooms of the stage that a configuration needs, those that take longest first."""
    rooms = ["comparing", "repairing", "measuring"]
    if data.adequacy.min_score > 0:
        rooms.append("adequacy")
    rooms += ["tokens", "reading"]
    if data.sample_size is not None:
        rooms.append("sampling")
    return rooms


def make_room(room: str) -> None:
    """Compiles one of `rooms_of` and notes that it is made."""
    gc.disable()  # it would look through what compiling makes again and again: a fifth of the time
    try:
        _ROOMS[room]()
    finally:
        gc.enable()
    machine_code_folder().mkdir(parents=True, exist_ok=True)  # else only when there is any
    write_text(_marker(room), _machine())


def _is_made(room: str) -> bool:
    marker = _marker(room)
    return marker.is_file() and marker.read_text(encoding="utf-8") == _machine()


def _marker(room: str) -> Path:
    return machine_code_folder() / f"{room}.made"


def _machine() -> str:
    """What machine code depends on beside its sources."""
    return f"numba {numba.__version__}, {get_host_cpu_name()}\n"


def _measuring() -> None:
    pair, scratch = describe_pair(_LANGUAGES, 1.0), new_scratch()
    scores = SideScores(*np.empty((len(SideScores._fields), len(_LEFT))))
    measure_side(Texts.of(_LEFT), pair, pair.sides[0], new_block(), scratch.room, scores)


def _comparing() -> None:
    nothing = SharedScores(*np.empty((len(SharedScores._fields), 0)))
    compare_sides(
        (new_block(), new_block()), describe_pair(_LANGUAGES, 1.0), new_scratch(), nothing
    )


def _repairing() -> None:
    Normaliser(NormaliseConfig(), _LANGUAGES).apply(Texts.of(_LEFT), Texts.of(_RIGHT))


def _reading() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tsv"
        lines = (f"{left}\t{right}\n" for left, right in zip(_LEFT, _RIGHT, strict=True))
        path.write_text("en\tzh\n" + "".join(lines), encoding="utf-8")
        source = SourceConfig(path=str(path))
        (table,) = readers.open_tables(source, "rows", 1, _LANGUAGES)
        (block,) = readers.read_blocks(table, 0, len(_LEFT), len(_LEFT))
    keys = pair_keys(block.left, block.right)[0]
    everything = np.ones(len(keys), np.bool_)
    counts = KeyTable()
    counts.add(keys, everything, 1)
    counts.only_above(0).above(keys, everything, 0)


def _adequacy() -> None:
    left, right = _more_pairs()
    learn(lambda: iter([(left, right)]), table_mib=1, workers=1).score(left, right)


def _sampling() -> None:
    pool = _Pool(*_more_pairs())
    chosen = choose(pool, "diverse", len(_LEFT), 0)
    coverage(pool, chosen.masks, *pool.texts(0), seed=0, workers=1)


def _tokens() -> None:
    ids = np.zeros(1, np.uint32)
    tables = Tables(
        classes=np.zeros(0x110000, np.uint8),
        starts=np.zeros(STARTS, np.int32),
        pairs=pair_table(ids, ids),
        merged_ids=np.zeros(MOST_IDS, np.uint32),
    )
    encoder, nothing = FastEncoder(tables), TextColumn.of([])
    survey(nothing.data, nothing.offsets, tables.classes)
    encoder.encode(nothing, encoder.memory(), np.zeros(0, np.bool_))


_ROOMS: dict[str, Callable[[], None]] = {
    "comparing": _comparing,
    "measuring": _measuring,
    "repairing": _repairing,
    "adequacy": _adequacy,
    "sampling": _sampling,
    "tokens": _tokens,
    "reading": _reading,
}


def _more_pairs() -> tuple[Texts, Texts]:
    """Sentences of words that go with one another, enough to learn from."""
    words = np.random.default_rng(0).integers(_WORDS, size=(_MORE_PAIRS, 2 * len(_LEFT)))
    left = [" ".join(f"w{chr(0x61 + word % 26)}{word // 26}" for word in row) for row in words]
    right = ["".join(chr(0x4E00 + word) for word in row) for row in words]
    return Texts.of(left), Texts.of(right)


class _Pool:
    """One block of candidates; see `src.corpus.sampling.Pool`."""

    def __init__(self, left: Texts, right: Texts) -> None:
        self._texts = left, right

    block_count = 1

    def rows(self, _: int) -> int:
        return len(self._texts[0])

    def keys(self, _: int) -> NDArray[np.uint64]:
        return np.arange(len(self._texts[0]), dtype=np.uint64)

    def scores(self, _: int) -> NDArray[np.float32]:
        return np.zeros(len(self._texts[0]), np.float32)

    def weight(self, _: int) -> float:
        return 1.0

    def texts(self, _: int) -> tuple[Texts, Texts]:
        return self._texts
