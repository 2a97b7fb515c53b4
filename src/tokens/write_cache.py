"""Making a token cache from text shards, on all cores.

A cache is whole or absent: it is built in a hidden sibling folder that takes the place of the old
one at the end. Two renames are needed for that, as no file system swaps folders portably; whoever
finds the work of a process killed between them uses the old cache, which lies beside. What a killed
process has finished in the hidden folder is used by the next one, if that makes the same cache.
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from src.errors import DataError
from src.files import flush_to_disk, write_text
from src.tasks.engine import Engine
from src.tasks.progress import Progress
from src.tokens.cache import FORMAT, MANIFEST, sibling
from src.tokens.column_encoder import ColumnEncoder
from src.tokens.columns import TextColumn
from src.tokens.fast_encoder import FastEncoder
from src.tokens.tokenise import WORK, ShardPlan, TokeniseTask, save_encoder, tokenise_shards
from src.tokens.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

# Enough shards for many workers, and few enough to open them all at once.
_SHARDS, _LEAST_ROWS, _MOST_ROWS = 64, 50_000, 500_000
# The fast encoder is ready after a second or two, in which the reference does this many.
_FAST_FROM_ROWS = 20_000

_PLAN = "plan.json"


def write_token_cache(
    folder: Path,
    *,
    splits: Mapping[str, Sequence[Path]],
    tokenizer: Tokenizer,
    text_fingerprint: str,
    engine: Engine | None = None,
    shard_rows: int | None = None,
    fast_from_rows: int = _FAST_FROM_ROWS,
) -> Path:
    """Tokenises all splits and puts the cache at `folder`, whole or not at all.

    Every byte of it follows from the text and the tokenizer alone. One writer per folder at a time.

    Args:
        folder: An older cache there is replaced when the new one is whole.
        splits: Per split, Parquet files; the first two columns of each are the sides, named by
            their languages.
        tokenizer: Encodes both sides.
        text_fingerprint: Identifies the text; training refuses a cache of another.
        engine: Runs the tasks. None: this process.
        shard_rows: Pairs in a shard, more or less, and in a task, at least. None: as fits the size
            of the corpus.
        fast_from_rows: Fewer pairs are encoded by the reference encoder.

    Returns:
        `folder`.

    Raises:
        DataError: If a Parquet file is damaged, or `folder` holds something else.
        WorkerLost: If a worker dies; what is done is kept for the next call.
        OSError: If the disk is full or cannot be written; the same.
    """
    partial, previous = sibling(folder, "partial"), sibling(folder, "previous")
    refuse_foreign_folder(folder)
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)
    plans = _plan_shards(splits, shard_rows)
    identity = {
        "format": FORMAT,
        "text_fingerprint": text_fingerprint,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "vocab_size": tokenizer.vocab_size,
    }
    _prepare(partial, splits, plans, identity)
    missing = [plan for plan in plans if not plan.note(partial).is_file()]
    if missing:
        to_do = sum(plan.rows for plan in missing)
        fast = _build_fast(tokenizer) if to_do >= fast_from_rows else None
        encoder_id = save_encoder(partial, tokenizer, fast)
        tasks = _bundle(partial, encoder_id, missing, shard_rows or _LEAST_ROWS)
        total = sum(plan.rows for plan in plans)
        progress = Progress("tokenising", total, done=total - to_do)
        _run(tasks, engine or Engine(num_workers=1), progress)
    manifest = {**identity, "splits": _describe(partial, splits, plans)}
    shutil.rmtree(partial / WORK)
    write_text(partial / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    if folder.exists():
        folder.rename(previous)
    partial.rename(folder)
    flush_to_disk(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)
    return folder


def _plan_shards(splits: Mapping[str, Sequence[Path]], shard_rows: int | None) -> list[ShardPlan]:
    """Cuts text shards at row groups; depends on their footers only."""
    groups = {
        (split, path): _read_footer(path) for split, paths in splits.items() for path in paths
    }
    total = sum(sum(rows) for _, rows in groups.values())
    wanted = shard_rows or min(max(-(-total // _SHARDS), _LEAST_ROWS), _MOST_ROWS)
    plans: list[ShardPlan] = []
    for (split, path), (languages, group_rows) in groups.items():
        number = sum((plan.split, plan.languages) == (split, languages) for plan in plans)
        for begin, end in cut_evenly(group_rows, wanted):
            rows = sum(group_rows[begin:end])
            plans.append(ShardPlan(split, languages, number, path, (begin, end), rows))
            number += 1
    return plans


def _read_footer(path: Path) -> tuple[tuple[str, str], list[int]]:
    """The names of the first two columns, and the rows of each row group."""
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            left, right = file.schema_arrow.names[:2]
            rows = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
            return (left, right), rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} is no text shard ({str(error).splitlines()[0]}); make it again with "
            "`python run.py process`"
        ) from error


def cut_evenly(group_rows: Sequence[int], wanted: int) -> list[tuple[int, int]]:
    """Cuts row groups into runs of about `wanted` rows, as equal as the groups allow.

    Returns:
        The first group of each run and the one after its last. No run is without rows.
    """
    ends = list(itertools.accumulate(group_rows, initial=0))
    count = max(1, round(ends[-1] / wanted))

    def nearest(rows: float) -> int:
        return min(range(len(ends)), key=lambda place: abs(ends[place] - rows))

    places = sorted({nearest(ends[-1] * part / count) for part in range(count + 1)})
    return list(itertools.pairwise(places))


def _prepare(
    partial: Path,
    splits: Iterable[str],
    plans: Sequence[ShardPlan],
    identity: Mapping[str, object],
) -> None:
    """Keeps what another process has done if it was making the same cache; else clears it away."""
    shards = [
        [plan.split, *plan.languages, plan.number, plan.text.name, *plan.row_groups, plan.rows]
        for plan in plans
    ]
    document = json.dumps({**identity, "shards": shards}, indent=1) + "\n"
    note = partial / WORK / _PLAN
    if note.is_file() and note.read_text(encoding="utf-8") == document:
        return
    shutil.rmtree(partial, ignore_errors=True)
    for split in splits:
        (partial / split).mkdir(parents=True)
    for plan in plans:
        plan.stem(partial).parent.mkdir(exist_ok=True)
    write_text(note, document)


def _run(tasks: Sequence[TokeniseTask], engine: Engine, progress: Progress) -> None:
    differing: list[str] = []
    for task, texts in engine.run(tokenise_shards, tasks, describe=str):
        progress.add(task.rows)
        differing += texts
    if differing:
        logger.warning(
            "the fast encoder differs from tokenizers in %d of %d shards, which tokenizers made "
            "instead; one such text: %r",
            *(len(differing), sum(len(task.shards) for task in tasks), min(differing)),
        )


def _bundle(
    partial: Path, encoder_id: str, plans: Sequence[ShardPlan], least_rows: int
) -> list[TokeniseTask]:
    """Neighbours of few rows become one task: a small corpus is not worth another process."""
    tasks: list[TokeniseTask] = []
    waiting: list[ShardPlan] = []
    for plan in plans:
        waiting.append(plan)
        if sum(shard.rows for shard in waiting) >= least_rows or plan is plans[-1]:
            tasks.append(TokeniseTask(partial, encoder_id, tuple(waiting)))
            waiting = []
    return tasks


def _build_fast(tokenizer: Tokenizer) -> FastEncoder | None:
    """The fast encoder, compiled: else every worker would compile it for itself."""
    try:
        fast = FastEncoder.build(tokenizer.vocabulary)
    except ValueError as error:
        logger.warning("%s: no fast encoding (%s); using tokenizers", tokenizer.name, error)
        return None
    ColumnEncoder(tokenizer, fast).encode(TextColumn.of([" "]), fast.memory())
    return fast


def _describe(partial: Path, splits: Iterable[str], plans: Sequence[ShardPlan]) -> dict[str, Any]:
    """The manifest's entries of all splits."""
    described = {}
    for split in splits:
        shards: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for plan in plans:
            if plan.split == split:
                note = plan.note(partial).read_text(encoding="utf-8")
                shards.setdefault(plan.languages, []).append(json.loads(note))
                flush_to_disk(plan.stem(partial).parent)
        flush_to_disk(partial / split)
        segments = [_describe_segment(languages, parts) for languages, parts in shards.items()]
        pairs = sum(segment["pairs"] for segment in segments)
        described[split] = {"pairs": pairs, "segments": segments}
    return described


def _describe_segment(
    languages: tuple[str, str], shards: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "languages": list(languages),
        "pairs": sum(shard["pairs"] for shard in shards),
        "tokens": {name: sum(shard["tokens"][name] for shard in shards) for name in languages},
        "shards": [{"pairs": shard["pairs"], "files": shard["files"]} for shard in shards],
    }


def refuse_foreign_folder(folder: Path) -> None:
    """A folder is only replaced if everything in it can come from this module.

    Raises:
        DataError: Naming what cannot.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; a token cache is a folder. Move the file away")
    for path in folder.rglob("*"):
        if path.is_file() and path.name != MANIFEST and not path.name.startswith("shard-"):
            raise DataError(
                f"{folder} holds {path.relative_to(folder)}, which is no part of a token cache; "
                "move it away or set another data.output_dir"
            )
