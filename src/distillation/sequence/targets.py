"""A token cache whose targets are the teacher's translations.

It is a token cache like any other (`src.tokens.cache`), so that the stream, exact resume and the
writing of soft labels need to know nothing of it. Each direction has a segment of its own, target
side left and source side right, because the translation replaces one side only: (zh', en) for
en-zh and (en', zh) for zh-en. dev and test are those of the corpus.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src.distillation.items import TeacherItems, identity_of
from src.distillation.shards import ShardFolder, ShardRange, output_root
from src.distillation.soft_labels.picture import draw_starts
from src.distillation.teacher import teacher_folder, teacher_sha256
from src.errors import DataError
from src.files import write_text
from src.languages import split_direction
from src.schema import Config
from src.tokens.cache import FORMAT, MANIFEST, TokenCache, sibling
from src.tokens.columns import IdColumn
from src.tokens.order import derive_key
from src.tokens.shard_writer import ShardWriter
from src.tokens.split import TokenSplit, segment_folder, shard_stem
from src.training.corpus import Corpus

TRANSLATIONS_FORMAT = "linguabridge-translations/1"
_PARTS_PER_SHARD = 32  # about 262,000 rows: enough shards to read by turns, few enough to open


def translations_folder(config: Config) -> ShardFolder:
    """Where the teacher's translations are, or will be."""
    return ShardFolder(
        output_root(config) / "translations",
        form=TRANSLATIONS_FORMAT,
        what="translations",
        command="python run.py soft-labels --decode",
    )


def decode_identity(config: Config, corpus: Corpus, *, teacher_sha256: str) -> dict[str, object]:
    """What the translations depend on."""
    return {
        **identity_of(config, corpus, teacher_sha256=teacher_sha256),
        "beam_size": config.student.kd_beam_size,
        "max_new_tokens": config.evaluation.max_new_tokens,
    }


def open_taught_corpus(config: Config, corpus: Corpus) -> Corpus:
    """The corpus with the teacher's translations as targets.

    Raises:
        DataError: If the translations are missing, unfinished, or made from something else.
    """
    folder = translations_folder(config)
    manifest = folder.manifest()
    if manifest is None:
        raise DataError(
            f"no translations of the teacher in {folder.path}, or unfinished ones; run "
            "`python run.py soft-labels --decode` first"
        )
    # The teacher may have stayed on another machine; where it is here it must be the same.
    own = teacher_folder(config)
    theirs = teacher_sha256(own) if own.is_dir() else manifest["identity"]["teacher"]
    folder.require(manifest["identity"], decode_identity(config, corpus, teacher_sha256=theirs))
    path = output_root(config) / "taught"
    if not path.is_dir():
        raise DataError(
            f"{path} is missing; run `python run.py soft-labels --decode` again, finished "
            "translations are kept"
        )
    cache = TokenCache.open(path, command="python run.py soft-labels --decode")
    if cache.text_fingerprint != _fingerprint(config, manifest):
        raise DataError(
            f"{path} was made with another student.kd_reference_share or other directions; run "
            "`python run.py soft-labels --decode` again, finished translations are kept"
        )
    return Corpus(cache, corpus.tokenizer)


def write_taught_corpus(
    config: Config,
    corpus: Corpus,
    items: TeacherItems,
    manifest: Mapping[str, Any],
    *,
    pause: Callable[[], None] = lambda: None,
) -> None:
    """Makes the token cache from finished translations, whole or not at all.

    Args:
        config: Says how many pairs keep their reference.
        corpus: The references.
        items: The pairs that were translated.
        manifest: Of the translations.
        pause: Called now and then; may raise to end the work.
    """
    path = output_root(config) / "taught"
    fingerprint = _fingerprint(config, manifest)
    if _is_current(path, fingerprint):
        return
    partial = sibling(path, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    split = corpus.cache.split("train")
    segments = [
        _write_segment(config, partial, split, items, direction, pause)
        for direction in config.data.language_pairs
    ]
    own = json.loads((corpus.cache.folder / MANIFEST).read_text(encoding="utf-8"))
    for name in own["splits"].keys() - {"train"}:
        shutil.copytree(corpus.cache.folder / name, partial / name)
    splits = {
        **own["splits"],
        "train": {"pairs": sum(part["pairs"] for part in segments), "segments": segments},
    }
    document = {
        "format": FORMAT,
        "text_fingerprint": fingerprint,
        "tokenizer_fingerprint": corpus.cache.tokenizer_fingerprint,
        "vocab_size": corpus.cache.vocab_size,
        "splits": splits,
    }
    write_text(partial / MANIFEST, json.dumps(document, indent=2) + "\n")
    shutil.rmtree(path, ignore_errors=True)
    partial.rename(path)


def _write_segment(
    config: Config,
    folder: Path,
    split: TokenSplit,
    items: TeacherItems,
    direction: str,
    pause: Callable[[], None],
) -> dict[str, Any]:
    """All rows of a direction that take part; returns the segment's entry in the manifest."""
    source, target = split_direction(direction)
    languages = (target, source)
    segment_folder(folder, "train", languages).mkdir(parents=True)
    parts = [part for part in items.ranges() if part.direction == direction]
    shards = []
    for number, begin in enumerate(range(0, len(parts), _PARTS_PER_SHARD)):
        with ShardWriter(shard_stem(folder, "train", languages, number), languages) as writer:
            for part in parts[begin : begin + _PARTS_PER_SHARD]:
                pause()
                writer.append(*_sides(config, split, items, part))
            shards.append(writer.finish())
    return {
        "languages": list(languages),
        "pairs": sum(shard["pairs"] for shard in shards),
        "tokens": {name: sum(shard["tokens"][name] for shard in shards) for name in languages},
        "shards": [{"pairs": shard["pairs"], "files": shard["files"]} for shard in shards],
    }


def _sides(
    config: Config, split: TokenSplit, items: TeacherItems, part: ShardRange
) -> tuple[IdColumn, IdColumn]:
    """Targets and sources of a shard's rows."""
    rows = items.rows(part)
    source_side = split.rows_of(*split_direction(part.direction))[1]
    key = derive_key("references", part.direction)
    lots = draw_starts(rows, np.ones_like(rows), key=key)
    translations = _read_translations(translations_folder(config), part)
    sources = [split.ids(source_side, row).tolist() for row in rows.tolist()]
    targets: list[list[int]] = []
    for row, lot in zip(rows.tolist(), lots.tolist(), strict=True):
        translation = translations[row - part.rows.start]
        keeps_reference = lot < config.student.kd_reference_share or not len(translation)
        reference = split.ids(1 - source_side, row).tolist()
        targets.append(reference if keeps_reference else translation)
    return IdColumn.of(targets), IdColumn.of(sources)


def _read_translations(folder: ShardFolder, part: ShardRange) -> list[list[int]]:
    content = np.frombuffer((folder.path / part.file).read_bytes(), "<u4")
    offsets, ids = content[: len(part.rows) + 1], content[len(part.rows) + 1 :]
    return [part.tolist() for part in np.split(ids, offsets[1:-1].astype(np.int64))]


def _fingerprint(config: Config, manifest: Mapping[str, Any]) -> str:
    made_from = [
        manifest["fingerprint"],
        config.student.kd_reference_share,
        list(config.data.language_pairs),
    ]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def _is_current(path: Path, fingerprint: str) -> bool:
    try:
        return TokenCache.open(path).text_fingerprint == fingerprint
    except DataError:
        return False
