"""Running the teacher once over the token cache and storing what it says of every target token.

A shard (`src.distillation.shards`) holds, for each of its rows:

    offsets    uint32 `[rows + 1]`: where the row's records begin, counted in records
    checks     uint32 `[rows]`: CRC-32 of the row's records
    records    see `src.distillation.soft_labels.layout`; none for a row that takes no part
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from src.distillation.corpus import training_corpus
from src.distillation.items import TeacherItems, identity_of
from src.distillation.schedule import schedule_of
from src.distillation.shards import MadeShard, Maker, ShardFolder, ShardRange, output_root
from src.distillation.soft_labels.fidelity import (
    WISHED_COSINE,
    Fidelity,
    as_mapping,
    measure_fidelity,
    report_lines,
    worst_of,
)
from src.distillation.soft_labels.layout import METHODS, RecordLayout
from src.distillation.soft_labels.picture import draw_starts, take_picture
from src.distillation.soft_labels.stand_ins import stand_ins
from src.distillation.teacher import Teacher, find_teacher
from src.distillation.team import Team
from src.distillation.vocabulary import with_columns
from src.errors import ConfigError, DataError, ModelError
from src.models.factory import Model
from src.schema import Config, StudentConfig
from src.tokens.columns import IntArray
from src.tokens.order import derive_key
from src.tokens.stream import evaluation_batches
from src.training.corpus import Corpus
from src.training.losses import Projection, chunks
from src.training.objective import projection_of, target_hidden
from src.training.parallel import Ranks, join_ranks
from src.training.run import to_tensors
from src.units import format_bytes

logger = logging.getLogger(__name__)

FORMAT = "linguabridge-soft-labels/1"
_SAMPLE_PAIRS = 64
_SAMPLE_TOKENS = 2048


def labels_folder(config: Config) -> ShardFolder:
    """Where the soft labels of a configuration are, or will be."""
    return ShardFolder(
        output_root(config) / "labels",
        form=FORMAT,
        what="soft labels",
        command="python run.py soft-labels",
        about=("fidelity",),
    )


def write_soft_labels(config: Config, *, report_only: bool = False) -> dict[str, Any]:
    """Writes what is missing of the soft labels; returns the summary.

    Args:
        config: The student's section says what is stored.
        report_only: Measures the fidelity and writes nothing.

    Raises:
        LinguaBridgeError: One sentence about what is missing or went wrong.
    """
    study = _Study.of(config)
    ranks = join_ranks()
    if report_only:
        return {"fidelity": as_mapping(study.measure())}
    folder = labels_folder(config)
    with folder.team(ranks) as team:
        begun = _begin(folder, study, team)
        layout = layout_of(begun["identity"], study.corpus.tokenizer.vocab_size)
        items = TeacherItems(config, study.corpus)
        manifest = folder.complete(
            identity=begun["identity"],
            about={
                "record_bytes": layout.record_bytes,
                "vocab_size": layout.vocab_size,
                "fidelity": begun["fidelity"],
            },
            ranges=items.ranges(),
            open_maker=lambda: _maker(study, items, layout, team),
            team=team,
        )
    return _summary(folder, manifest, ranks)


def _begin(folder: ShardFolder, study: _Study, team: Team) -> dict[str, Any]:
    """What the labels are made from, and their fidelity: as begun, or decided now."""
    section = study.config.student
    settings: dict[str, object] = {
        **identity_of(study.config, study.corpus, teacher_sha256=study.teacher.sha256),
        "temperature": section.temperature,
        "top_k": section.kd_top_k,
    }
    if section.kd_method != "auto":
        settings["method"] = section.kd_method
    if team.ranks.is_main and folder.begun() is None:
        folder.begin(*_decide(section, settings, study.measure(team.stop_if_asked)))
    team.meet("begun")  # what the main rank has decided holds for all
    begun = folder.begun()
    if begun is None:
        raise DataError(f"nothing was begun in {folder.path}; run the same command again")
    folder.require(begun["identity"], settings)
    return begun


def require_top_k(section: StudentConfig, vocab_size: int) -> None:
    """Refuses more entries than there are ids.

    Raises:
        ConfigError: Then.
    """
    if section.kd_top_k > vocab_size:
        raise ConfigError(
            f"student.kd_top_k={section.kd_top_k} is more than the {vocab_size:,} ids of the "
            "vocabulary; lower it"
        )


def layout_of(identity: dict[str, Any], vocab_size: int) -> RecordLayout:
    """The layout that a manifest's identity describes."""
    return RecordLayout(identity["method"], identity["top_k"], vocab_size)


@dataclass
class _Study:
    """The teacher on this corpus; loaded when first needed, once."""

    config: Config
    corpus: Corpus
    teacher: Teacher
    _model: Model | None = None

    @classmethod
    def of(cls, config: Config) -> _Study:
        """Opens and checks what is there.

        Raises:
            LinguaBridgeError: One sentence about what is missing or does not fit.
        """
        corpus = training_corpus(config)
        require_top_k(config.student, corpus.tokenizer.vocab_size)
        return cls(config, corpus, find_teacher(config, corpus.tokenizer))

    def model(self) -> Model:
        """The teacher."""
        if self._model is None:
            self._model = self.teacher.load()
        return self._model

    @paddle.no_grad()
    def measure(self, pause: Callable[[], None] = lambda: None) -> list[Fidelity]:
        """The fidelity of every method on a sample of the train split; says it, too.

        Args:
            pause: Called now and then; may raise to end the work.
        """
        section = self.config.student
        batches = evaluation_batches(
            self.corpus.cache.split("train"),
            self.corpus.tokenizer,
            language_pairs=self.config.data.language_pairs,
            prompt=section.prompt,
            max_seq_length=section.max_seq_length,
            batch_size=section.batch_size,
            max_pairs=_SAMPLE_PAIRS,
        )
        model = self.model()
        parts = []
        for batch in batches:
            pause()
            parts.append(target_hidden(model, to_tensors(batch)))
        hidden = paddle.concat(parts)
        chosen = np.random.default_rng(0).permutation(hidden.shape[0])[:_SAMPLE_TOKENS]
        hidden = paddle.gather(hidden, paddle.to_tensor(chosen))
        if not bool(paddle.isfinite(hidden.astype("float32").sum())):
            raise ModelError(
                f"teacher {self.teacher.folder} computes numbers that are not finite, so its "
                "weights are damaged or its training diverged; use another checkpoint"
            )
        vocab_size = self.corpus.tokenizer.vocab_size
        projection, temperature = projection_of(model), section.temperature
        alpha = schedule_of(section).alpha
        layouts = [RecordLayout(method, section.kd_top_k, vocab_size) for method in METHODS]
        found: list[Fidelity] = []
        for learner in stand_ins(
            hidden, projection, vocab_size=vocab_size, temperature=temperature
        ):
            pause()
            found += measure_fidelity(
                hidden,
                projection,
                layouts,
                temperature=temperature,
                alpha=max(alpha.first, alpha.last),
                learner=learner,
            )
        for line in report_lines(found, temperature=temperature, tokens=len(chosen)):
            logger.info("%s", line)
        return found


def _decide(
    section: StudentConfig, settings: Mapping[str, object], found: Sequence[Fidelity]
) -> tuple[dict[str, object], dict[str, object]]:
    """Identity of the labels to write, and what else the manifest says of them."""
    method: str = section.kd_method
    worst = worst_of(found)
    if method == "auto":
        method = max(worst, key=lambda item: item.worst_cosine).method
        logger.info("kd_method=auto takes %s", method)
    judge_fidelity(section, [item for item in found if item.method == method])
    return {**settings, "method": method}, {"fidelity": as_mapping(found)}


def judge_fidelity(section: StudentConfig, chosen: Sequence[Fidelity]) -> None:
    """Warns of a poor picture of the teacher, and refuses a wrong one.

    Args:
        section: Where the bound is.
        chosen: The method's fidelity for every student that it was measured for.

    Raises:
        ConfigError: If a cosine of the output layer, or of noise, is below `kd_min_cosine`.
    """
    first = chosen[0]
    lowest = min(item.cosine for item in chosen)
    at_rest = min(item.rest_cosine for item in chosen)
    hidden = min(item.hidden_cosine for item in chosen)
    noise = min(item.noise_cosine for item in chosen)
    seen = (
        f"{first.method} with kd_top_k={first.top_k} at temperature {section.temperature:g} keeps "
        f"{first.mass_kept:.0%} of the teacher's probability and gives gradients of cosine "
        f"{lowest:.3f} to the full distribution's at the output layer "
        f"({at_rest:.3f} late in training) and {hidden:.3f} below it"
    )
    if noise < 1:
        seen += f", with {1 / noise - 1:.0%} more noise in a batch (cosine {noise:.3f})"
    remedy = "raise student.kd_top_k, lower student.temperature, or use student.kd_mode=online"
    # Not the other way round: what is no number is no good either.
    if not (lowest >= section.kd_min_cosine and noise >= section.kd_min_cosine):
        raise ConfigError(
            f"{seen}, below student.kd_min_cosine={section.kd_min_cosine:g}; {remedy}"
        )
    if min(lowest, at_rest, hidden, noise) < WISHED_COSINE:
        logger.warning("%s; for more, %s", seen, remedy)


def _maker(study: _Study, items: TeacherItems, layout: RecordLayout, team: Team) -> Maker:
    """What computes the shards; loads the teacher."""
    model = study.model()
    projection = projection_of(model)
    temperature = study.config.student.temperature

    @paddle.no_grad()
    def make(part: ShardRange) -> MadeShard:
        rows = items.rows(part)
        located = items.locate(part, rows)
        counts = located.target_lengths
        begins = np.cumsum(counts) - counts
        starts = draw_starts(rows, counts, key=derive_key("soft labels", part.direction))
        records = np.zeros([int(counts.sum()), layout.record_bytes], np.uint8)
        for places, micro_batch in items.micro_batches(located):
            team.stop_if_asked()
            hidden = target_hidden(model, to_tensors(micro_batch))
            where = np.concatenate([np.arange(begins[i], begins[i] + counts[i]) for i in places])
            for piece in chunks(hidden.shape[0], projection.vocab_size):
                logits = _tempered(projection, hidden[piece], layout, temperature)
                picture = take_picture(logits, layout, starts[where[piece]])
                records[where[piece]] = layout.encode(picture)
        table = _table(part.rows, rows, counts, records)
        return MadeShard(table + records.tobytes(), {"pairs": len(rows), "tokens": len(records)})

    return make


def _tempered(
    projection: Projection, hidden: paddle.Tensor, layout: RecordLayout, temperature: float
) -> paddle.Tensor:
    """Logits over the tokenizer's ids, divided by the temperature, `[C, V]`."""
    return with_columns(projection.logits(hidden), layout.vocab_size).scale_(1 / temperature)


def _table(all_rows: range, rows: IntArray, counts: IntArray, records: NDArray[np.uint8]) -> bytes:
    """Offsets and checks of every row of the shard."""
    per_row = np.zeros(len(all_rows), dtype=np.int64)
    per_row[rows - all_rows.start] = counts
    offsets = np.concatenate([[0], np.cumsum(per_row)]).astype("<u4")
    checks = np.array(
        [
            zlib.crc32(records[begin:end].tobytes())
            for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        ],
        dtype="<u4",
    )
    return offsets.tobytes() + checks.tobytes()


def _summary(folder: ShardFolder, manifest: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    shards = manifest["shards"].values()
    tokens = sum(facts["tokens"] for facts in shards)
    total = sum(facts["bytes"] for facts in shards)
    if tokens == 0:
        raise DataError(f"{folder.path} holds no target token; raise student.max_seq_length")
    if ranks.is_main:
        logger.info(
            "%s: %s target tokens, %s, %.1f bytes each",
            folder.path,
            f"{tokens:,}",
            format_bytes(total),
            total / tokens,
        )
    return {
        "folder": str(folder.path),
        "method": manifest["identity"]["method"],
        "top_k": manifest["identity"]["top_k"],
        "temperature": manifest["identity"]["temperature"],
        "pairs": sum(facts["pairs"] for facts in shards),
        "target_tokens": tokens,
        "bytes": total,
        "bytes_per_target_token": round(total / tokens, 2),
        "fidelity": manifest["fidelity"],
        "fingerprint": manifest["fingerprint"],
    }
