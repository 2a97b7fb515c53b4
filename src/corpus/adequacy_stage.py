"""Adequacy over the whole corpus: a lexicon per pair of languages, then a score per row.

The lexicon is learned from a sample that no threshold influences, so that changing one computes
nothing anew; scores lie beside the unit they belong to, in a file named by the lexicon. Rows that
nobody asked about (they were dropped before) are not scored until somebody does.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src.corpus.adequacy import Lexicon, learn
from src.corpus.arrays import write_array
from src.corpus.dedup import surplus
from src.corpus.keys import PAIR
from src.corpus.mixing import mixed
from src.corpus.texts import Texts
from src.corpus.unit_files import LEFT, RIGHT, read_blocks_of, read_counts
from src.corpus.unit_rows import BlockPlace, Corpus, Languages
from src.corpus.verdicts import Mask
from src.errors import DataError
from src.files import expand_home, replaced_when_done, write_text
from src.schema.data import AdequacyConfig
from src.tasks.engine import Engine
from src.tasks.progress import Progress

_SAMPLE_QUALITY = 0.5
_SAMPLE_SALT = 0x5A17
_NOT_SCORED = np.float32(-1.0)
_ORIGIN = "learned_from.json"

Scores = NDArray[np.float32]


class AdequacyScores:
    """Scores of a corpus; `ensure` computes what is missing.

    Args:
        corpus: Rows of finished units.
        settings: How to learn.
        folder: Where lexicons are kept, one folder per pair of languages.
    """

    def __init__(self, corpus: Corpus, settings: AdequacyConfig, folder: Path) -> None:
        self._corpus = corpus
        self._settings = settings
        self._folder = expand_home(settings.lexicon) if settings.lexicon else folder
        self._lexicons: dict[Languages, Lexicon] = {}

    def ensure(self, languages: Languages, wanted: Mask, engine: Engine) -> None:
        """Scores the wanted rows of a pair of languages.

        Raises:
            DataError: If a configured lexicon is not there.
            WorkerLost: If a worker process dies.
        """
        self._lexicons[languages] = self._find_or_learn(languages, engine.workers)
        tasks = list(self._tasks(languages, wanted))
        progress = Progress("judging adequacy", sum(task.row_count for task in tasks))
        for task, _ in engine.run(score_rows, tasks, describe=str):
            progress.add(task.row_count)

    def of(self, place: BlockPlace) -> Scores:
        """`[N]` scores of a block: NaN where it cannot be judged, -1 where nobody asked."""
        unit = self._corpus.units[place.unit]
        if (lexicon := self._lexicons.get(unit.table.languages)) is None:
            return np.full(place.rows.stop - place.rows.start, np.nan, np.float32)
        file = _scores_file(unit.folder, lexicon.fingerprint)
        size = place.rows.stop - place.rows.start
        if not file.is_file():
            return np.full(size, _NOT_SCORED, np.float32)
        return np.array(np.load(file, mmap_mode="r")[place.begin : place.begin + size])

    def _find_or_learn(self, languages: Languages, workers: int) -> Lexicon:
        folder = self._folder / "-".join(languages)
        if self._settings.lexicon is not None:
            if not folder.is_dir():
                raise DataError(
                    f"{folder}: data.adequacy.lexicon={self._settings.lexicon} holds no lexicon "
                    f"of {'-'.join(languages)}; name the folder `lexicon` of an earlier "
                    "output_dir, or leave the key out to learn one"
                )
            return Lexicon.load(folder)
        origin = self._origin(languages)
        if _read_origin(folder) == origin:
            return Lexicon.load(folder)
        mask = self._sample(languages)
        lexicon = learn(
            lambda: self._texts(mask), table_mib=self._settings.table_mib, workers=workers
        )
        shutil.rmtree(folder, ignore_errors=True)
        lexicon.save(folder)
        write_text(folder / _ORIGIN, json.dumps(origin) + "\n")
        return Lexicon.load(folder)

    def _origin(self, languages: Languages) -> str:
        """Fingerprint of everything that learning depends on."""
        names = [u.folder.name for u in self._corpus.units if u.table.languages == languages]
        document = [names, self._settings.sample_pairs, self._settings.table_mib]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()

    def _sample(self, languages: Languages) -> Mask:
        """`[N]` the rows to learn from: decent ones, each pair once, about `sample_pairs`."""
        mask = self._corpus.rows_of(languages)
        for place in self._corpus.blocks:
            quality = self._corpus.read(place, ["quality"])["quality"].to_numpy()
            mask[place.rows] &= quality >= _SAMPLE_QUALITY
        for positions in surplus(self._corpus.keys, PAIR, mask.copy(), limit=1):
            mask[positions] = False
        share = self._settings.sample_pairs / max(1, int(np.count_nonzero(mask)))
        if share < 1:
            limit = np.uint64(int(share * 2**64))
            salt = mixed(np.array([_SAMPLE_SALT], np.uint64))
            for rows, (keys,) in self._corpus.keys.pieces(PAIR):
                mask[rows] &= mixed(keys ^ salt) < limit
        return mask

    def _texts(self, mask: Mask) -> Iterator[tuple[Texts, Texts]]:
        for place in self._corpus.blocks:
            rows = np.flatnonzero(mask[place.rows])
            if len(rows):
                yield self._corpus.texts(place, rows)

    def _tasks(self, languages: Languages, wanted: Mask) -> Iterator[ScoringTask]:
        lexicon = self._lexicons[languages]
        places: dict[int, list[BlockPlace]] = {}
        for place in self._corpus.blocks:
            if self._corpus.units[place.unit].table.languages == languages:
                places.setdefault(place.unit, []).append(place)
        for number, blocks in places.items():
            rows = wanted[blocks[0].rows.start : blocks[-1].rows.stop]
            scored = np.concatenate([self.of(place) for place in blocks])
            missing = rows & (scored == _NOT_SCORED)
            if missing.any():
                yield ScoringTask(
                    unit=self._corpus.units[number].folder,
                    lexicon=self._folder / "-".join(languages),
                    fingerprint=lexicon.fingerprint,
                    rows=len(rows),
                    missing=np.packbits(missing).tobytes(),
                    row_count=int(np.count_nonzero(missing)),
                )


@dataclass(frozen=True)
class ScoringTask:
    """Rows of one unit to score.

    Attributes:
        unit: Its folder.
        lexicon: Folder of the lexicon.
        fingerprint: Of the lexicon.
        rows: Readable rows of the unit.
        missing: Which of them to score, as packed bits.
        row_count: How many those are.
    """

    unit: Path
    lexicon: Path
    fingerprint: str
    rows: int
    missing: bytes
    row_count: int

    def __str__(self) -> str:
        return f"adequacy of {self.unit}"


def score_rows(task: ScoringTask) -> None:
    """Scores the missing rows of a unit and writes its file of scores anew."""
    lexicon = _load(task.lexicon, task.fingerprint)
    missing = np.unpackbits(np.frombuffer(task.missing, np.uint8), count=task.rows).astype(bool)
    file = _scores_file(task.unit, task.fingerprint)
    scores = np.load(file) if file.is_file() else np.full(task.rows, _NOT_SCORED, dtype=np.float32)
    begin = 0
    batches = read_blocks_of(task.unit, [LEFT, RIGHT])
    for size, batch in zip(read_counts(task.unit).blocks, batches, strict=True):
        rows = np.flatnonzero(missing[begin : begin + size])
        left, right = (Texts.from_arrow(batch[name]).take(rows) for name in (LEFT, RIGHT))
        scores[begin + rows] = lexicon.score(left, right)
        begin += size
    _write_scores(file, scores)


def _write_scores(file: Path, scores: Scores) -> None:
    with replaced_when_done(file) as partial:
        write_array(partial, scores)
    for other in file.parent.glob("adequacy-*"):
        if other != file:
            other.unlink(missing_ok=True)


@lru_cache(maxsize=2)
def _load(folder: Path, fingerprint: str) -> Lexicon:
    lexicon = Lexicon.load(folder)
    if lexicon.fingerprint != fingerprint:
        raise DataError(f"{folder}: changed while it was used; run `python run.py process` again")
    return lexicon


def _scores_file(unit: Path, fingerprint: str) -> Path:
    return unit / f"adequacy-{fingerprint[:16]}.npy"


def _read_origin(folder: Path) -> str | None:
    try:
        origin = json.loads((folder / _ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return origin if isinstance(origin, str) else None
