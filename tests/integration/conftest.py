"""A small processed corpus that all integration tests share, and ways to run the program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.config import load_config
from src.corpus.demo import write_demo_corpus
from src.data_processor import DataProcessor
from tests.fakes.training_lives import Lives

ROOT = Path(__file__).resolve().parents[2]

ARCHITECTURE = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


class Project:
    """A configuration with a token cache, and a fresh folder for what a test trains."""

    def __init__(self, data: Path, folder: Path):
        self.folder = folder
        self.file = folder / "config.yaml"
        section = {
            "architecture": ARCHITECTURE,
            "batch_size": 8,
            "max_steps": 12,
            "save_steps": 4,
            "eval_steps": 6,
            "eval_samples": 20,
            "logging_steps": 1,
            "learning_rate": 0.01,
            "max_seq_length": 96,
        }
        content = {
            "data": {
                "sources": [str(data / "corpus" / "{en,zh}.txt")],
                "output_dir": str(data / "processed"),
                "train_tokenizer_vocab_size": 400,
                "splits": {"dev": 40, "test": 40},
                "quality_threshold": 0.3,
                "num_workers": 1,
            },
            "teacher": {**section, "output_dir": str(folder / "teacher")},
            "student": {**section, "output_dir": str(folder / "student")},
            "evaluation": {"max_samples": 10, "max_new_tokens": 24},
            "monitoring": {"visualdl": False},
        }
        self.file.write_text(json.dumps(content), encoding="utf-8")

    def config(self, *overrides):
        return load_config([self.file], overrides)

    def command(self, *arguments):
        command, *rest = arguments
        return [sys.executable, str(ROOT / "run.py"), command, *rest, "--config", str(self.file)]

    def run(self, *arguments):
        return subprocess.run(
            self.command(*arguments), capture_output=True, encoding="utf-8", check=False
        )

    def summary(self, name):
        path = self.folder / name / "summary.json"
        return json.loads(path.read_text(encoding="utf-8"))

    def losses(self, name):
        path = self.folder / name / "metrics.jsonl"
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {item["step"]: item["loss"] for item in records if "loss" in item}


@pytest.fixture(scope="session")
def processed_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_demo_corpus(folder / "corpus", pairs=700)
    (folder / "first").mkdir()
    project = Project(folder, folder / "first")
    DataProcessor(project.config()).process()
    return folder


@pytest.fixture
def project(processed_data, tmp_path):
    return Project(processed_data, tmp_path)


@pytest.fixture
def lives(project):
    started = Lives(project.file, project.folder / "lives.log")
    with started.process:
        yield started
