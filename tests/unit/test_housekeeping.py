"""`run.py checkpoints`: what it lists, what it may delete, and what it never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from src.checkpoint.housekeeping import display_name
from src.checkpoint.manager import CheckpointManager
from src.checkpoint.stores.open import open_store
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


@pytest.fixture
def store_address(tmp_path: Path) -> str:
    """A store that a run with checkpoints of three steps and a best one has uploaded to."""
    address = f"file://{tmp_path}/drive"
    with CheckpointManager(tmp_path / "run", keep_last=9, store=open_store(address)) as manager:
        for step in (10, 20, 30):
            manager.save(
                step,
                tensors=tensors_of(step),
                documents=documents_of(step),
                facts=FACTS,
                is_best=step == 10,
                blocking=True,
            )
    return address


def test_list_of_a_run_shows_its_store_too(store_address: str, tmp_path: Path, capsys):
    assert main(["checkpoints", "list", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [str(tmp_path / "run"), str(tmp_path / "drive")]
    assert [entry["name"] for entry in found[str(tmp_path / "drive")]] == [
        "best-00000010.w0001",
        "checkpoint-00000010.w0001",
        "checkpoint-00000020.w0001",
        "checkpoint-00000030.w0001",
    ]


def test_store_that_cannot_be_asked_does_not_spoil_the_listing(
    run_folder: Path, capsys, monkeypatch
):
    record = {
        "store": "oss://bucket/run",
        "address": "oss://bucket/run?region=cn-hangzhou",
        "writer": 1,
    }
    (run_folder / ".store.json").write_text(json.dumps(record))
    for name in ("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ECS_METADATA"):
        monkeypatch.delenv(name, raising=False)
    assert main(["checkpoints", "list", str(run_folder)]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 8
    assert (
        "not listing oss://bucket/run?region=cn-hangzhou: oss:// needs an access key" in output.err
    )


def test_verify_of_a_store_finds_the_flipped_byte(store_address: str, tmp_path: Path, capsys):
    assert main(["checkpoints", "verify", store_address]) == 0
    assert capsys.readouterr().out.count("whole") == 4
    path = tmp_path / "drive" / "checkpoint-00000020.w0001" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert main(["checkpoints", "verify", store_address]) == 1
    assert "model.safetensors has" in capsys.readouterr().out


def test_a_store_is_called_by_its_address_and_a_folder_by_its_path(tmp_path: Path):
    # On the command line both come in as paths, which make one of two slashes.
    assert display_name(Path("oss://bucket/run?region=cn-hangzhou")) == "oss://bucket/run"
    assert display_name(Path(f"file://{tmp_path}/drive")) == f"{tmp_path}/drive"
    assert display_name(tmp_path / "run") == f"{tmp_path}/run"


def test_prune_says_which_folder_it_means(store_address: str, tmp_path: Path, capsys):
    assert main(["checkpoints", "prune", store_address, "--keep-last", "1", "--yes"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/drive: checkpoint-00000010.w0001, ")


def test_prune_as_json_names_what_it_deleted_and_asks_nobody(run_folder: Path, capsys):
    arguments = ["checkpoints", "prune", str(run_folder), "--keep-last", "4", "--json"]
    assert main(arguments) == 2
    assert "prune --json asks nobody; add --yes" in capsys.readouterr().err
    assert main([*arguments, "--yes"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"deleted": {str(run_folder): ["checkpoint-00000010"]}}


def test_prune_of_a_store_keeps_the_newest_and_the_best(store_address: str, tmp_path: Path):
    assert main(["checkpoints", "prune", store_address, "--keep-last", "1", "--yes"]) == 0
    names = sorted(path.name for path in (tmp_path / "drive").iterdir())
    assert names == ["best-00000010.w0001", "checkpoint-00000030.w0001", "writers"]
    assert steps(tmp_path / "run") == [10, 20, 30]


def test_plain_folder_that_a_run_uploads_to_is_a_store(store_address: str, tmp_path: Path, capsys):
    assert main(["checkpoints", "list", str(tmp_path / "drive"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)[str(tmp_path / "drive")]) == 4
    with CheckpointManager(tmp_path / "other", keep_last=2) as manager:
        found = manager.find_resume(str(tmp_path / "drive"))
    assert found is not None
    assert found.path == tmp_path / "other" / "checkpoint-00000030"


def test_store_without_checkpoints_is_one_sentence(tmp_path: Path, capsys):
    assert main(["checkpoints", "list", f"file://{tmp_path}/empty"]) == 1
    assert f"no checkpoints in {tmp_path}/empty; name the output_dir of a run" in (
        capsys.readouterr().err
    )
    assert main(["checkpoints", "list", "gs://bucket/run"]) == 2
    assert "there is no checkpoint store gs://; use file://, oss://, s3://, hf://" in (
        capsys.readouterr().err
    )
