"""What a stage needs on disk."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from src.planning.corpus_facts import CorpusFacts
from src.planning.sections import StageWork
from src.planning.workload import Workload
from src.schema import Config, StudentConfig

TEXT_BYTES_PER_TOKEN = 4.0
"""UTF-8 bytes of English and Chinese text per token of Qwen's tokenizer, both sides taken together;
4.2 characters of English and 2.05 of Chinese (three bytes each) make a token."""
TOKEN_BYTES = 4.0
_RECORD_HEAD_BYTES = 6


@dataclass(frozen=True)
class DiskNeeds:
    """Bytes on disk.

    Attributes:
        models: Weights of the models it starts from.
        text: Chosen text.
        tokens: Token cache.
        checkpoints: Those that are kept, `best` and `final`.
        soft_labels: The teacher's stored distributions.
    """

    models: float
    text: float
    tokens: float
    checkpoints: float
    soft_labels: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(asdict(self).values()))


def soft_label_bytes(top_k: int, vocabulary: int) -> float:
    """Bytes per target token of the k most probable tokens: 110 for k = 32 and Qwen's vocabulary.

    Ids bit-packed, a byte of probability each, and up to three numbers of two bytes: the record of
    src/distillation/soft_labels/layout.py.
    """
    id_bits = (vocabulary - 1).bit_length()
    return math.ceil(id_bits * top_k / 8) + top_k + _RECORD_HEAD_BYTES


def checkpoint_bytes(work: Workload) -> float:
    """One checkpoint: trained weights as they are, and the optimizer's state."""
    return (min(work.weight_bytes, 4.0) + work.optimizer_bytes) * work.trained_parameters


def disk_needs(config: Config, work: StageWork, corpus: CorpusFacts) -> DiskNeeds:
    """What models, corpus, checkpoints and soft labels take together."""
    peak, section = work.peak, work.section
    models = 2.0 * peak.shape.parameters
    if peak.teacher is not None:
        models += 2.0 * peak.teacher.shape.parameters
    published = min(peak.weight_bytes, 4.0) * peak.shape.parameters
    pairs = corpus.items / len(config.data.language_pairs)
    tokens = pairs * corpus.mean_length
    labels = 0.0
    if isinstance(section, StudentConfig) and section.kd_mode == "cached":
        targets = corpus.items * corpus.mean_length * work.mean.target_share
        labels = targets * soft_label_bytes(section.kd_top_k, peak.shape.vocabulary)
    return DiskNeeds(
        models=0.0 if section.architecture is not None else models,
        text=tokens * TEXT_BYTES_PER_TOKEN,
        tokens=tokens * TOKEN_BYTES,
        checkpoints=(section.save_total_limit + 1) * checkpoint_bytes(peak) + 2 * published,
        soft_labels=labels,
    )
