"""Names in a store appear whole, are replaced whole, and are cleaned up after the dead."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

import pytest

from src.checkpoint.format import copy_file, verify_folder, write_folder
from src.checkpoint.store import LocalStore, parse_step, step_name
from src.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound
from tests.fakes.checkpoint_content import MODEL, OPTIMIZER, documents_of, step_in, tensors_of


def write(root: Path, step: int) -> Path:
    folder = root / step_name(step)
    write_folder(
        folder, step=step, tensors=tensors_of(step), documents=documents_of(step), facts={}
    )
    return folder


def without_optimizer(name: str) -> bool:
    return name != OPTIMIZER


def test_names_of_steps_go_both_ways_and_others_have_no_step() -> None:
    assert step_name(1200) == "checkpoint-00001200"
    assert parse_step("checkpoint-00001200") == 1200
    assert parse_step(step_name(123_456_789)) == 123_456_789
    for other in ("best", "checkpoint-12", "checkpoint-00001200.partial", "checkpoint-0000120x"):
        assert parse_step(other) is None


def test_list_is_by_step_and_knows_nothing_but_steps(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "run")
    assert store.list() == ()
    (tmp_path / "run").mkdir()
    for step in (200, 1_000_000_000, 30):
        write(tmp_path / "run", step)
    for other in (
        "visualdl",
        "best",
        "checkpoint-00000030.partial",
        "checkpoint-00000031.abandoned",
    ):
        (tmp_path / "run" / other).mkdir()
    assert store.list() == ("checkpoint-00000030", "checkpoint-00000200", "checkpoint-1000000000")


def test_put_links_the_chosen_files_under_a_manifest_of_their_own(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    source = write(tmp_path, 5)
    store.put(source, "best", keep=without_optimizer)
    best = store.get("best")
    manifest = verify_folder(best)
    assert OPTIMIZER not in manifest.files
    assert not (best / OPTIMIZER).exists()
    assert (manifest.step, manifest.parent) == (5, "checkpoint-00000005")
    assert (best / MODEL).stat().st_ino == (source / MODEL).stat().st_ino
    store.delete("checkpoint-00000005")
    verify_folder(best)
    assert step_in(best) == 5


def test_put_replaces_the_older_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for step in (5, 6):
        store.put(write(tmp_path, step), "best", keep=without_optimizer)
    verify_folder(tmp_path / "best")
    assert step_in(tmp_path / "best") == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", step_name(5), step_name(6)]


def test_put_copies_where_the_disk_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    source = write(tmp_path, 5)
    monkeypatch.setattr(os, "link", refuse)
    LocalStore(tmp_path / "mounted").put(source, "best", keep=without_optimizer)
    best = tmp_path / "mounted" / "best"
    verify_folder(best)
    assert step_in(best) == 5
    assert (best / MODEL).stat().st_ino != (source / MODEL).stat().st_ino


def test_put_refuses_to_copy_damage_and_keeps_the_older_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    store = LocalStore(tmp_path)
    store.put(write(tmp_path, 5), "best", keep=without_optimizer)
    source = write(tmp_path, 6)
    (source / MODEL).write_bytes(b"damaged")
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(CheckpointCorrupt, match=f"{MODEL} has 7 bytes with SHA-256"):
        store.put(source, "best", keep=without_optimizer)
    assert step_in(tmp_path / "best") == 5
    assert not (tmp_path / "best.partial").exists()


def test_get_of_what_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    with pytest.raises(CheckpointNotFound, match=r"best: MANIFEST.json is missing"):
        LocalStore(tmp_path).get("best")


def test_recover_removes_only_leftovers_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 5)
    leftovers = ["checkpoint-00000006.partial", "best.partial", "checkpoint-00000004.deleting"]
    strangers = [
        "notes.partial",
        "visualdl",
        "checkpoint-00000009.abandoned",
        "checkpoint-00000008",
    ]
    for name in (*leftovers, *strangers):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with caplog.at_level(logging.INFO):
        LocalStore(tmp_path).recover()
    assert {path.name for path in tmp_path.iterdir()} == {*strangers, step_name(5)}
    for name in leftovers:
        assert f"removing {name}, left by a killed process" in caplog.text


def test_recover_puts_back_what_a_cut_off_replacement_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(tmp_path)
    store.put(write(tmp_path, 5), "best", keep=without_optimizer)
    (tmp_path / "best").rename(tmp_path / "best.previous")
    (tmp_path / "best.partial").mkdir()
    store.recover()
    assert step_in(tmp_path / "best") == 5
    assert "put back best, its replacement was cut off" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", step_name(5)]


def test_recover_drops_the_replaced_folder_where_the_replacement_stands(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(write(tmp_path, 5), "best.previous", keep=without_optimizer)
    store.put(write(tmp_path, 6), "best", keep=without_optimizer)
    store.recover()
    assert step_in(tmp_path / "best") == 6
    assert not (tmp_path / "best.previous").exists()


def test_delete_takes_the_manifest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    folder = write(tmp_path, 5)

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        store.delete(folder.name)
    assert (folder / MODEL).exists()
    assert not store.exists(folder.name)


def test_abandoned_folder_leaves_the_list_and_keeps_its_bytes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(tmp_path, 5)
    store.abandon(step_name(5))
    write(tmp_path, 5)
    aside = store.abandon(step_name(5))
    assert store.list() == ()
    assert aside == tmp_path / "checkpoint-00000005.abandoned"
    assert step_in(aside) == 5


def test_claim_of_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        CheckpointError, match="cannot hold checkpoints: File exists; choose another output_dir"
    ):
        LocalStore(tmp_path / "file").claim()


def test_disk_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    store = LocalStore(tmp_path)
    store.claim()
    store.release()
    assert f"{tmp_path} has no locks (No locks available): two runs" in caplog.text


def test_copy_of_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "a", tmp_path / "b")
