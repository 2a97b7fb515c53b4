"""A checkpoint's folder is whole or absent, and damage to any byte of it is found and named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from src.checkpoint.format import (
    HostTensor,
    Manifest,
    copy_file,
    read_manifest,
    remove_folder,
    verify_folder,
    write_folder,
    write_rank_file,
)
from src.errors import CheckpointCorrupt, CheckpointError
from tests.fakes.checkpoint_content import (
    FACTS,
    MODEL,
    OPTIMIZER,
    documents_of,
    step_in,
    tensors_of,
)
from tests.fakes.full_disk import files_limited_to


def write(folder: Path, step: int = 7) -> Manifest:
    return write_folder(
        folder,
        step=step,
        parent="checkpoint-00000006",
        tensors=tensors_of(step),
        documents=documents_of(step),
        facts=FACTS,
    )


def test_written_folder_holds_what_was_given_and_verifies(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-00000007"
    manifest = write(folder)
    assert {path.name for path in folder.iterdir()} == {
        MODEL,
        OPTIMIZER,
        "state.json",
        "config.yaml",
        "MANIFEST.json",
    }
    assert verify_folder(folder) == read_manifest(folder) == manifest
    assert step_in(folder) == 7
    assert manifest.parent == "checkpoint-00000006"
    assert manifest.facts == FACTS
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_manifest_lists_sizes_and_hashes_as_other_tools_compute_them(tmp_path: Path) -> None:
    write(tmp_path / "c")
    content = json.loads((tmp_path / "c" / "MANIFEST.json").read_text())
    assert content["format"] == "linguabridge-checkpoint/1"
    for name, record in content["files"].items():
        data = (tmp_path / "c" / name).read_bytes()
        assert record == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    sha256 = content.pop("sha256")
    compact = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    assert sha256 == hashlib.sha256(compact).hexdigest()


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")
    manifests = [(tmp_path / name / "MANIFEST.json").read_bytes() for name in "ab"]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("name", [MODEL, OPTIMIZER, "state.json", "config.yaml"])
@pytest.mark.parametrize("position", [0, 9, -1])
def test_flipped_bit_in_any_file_is_found_and_named(
    name: str, position: int, tmp_path: Path
) -> None:
    folder = tmp_path / "c"
    expected = write(folder).files[name]
    data = bytearray((folder / name).read_bytes())
    data[position] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointCorrupt) as caught:
        verify_folder(folder)
    found = hashlib.sha256(data).hexdigest()
    assert caught.value.reason == (
        f"{name} has SHA-256 {found[:16]}…, its manifest says {expected.sha256[:16]}…"
    )


def test_every_flip_of_every_bit_of_the_manifest_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "c", step=7, tensors={}, documents={"a": "b"}, facts={"c": [1.5]})
    path = tmp_path / "c" / "MANIFEST.json"
    good = path.read_bytes()
    missed = []
    for position in range(len(good)):
        for bit in range(8):
            data = bytearray(good)
            data[position] ^= 1 << bit
            path.write_bytes(data)
            try:
                missed.append((position, bit, read_manifest(tmp_path / "c")))
            except CheckpointCorrupt:
                continue
    assert missed == []


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[:100], "MANIFEST.json is not JSON: "),
        (lambda text: "", "MANIFEST.json is not JSON: "),
        (lambda text: text + " ", "MANIFEST.json was changed: "),
        (lambda text: text + text, "MANIFEST.json is not JSON: Extra data"),
        (lambda text: "[]", "MANIFEST.json has format None, this version reads 'linguabridge-che"),
        (
            lambda text: text.replace("checkpoint/1", "checkpoint/2"),
            "MANIFEST.json has format 'linguabridge-checkpoint/2', this version reads 'linguabri",
        ),
        (lambda text: text.replace('"step": 7', '"step": 8'), "MANIFEST.json was changed: "),
        (lambda text: text.replace('"facts"', '"fact"'), "MANIFEST.json lacks step, parent, fac"),
        (lambda text: text.replace('"bytes"', '"size"', 1), "MANIFEST.json: config.yaml lacks its"),
        (
            lambda text: text.replace('"state.json"', '"../state.json"'),
            "MANIFEST.json: '../state.json' cannot be the name of a checkpoint's file",
        ),
        (lambda text: "[" * 100_000, "MANIFEST.json is not JSON: "),
    ],
)
def test_damaged_manifest_is_refused_with_the_reason(
    damage: object, reason: str, tmp_path: Path
) -> None:
    assert callable(damage)
    write(tmp_path / "c")
    path = tmp_path / "c" / "MANIFEST.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(CheckpointCorrupt) as caught:
        verify_folder(tmp_path / "c")
    assert caught.value.reason.startswith(reason)


def test_missing_and_short_files_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    size = write(folder).files[MODEL].bytes
    content = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(content[:-1])
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} has {size - 1} bytes, its manifest says"):
        verify_folder(folder)
    (folder / MODEL).unlink()
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} is missing"):
        verify_folder(folder)
    (folder / MODEL).symlink_to(MODEL)
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} cannot be read: Too many levels of sym"):
        verify_folder(folder)
    (folder / "MANIFEST.json").unlink()
    with pytest.raises(CheckpointCorrupt, match=r"MANIFEST.json is missing: the folder is not a"):
        verify_folder(folder)
    (folder / "MANIFEST.json").mkdir()
    with pytest.raises(CheckpointCorrupt, match=r"MANIFEST.json cannot be read: Is a directory"):
        verify_folder(folder)


def test_removal_takes_the_manifest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "c")
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        remove_folder(tmp_path / "c")
    assert (tmp_path / "c" / MODEL).exists()
    assert not (tmp_path / "c" / "MANIFEST.json").exists()


def test_everything_is_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(fd: int) -> None:
        real_fsync(fd)
        events.append(Path(f"/proc/self/fd/{fd}").readlink().name)

    def rename(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    write(tmp_path / "c")
    files = [MODEL, OPTIMIZER, "state.json", "config.yaml"]
    assert events == [*files, "MANIFEST.json", "c.partial", "rename", tmp_path.name]


def test_second_write_replaces_the_first_completely(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    write(folder, 7)
    write_folder(folder, step=8, tensors={}, documents={"only": "this"}, facts={})
    assert {path.name for path in folder.iterdir()} == {"only", "MANIFEST.json"}
    assert verify_folder(folder).step == 8
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_full_disk_leaves_the_old_folder_and_no_rest(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    write(folder, 7)
    with files_limited_to(4096), pytest.raises(OSError, match="File too large"):
        write(folder, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert step_in(folder) == 7
    verify_folder(folder)


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "MANIFEST.json"])
def test_names_that_lead_elsewhere_are_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a checkpoint's file"):
        write_folder(tmp_path / "c", step=1, tensors={}, documents={name: ""}, facts={})
    with pytest.raises(ValueError, match="cannot be the name of a checkpoint's file"):
        write_rank_file(tmp_path / "c", name, {})
    assert list(tmp_path.iterdir()) == []


def test_one_name_for_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a file name occurs twice"):
        write_folder(tmp_path / "c", step=1, tensors={"x": {}}, documents={"x": ""}, facts={})


@pytest.mark.parametrize("facts", [{"loss": float("nan")}, {"when": object()}])
def test_facts_that_json_cannot_hold_are_refused_before_anything_is_written(
    facts: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises((TypeError, ValueError), match="JSON"):
        write_folder(tmp_path / "c", step=1, tensors={}, documents={}, facts=facts)
    assert list(tmp_path.iterdir()) == []


def test_ranks_add_their_files_between_the_two_barriers(tmp_path: Path) -> None:
    barrier = threading.Barrier(2, timeout=60)
    moments = {1: HostTensor.from_numpy(np.full(3, 1.0, np.float32))}

    def second_rank() -> None:
        barrier.wait()
        write_rank_file(tmp_path / "c", "optimizer-rank00001.safetensors", {"m": moments[1]})
        barrier.wait()

    thread = threading.Thread(target=second_rank)
    thread.start()
    manifest = write_folder(
        tmp_path / "c",
        step=3,
        tensors=tensors_of(3),
        documents={},
        facts={},
        awaited=["optimizer-rank00001.safetensors"],
        barrier=barrier.wait,
    )
    thread.join()
    assert "optimizer-rank00001.safetensors" in manifest.files
    verify_folder(tmp_path / "c")


def test_missing_file_of_a_rank_means_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="rank1 was not written by its rank"):
        write_folder(tmp_path / "c", step=3, tensors={}, documents={}, facts={}, awaited=["rank1"])
    assert list(tmp_path.iterdir()) == []


def test_rank_that_cannot_write_still_reaches_both_barriers(tmp_path: Path) -> None:
    reached = []
    with files_limited_to(4096), pytest.raises(OSError, match="File too large"):
        write_folder(
            tmp_path / "c",
            step=3,
            tensors=tensors_of(3),
            documents={},
            facts={},
            barrier=lambda: reached.append(True),
        )
    with pytest.raises(FileNotFoundError):
        write_folder(
            tmp_path / "no" / "parent",
            step=3,
            tensors={},
            documents={},
            facts={},
            barrier=lambda: reached.append(True),
        )
    assert len(reached) == 4


def test_copied_file_is_the_same_and_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"some bytes")
    record = copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"some bytes"
    assert record.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    with pytest.raises(FileExistsError):
        copy_file(tmp_path / "a", tmp_path / "b")
