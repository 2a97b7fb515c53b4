"""Checks whether the configured run will fit on the disks it writes to.

The need is the plan's (`src.planning.disk`), an estimate; what is there already is not needed a
second time. Folders on one disk are added up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.diagnosis.finding import Finding
from src.diagnosis.project import nearest_existing
from src.errors import ConfigError, ModelError
from src.models.hub import find_model_folder
from src.planning.corpus_facts import corpus_facts
from src.planning.disk import DiskNeeds, disk_needs
from src.planning.sections import Stage, StageWork, stage_work
from src.schema import Config, TrainerConfig
from src.units import format_bytes

_DOWNLOAD_BYTES = 2.0  # a weight of a published model, in 16 bits
_STAGES: tuple[Stage, ...] = ("teacher", "student")


@dataclass(frozen=True)
class Need:
    """What one folder will hold more than it does.

    Attributes:
        key: The configuration key that names it.
        folder: Need not exist.
        content: In words.
        bytes: Estimated.
    """

    key: str
    folder: Path
    content: str
    bytes: float


def check_room(config: Config) -> Iterator[Finding]:
    """One finding for each disk that would be full before the run is done."""
    by_disk: dict[int, list[Need]] = {}
    for need in needs(config):
        disk = nearest_existing(need.folder).stat().st_dev
        by_disk.setdefault(disk, []).append(need)
    for found in by_disk.values():
        free = shutil.disk_usage(nearest_existing(found[0].folder)).free
        yield judge_room(found, free)


def needs(config: Config) -> Iterator[Need]:
    """What is still to be written where; nothing for a model whose sizes are not known."""
    stages: dict[Stage, DiskNeeds] = {}
    for stage in _STAGES:
        section: TrainerConfig = getattr(config, stage)
        try:
            work, stages[stage] = _plan(config, stage)
            has_weights = section.architecture or find_model_folder(section.model_name)
        except (ConfigError, ModelError):
            continue  # an unknown model is what `check_model` reports
        if not has_weights:
            weights = _DOWNLOAD_BYTES * work.peak.shape.parameters
            yield Need(f"{stage}.model_name", _download_folder(), section.model_name, weights)
        folder = Path(section.output_dir)
        missing = max(0.0, stages[stage].checkpoints - _size(folder))
        yield Need(f"{stage}.output_dir", folder, "checkpoints", missing)
    if stages:
        folder = Path(config.data.output_dir)
        corpus = max(need.text + need.tokens for need in stages.values())
        held = _size(folder / "text") + _size(folder / "tokens")
        yield Need("data.output_dir", folder, "corpus", max(0.0, corpus - held))
        labels = max(need.soft_labels for need in stages.values())
        at = Path(config.student.soft_labels or folder / "soft_labels")
        yield Need("data.output_dir", at, "soft labels", max(0.0, labels - _size(at)))


def judge_room(found: Sequence[Need], free_bytes: int) -> Finding:
    """Whether one disk holds all of what will be written to it."""
    total = sum(need.bytes for need in found)
    parts = ", ".join(
        f"{need.content} in {need.folder} {format_bytes(round(need.bytes))}"
        for need in sorted(found, key=lambda need: -need.bytes)
        if need.bytes >= 1
    )
    seen = f"{format_bytes(free_bytes)} free, about {format_bytes(round(total))} more needed"
    if parts:
        seen += f" ({parts})"
    if total <= free_bytes:
        return Finding("disk", "ok", seen)
    largest = max(found, key=lambda need: need.bytes)
    return Finding(
        "disk",
        "warning",
        seen,
        f"set {largest.key} to a folder on a larger disk, or write less: fewer checkpoints "
        "(save_total_limit), adapters (lora), a smaller student.kd_top_k",
    )


def _plan(config: Config, stage: Stage) -> tuple[StageWork, DiskNeeds]:
    corpus = corpus_facts(config, pairs=None, prompt=getattr(config, stage).prompt)
    work = stage_work(
        config,
        stage,
        devices=1,
        mean_length=corpus.mean_length,
        vocabulary=corpus.vocabulary,
    )
    return work, disk_needs(config, work, corpus)


def _download_folder() -> Path:
    """Where PaddleNLP puts what it downloads."""
    return Path(os.environ.get("PPNLP_HOME") or Path.home() / ".paddlenlp")


def _size(folder: Path) -> int:
    """Bytes below a folder; links are not followed."""
    size = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118  many files
            except OSError:
                continue  # gone meanwhile: a run may be rotating its checkpoints
    return size
