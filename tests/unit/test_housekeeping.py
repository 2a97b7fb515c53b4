"""`run.py checkpoints`: what it lists, what it may delete, and what it never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.checkpoint.manager import CheckpointManager
from src.cli import main
from tests.fakes.checkpoint_content import FACTS, documents_of, tensors_of


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run with checkpoints of five steps and a best one."""
    with CheckpointManager(tmp_path / "run", keep_last=9) as manager:
        for step in (10, 20, 30, 40, 50):
            manager.save(
                step,
                tensors=tensors_of(step),
                documents=documents_of(step),
                facts=FACTS,
                is_best=step == 20,
            )
    return tmp_path / "run"


def steps(folder: Path) -> list[int]:
    return sorted(
        int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*")
    )


def damage(folder: Path, step: int) -> None:
    path = folder / f"checkpoint-{step:08d}" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_list_names_every_checkpoint_with_step_and_size(run_folder: Path, capsys):
    assert main(["checkpoints", "list", str(run_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(run_folder)
    assert [line.split()[0] for line in lines[2:]] == [
        *(f"checkpoint-{step:08d}" for step in (10, 20, 30, 40, 50)),
        "best",
    ]
    assert all(line.endswith("not checked") for line in lines[2:])


def test_verify_finds_the_flipped_byte_and_fails(run_folder: Path, capsys):
    damage(run_folder, 30)
    assert main(["checkpoints", "list", str(run_folder)]) == 0  # manifests alone cannot tell
    capsys.readouterr()
    assert main(["checkpoints", "verify", str(run_folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)[str(run_folder)]
    assert [entry["step"] for entry in found if entry["problem"]] == [30]
    assert "model.safetensors" in next(entry["problem"] for entry in found if entry["problem"])


def test_prune_keeps_the_newest_and_the_best(run_folder: Path, capsys):
    assert main(["checkpoints", "prune", str(run_folder), "--keep-last", "2", "--yes"]) == 0
    assert steps(run_folder) == [40, 50]
    assert (run_folder / "best" / "MANIFEST.json").is_file()
    assert "deleted 3" in capsys.readouterr().out
    assert main(["checkpoints", "prune", str(run_folder), "--keep-last", "2", "--yes"]) == 0
    assert "nothing to delete" in capsys.readouterr().out


def test_prune_never_counts_a_damaged_checkpoint_as_kept(run_folder: Path):
    damage(run_folder, 50)
    assert main(["checkpoints", "prune", str(run_folder), "--keep-last", "1", "--yes"]) == 0
    assert steps(run_folder) == [40, 50]  # 40 is the newest that can be resumed from


def test_prune_keeps_multiples(run_folder: Path):
    arguments = ["--keep-last", "1", "--keep-every", "20", "--yes"]
    assert main(["checkpoints", "prune", str(run_folder), *arguments]) == 0
    assert steps(run_folder) == [20, 40, 50]


def test_prune_without_yes_and_nobody_to_ask_deletes_nothing(run_folder: Path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main(["checkpoints", "prune", str(run_folder), "--keep-last", "1"]) == 2
    assert "only with --yes" in capsys.readouterr().err
    assert len(steps(run_folder)) == 5


def test_folder_without_checkpoints_is_one_sentence(tmp_path: Path, capsys):
    assert main(["checkpoints", "list", str(tmp_path)]) == 1
    assert f"no checkpoints in {tmp_path}" in capsys.readouterr().err
