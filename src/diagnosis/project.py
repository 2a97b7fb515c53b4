"""Checks of the configuration against this machine: sources, models, folders, precision.

The checks use the same functions as the stages do, so that doctor and stage never disagree.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from src.corpus.readers import find_files, is_remote, read_head
from src.diagnosis.finding import Finding
from src.errors import DataError, ModelError
from src.models.hub import find_model_folder, weight_files
from src.schema import Config, TrainerConfig
from src.tokens.locate import find_tokenizer_folder
from src.units import format_bytes

LEAST_DISK_BYTES = 5 * 1024**3


def check_sources(config: Config) -> Iterator[Finding]:
    """Whether every configured corpus exists and can be read."""
    has_cache = (Path(config.data.output_dir) / "tokens" / "MANIFEST.json").is_file()
    if not config.data.sources:
        yield Finding(
            "data.sources",
            "ok" if has_cache else "warning",
            "none named" + (f"; {config.data.output_dir} is processed already" * has_cache),
            "" if has_cache else "name your corpora, e.g. data.sources=[corpus/train.tsv]",
        )
    for source in config.data.sources:
        if is_remote(source.path):
            yield Finding("data.sources", "ok", f"{source.path}: fetched when processing starts")
            continue
        try:
            paths = [path for paths in find_files(source) for path in paths]
            for path in paths:
                _require_content(path)
        except DataError as error:
            # Training does not read the sources any more once they are processed.
            yield Finding("data.sources", "warning" if has_cache else "problem", str(error))
            continue
        size = format_bytes(sum(path.stat().st_size for path in paths))
        files = f"{len(paths)} file{'s' if len(paths) != 1 else ''}"
        yield Finding("data.sources", "ok", f"{source.path}: {files}, {size}")


def _require_content(path: Path) -> None:
    if not read_head(path, 1):
        raise DataError(f"{path}: is empty; remove it from data.sources or fill it")


def check_model(section_name: str, section: TrainerConfig) -> Finding:
    """Whether the weights that a training starts from are on this machine."""
    topic = f"{section_name} model"
    if section.architecture is not None:
        sizes = section.architecture
        seen = f"new, width {sizes.hidden_size}, {sizes.num_hidden_layers} layers"
        return Finding(topic, "ok", seen)
    try:
        folder = find_model_folder(section.model_name)
    except ModelError as error:
        return Finding(topic, "problem", str(error), f"set {section_name}.model_name")
    if folder is None:
        return Finding(
            topic,
            "warning",
            f"{section.model_name} is no folder here; PaddleNLP looks for it in its download cache "
            "and then on the network",
            f"on a machine without network set {section_name}.model_name to a local folder",
        )
    size = format_bytes(sum(path.stat().st_size for path in weight_files(folder)))
    return Finding(topic, "ok", f"{folder}, {size} of weights")


def check_tokenizer(config: Config) -> Finding:
    """Whether the tokenizer that `process` will use is on this machine."""
    if config.data.train_tokenizer_vocab_size is not None:
        seen = f"trained by process, {config.data.train_tokenizer_vocab_size:,} tokens"
        return Finding("tokenizer", "ok", seen)
    name = config.data.tokenizer or config.student.model_name
    try:
        folder = find_tokenizer_folder(name)
    except ModelError as error:
        # The message ends with how to fetch it.
        return Finding("tokenizer", "problem" if config.data.tokenizer else "warning", str(error))
    return Finding("tokenizer", "ok", str(folder))


def check_precision(section_name: str, section: TrainerConfig, *, gpus: int) -> Iterator[Finding]:
    """Whether this machine can train in the precision that is asked for."""
    for key in ("fp16", "bf16"):
        if getattr(section, key) and gpus == 0:
            yield Finding(
                f"{section_name}.{key}",
                "warning",
                "true, which needs a GPU; here is none",
                f"train on a machine with a GPU, or set {section_name}.{key}=false",
            )


def check_folder(key: str, folder: Path) -> Finding:
    """Whether an output folder can be written and has room; a folder to come counts by its parent.

    Args:
        key: The configuration key that names it.
        folder: Need not exist.
    """
    existing = nearest_existing(folder)
    if not existing.is_dir():
        return Finding(
            key, "problem", f"{folder}: {existing} is a file, not a folder", f"set {key}"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            key,
            "problem",
            f"{folder}: no permission to write in {existing}",
            f"change its owner or mode, or set {key}",
        )
    return judge_disk(key, folder, shutil.disk_usage(existing).free)


def nearest_existing(folder: Path) -> Path:
    """The folder, or the closest of those above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def judge_disk(key: str, folder: Path, free_bytes: int) -> Finding:
    """Whether the disk under an output folder has room for checkpoints of a small model."""
    seen = f"{folder}: {format_bytes(free_bytes)} free"
    if free_bytes >= LEAST_DISK_BYTES:
        return Finding(key, "ok", seen)
    return Finding(
        key,
        "warning",
        f"{seen}, less than {format_bytes(LEAST_DISK_BYTES)}",
        f"free some, or set {key} to a folder on another disk",
    )
