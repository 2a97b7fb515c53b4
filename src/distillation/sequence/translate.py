"""Translating the train split with the teacher, in shards that survive any kill.

A shard (`src.distillation.shards`) holds

    offsets    uint32 `[rows + 1]`: where the row's translation begins, counted in ids
    ids        uint32, one translation after another; none for a row that takes no part, whose
               translation is empty or did not end within evaluation.max_new_tokens

so that a row without ids keeps its reference.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from src.distillation.items import TeacherItems
from src.distillation.sequence.targets import (
    decode_identity,
    translations_folder,
    write_taught_corpus,
)
from src.distillation.shards import MadeShard, Maker, ShardRange
from src.distillation.teacher import Teacher, find_teacher
from src.distillation.team import Team
from src.evaluation.decode import translate_ids
from src.languages import split_direction
from src.schema import Config
from src.tokens.prompts import build_prompt
from src.training.corpus import Corpus, open_corpus
from src.training.parallel import join_ranks

logger = logging.getLogger(__name__)


def write_translations(config: Config) -> dict[str, Any]:
    """Translates what is missing and makes the corpus to train on; returns the summary.

    Raises:
        LinguaBridgeError: One sentence about what is missing or went wrong.
    """
    corpus = open_corpus(config)
    teacher = find_teacher(config, corpus.tokenizer)
    folder = translations_folder(config)
    identity = decode_identity(config, corpus, teacher_sha256=teacher.sha256)
    ranks = join_ranks()
    with folder.team(ranks) as team:
        begun = folder.begun()
        if begun is not None:
            folder.require(begun["identity"], identity)
        items = TeacherItems(config, corpus)
        manifest = folder.complete(
            identity=identity,
            about={},
            ranges=items.ranges(),
            open_maker=lambda: _maker(config, corpus, teacher, items, team),
            team=team,
        )
        if ranks.is_main:
            write_taught_corpus(config, corpus, items, manifest, pause=team.stop_if_asked)
        team.meet("taught")
    shards = manifest["shards"].values()
    summary = {
        "folder": str(folder.path),
        "beam_size": config.student.kd_beam_size,
        "pairs": sum(facts["pairs"] for facts in shards),
        "translated": sum(facts["translated"] for facts in shards),
        "tokens": sum(facts["tokens"] for facts in shards),
        "reference_share": config.student.kd_reference_share,
        "fingerprint": manifest["fingerprint"],
    }
    if ranks.is_main:
        logger.info(
            "%s: %s of %s pairs translated; the others keep their reference",
            folder.path,
            f"{summary['translated']:,}",
            f"{summary['pairs']:,}",
        )
    return summary


def _maker(
    config: Config, corpus: Corpus, teacher: Teacher, items: TeacherItems, team: Team
) -> Maker:
    """What translates the shards; loads the teacher."""
    model = teacher.load()
    split = corpus.cache.split("train")
    section, evaluation = config.student, config.evaluation

    def translate(part: ShardRange) -> MadeShard:
        rows = items.rows(part)
        source, target = split_direction(part.direction)
        prompt = build_prompt(section.prompt, corpus.tokenizer, source, target)
        side = split.rows_of(source, target)[1]
        prompts = [prompt.opening(split.ids(side, row).tolist()) for row in rows.tolist()]
        found = translate_ids(
            model,
            prompts,
            eos_id=corpus.tokenizer.eos_id,
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
            vocab_size=corpus.tokenizer.vocab_size,
            beam_size=section.kd_beam_size,
            progress=lambda _: team.stop_if_asked(),
        )
        kept = [ids if len(ids) < evaluation.max_new_tokens else [] for ids in found]
        return _shard(part, rows.tolist(), kept)

    return translate


def _shard(part: ShardRange, rows: Sequence[int], found: Sequence[Sequence[int]]) -> MadeShard:
    lengths = np.zeros(len(part.rows), dtype=np.int64)
    for row, ids in zip(rows, found, strict=True):
        lengths[row - part.rows.start] = len(ids)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("<u4")
    flat = np.array([token for ids in found for token in ids], dtype="<u4")
    counts = {
        "pairs": len(rows),
        "translated": sum(map(bool, found)),
        "tokens": len(flat),
    }
    return MadeShard(offsets.tobytes() + flat.tobytes(), counts)
