"""Corpora and models of benchmarks.distillation_quality and benchmarks.distillation_fidelity."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from src.files import write_text
from src.launch import ROOT

REAL_PAIRS = 100_000
_DEMO = Path("runs/demo")
# What a model translates is scored, not what is searched for where it lost a number.
_PLAIN = "evaluation.preserve=false"


@dataclass(frozen=True)
class Setting:
    """What all arms share.

    Attributes:
        config: Configuration file.
        overrides: Of it, `section.key=value`.
        trains_teacher: Whether the teacher is made here.
    """

    config: Path
    overrides: tuple[str, ...]
    trains_teacher: bool


def demo_setting(folder: Path, pairs: int | None) -> Setting:
    """The demo's corpus and teacher; students see all its pairs or a random choice."""
    config = ROOT / "configs" / "demo.yaml"
    if not (_DEMO / "teacher" / "final").is_dir():
        sys.exit(f"no teacher in {_DEMO}/teacher/final; run `make demo` here first")
    if pairs is None:
        return Setting(config, (_PLAIN,), trains_teacher=False)
    chosen = (
        _PLAIN,
        f"data.sample_size={pairs}",
        "data.sample_strategy=random",
        f"data.output_dir={folder}/data",
        "data.train_tokenizer_vocab_size=null",
        f"data.tokenizer={_DEMO}/data/tokenizer",
    )
    return Setting(config, chosen, trains_teacher=False)


def real_setting(folder: Path, pairs: int | None) -> Setting:
    """Real pairs, and models that a CPU can train."""
    content = _real_content(folder, _shared_data(), pairs or REAL_PAIRS)
    return _written(folder / "config.yaml", content)


def full_vocabulary_setting(folder: Path) -> Setting:
    """Real pairs in the production tokenizer."""
    shared = _shared_data()
    data = {
        "sources": [f"{shared}/corpus/dev.tsv", f"{shared}/corpus/test.tsv"],
        "output_dir": f"{folder}/data",
        "tokenizer": f"{shared}/qwen_tokenizer",
        "splits": {"dev": 300, "test": 100},
    }
    return _written(folder / "config.yaml", {"data": data})


def _shared_data() -> str:
    shared = os.environ.get("LINGUABRIDGE_SHARED_DATA")
    if not shared:
        sys.exit("this needs LINGUABRIDGE_SHARED_DATA, the folder that holds corpus/")
    return shared


def _written(path: Path, content: dict[str, object]) -> Setting:
    write_text(path, json.dumps(content, indent=2))
    return Setting(path, (_PLAIN,), trains_teacher=True)


def _real_content(folder: Path, shared: str, pairs: int) -> dict[str, object]:
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.05}
    training = {
        "batch_size": 64,
        "max_seq_length": 128,
        "learning_rate": 2.0e-3,
        "warmup_ratio": 0.05,
        "eval_steps": 1000,
        "save_steps": 500,
        "num_epochs": 10,
    }
    teacher = {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 704}
    student = {"hidden_size": 96, "num_hidden_layers": 3, "intermediate_size": 256}
    return {
        "data": {
            "sources": [f"{shared}/corpus/train_raw.tsv.gz"],
            "output_dir": f"{folder}/data",
            "sample_size": pairs,
            "sample_strategy": "random",
            "train_tokenizer_vocab_size": 8000,
            "splits": {"dev": 500, "test": 500},
        },
        "teacher": {
            **training,
            "output_dir": f"{folder}/teacher",
            "max_steps": 3000,
            "architecture": sizes | teacher,
        },
        "student": {**training, "max_steps": 1000, "architecture": sizes | student},
        "evaluation": {"max_samples": 500, "batch_size": 250, "max_new_tokens": 96},
    }
