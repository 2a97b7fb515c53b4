"""Saving behind the training thread, keeping, and choosing where to resume, each with its words."""

from __future__ import annotations

import logging
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.checkpoint.format import HostTensor, read_manifest, verify_folder
from src.checkpoint.manager import CheckpointManager
from src.checkpoint.resume import list_checkpoints, verify_checkpoints
from src.errors import CheckpointCorrupt, CheckpointError, CheckpointNotFound, ConfigError
from tests.fakes.checkpoint_content import (
    FACTS,
    MODEL,
    OPTIMIZER,
    documents_of,
    step_in,
    tensors_of,
)
from tests.fakes.full_disk import files_limited_to

MIDNIGHT = datetime(2029, 3, 5, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _show_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def open_manager(tmp_path: Path) -> Iterator[Callable[..., CheckpointManager]]:
    """Makes managers of `tmp_path/run` and closes them at the end."""
    opened: list[CheckpointManager] = []

    def open_one(**settings: Any) -> CheckpointManager:
        defaults = {"keep_last": 2, "clock": lambda: MIDNIGHT}
        opened.append(CheckpointManager(tmp_path / "run", **{**defaults, **settings}))
        return opened[-1]

    yield open_one
    for manager in opened:
        manager.close()


def save(manager: CheckpointManager, step: int, **options: Any) -> None:
    manager.save(
        step, tensors=tensors_of(step), documents=documents_of(step), facts=FACTS, **options
    )


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir())


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


Open = Callable[..., CheckpointManager]


def test_saves_form_a_chain_of_whole_checkpoints(open_manager: Open, tmp_path: Path) -> None:
    with open_manager() as manager:
        save(manager, 10)
        save(manager, 20)
    assert manager.failures == []
    manifest = verify_folder(tmp_path / "run" / "checkpoint-00000020")
    assert step_in(tmp_path / "run" / "checkpoint-00000020") == 20
    assert manifest.parent == "checkpoint-00000010"
    assert manifest.facts == {**FACTS, "created_at": "2029-03-05T00:00:00+00:00"}


def test_rotation_keeps_the_last_the_milestones_and_the_best(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager(keep_last=2, keep_every=40)
    for step in range(10, 101, 10):
        save(manager, step, is_best=step in (20, 50))
    manager.wait()
    kept = [f"checkpoint-{step:08d}" for step in (40, 50, 80, 90, 100)]
    assert names(tmp_path) == ["best", *kept]
    assert step_in(tmp_path / "run" / "best") == 50


def test_save_returns_while_the_checkpoint_is_still_being_written(
    open_manager: Open, tmp_path: Path
) -> None:
    may_write = threading.Event()
    manager = open_manager(barrier=may_write.wait)
    save(manager, 10)
    assert not (tmp_path / "run" / "checkpoint-00000010").exists()
    may_write.set()
    save(manager, 20)  # at most one is in flight: this waits for the first
    assert step_in(tmp_path / "run" / "checkpoint-00000010") == 10


def test_leftovers_of_a_killed_process_are_removed_at_the_start(
    open_manager: Open, tmp_path: Path
) -> None:
    (tmp_path / "run" / "checkpoint-00000010.partial").mkdir(parents=True)
    open_manager()
    assert names(tmp_path) == []


def test_tensors_are_let_go_once_they_are_written(open_manager: Open) -> None:
    manager = open_manager()
    array = np.zeros(1000)
    seen = weakref.ref(array)
    manager.save(1, tensors={MODEL: {"w": HostTensor.from_numpy(array)}}, documents={}, facts={})
    del array
    manager.wait()
    assert seen() is None


def test_saving_a_step_again_replaces_it(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager()
    save(manager, 10)
    manager.save(10, tensors={}, documents={"only": "this"}, facts={}, blocking=True)
    assert list(verify_folder(tmp_path / "run" / "checkpoint-00000010").files) == ["only"]


def test_best_and_final_are_the_model_without_the_optimizer(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager(keep_last=1)
    save(manager, 10)
    manager.mark_best(10)
    save(manager, 20)
    final = manager.save_final(20)
    assert final == tmp_path / "run" / "final"
    assert (step_in(tmp_path / "run" / "best"), step_in(final)) == (10, 20)
    assert OPTIMIZER not in verify_folder(final).files
    assert OPTIMIZER in verify_folder(tmp_path / "run" / "checkpoint-00000010").files
    inode = (tmp_path / "run" / "checkpoint-00000020" / MODEL).stat().st_ino
    assert (final / MODEL).stat().st_ino == inode


def test_final_of_a_step_that_was_not_saved_is_refused(open_manager: Open) -> None:
    with pytest.raises(CheckpointError, match=r"could not make final of .*checkpoint-00000010: "):
        open_manager().save_final(10)


def test_full_disk_is_recorded_once_and_the_checkpoint_before_stays_good(
    open_manager: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager(keep_last=1)
    save(manager, 10)
    manager.wait()
    with files_limited_to(4096):
        save(manager, 20)
        manager.wait()
    folder = tmp_path / "run" / "checkpoint-00000020"
    expected = f"could not save {folder}: File too large; checkpoint-00000010 is whole"
    assert [(failure.step, failure.reason) for failure in manager.failures] == [(20, expected)]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        expected
    ]
    assert names(tmp_path) == ["checkpoint-00000010"]
    assert step_in(tmp_path / "run" / "checkpoint-00000010") == 10
    save(manager, 30, blocking=True)
    assert names(tmp_path) == ["checkpoint-00000030"]


def test_blocking_save_that_fails_raises(open_manager: Open) -> None:
    manager = open_manager()
    with files_limited_to(4096), pytest.raises(CheckpointError, match="there is none before it"):
        save(manager, 10, blocking=True)
    assert len(manager.failures) == 1


def test_defect_in_the_background_is_recorded_with_its_traceback(
    open_manager: Open, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager()
    manager.save(10, tensors={}, documents={"../x": ""}, facts={})
    manager.wait()
    assert "ValueError" in manager.failures[0].reason
    assert "Traceback" in caplog.text


def test_facts_that_json_cannot_hold_fail_in_the_caller(open_manager: Open) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        open_manager().save(1, tensors={}, documents={}, facts={"x": object()})


def test_ranks_write_one_checkpoint_together(open_manager: Open, tmp_path: Path) -> None:
    barrier = threading.Barrier(2, timeout=60)
    main = open_manager(barrier=barrier.wait)
    other = open_manager(barrier=barrier.wait, is_main=False)
    rank_file = "optimizer-rank00001.safetensors"
    other.save(10, tensors={rank_file: tensors_of(10)[OPTIMIZER]}, documents={}, facts={})
    save(main, 10, awaited=[rank_file], blocking=True)
    other.wait()
    assert rank_file in verify_folder(tmp_path / "run" / "checkpoint-00000010").files
    assert main.failures == other.failures == []


def test_other_ranks_change_nothing(open_manager: Open, tmp_path: Path) -> None:
    save(open_manager(), 10, blocking=True)
    (tmp_path / "run" / "checkpoint-00000011.partial").mkdir()
    other = open_manager(is_main=False, keep_last=1)
    other.save(20, tensors={}, documents={}, facts={}, is_best=True, blocking=True)
    other.mark_best(10)
    other.save_final(10)
    assert other.prune() == []
    other.close()
    assert names(tmp_path) == ["checkpoint-00000010", "checkpoint-00000011.partial"]


def test_prune_applies_a_smaller_limit(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager(keep_last=3)
    for step in (10, 20, 30):
        save(manager, step)
    manager.close()
    assert open_manager(keep_last=1).prune() == ["checkpoint-00000010", "checkpoint-00000020"]
    assert names(tmp_path) == ["checkpoint-00000030"]


def test_rest_of_a_cut_off_deletion_goes_with_the_next_rotation(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager(keep_last=2)
    save(manager, 10, blocking=True)
    remove_manifest(tmp_path / "run" / "checkpoint-00000010")
    save(manager, 20, blocking=True)
    assert names(tmp_path) == ["checkpoint-00000020"]


def test_damaged_best_does_not_stop_rotation(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager(keep_last=1)
    save(manager, 10, is_best=True, blocking=True)
    damage(tmp_path / "run" / "best" / "MANIFEST.json")
    save(manager, 20, blocking=True)
    assert manager.failures == []
    assert names(tmp_path) == ["best", "checkpoint-00000020"]


def test_going_back_sets_aside_what_came_later(
    open_manager: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager(keep_last=1, keep_every=10)
    for step in (10, 20, 30):
        save(manager, step)
    found = manager.find_resume(str(tmp_path / "run" / "checkpoint-00000010"))
    assert found
    save(manager, 15, blocking=True)
    assert names(tmp_path) == [
        "checkpoint-00000010",
        "checkpoint-00000015",
        "checkpoint-00000020.abandoned",
        "checkpoint-00000030.abandoned",
    ]
    assert "the run went back before it and is at step 15 now" in caplog.text
    resumed = manager.find_resume("auto")
    assert resumed
    assert resumed.manifest.step == 15
    assert resumed.manifest.parent == "checkpoint-00000010"


def test_going_back_holds_even_if_the_first_save_after_it_fails(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20)
    manager.find_resume(str(tmp_path / "run" / "checkpoint-00000010"))
    with files_limited_to(4096):
        save(manager, 15)
        found = manager.find_resume("auto")
    assert found
    assert found.manifest.step == 10


@pytest.mark.parametrize("settings", [{"keep_last": 0}, {"keep_last": 1, "keep_every": 0}])
def test_limits_below_one_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="=0; "):
        CheckpointManager(tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_auto_without_checkpoints_starts_at_zero(
    open_manager: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert open_manager().find_resume("auto") is None
    assert f"starting at step 0: {tmp_path / 'run'} holds no checkpoint" in caplog.text


def test_auto_takes_the_newest_and_says_so(
    open_manager: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20)
    found = manager.find_resume("auto")
    assert found
    assert found.path == tmp_path / "run" / "checkpoint-00000020"
    assert found.manifest == read_manifest(found.path)
    assert f"resuming at step 20 from {found.path}: the newest; 4 files (" in caplog.text


def damage_model(folder: Path) -> None:
    damage(folder / MODEL)


def remove_optimizer(folder: Path) -> None:
    (folder / OPTIMIZER).unlink()


def truncate_manifest(folder: Path) -> None:
    text = (folder / "MANIFEST.json").read_text()
    (folder / "MANIFEST.json").write_text(text[:50])


def remove_manifest(folder: Path) -> None:
    (folder / "MANIFEST.json").unlink()


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (damage_model, "model.safetensors has SHA-256"),
        (remove_optimizer, "optimizer-rank00000.safetensors is missing"),
        (truncate_manifest, "MANIFEST.json is not JSON"),
        (remove_manifest, "MANIFEST.json is missing"),
        (empty, "MANIFEST.json is missing"),
    ],
)
def test_auto_names_the_damaged_and_falls_back_to_the_next_older(
    harm: Callable[[Path], None],
    reason: str,
    open_manager: Open,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20, blocking=True)
    newest = tmp_path / "run" / "checkpoint-00000020"
    harm(newest)
    found = manager.find_resume("auto")
    assert found
    assert step_in(found.path) == 10
    assert f"not resuming from {newest}: {reason}" in caplog.text
    assert f"{found.path}: the newest that can be used, after 1 that cannot" in caplog.text
    save(manager, 15, blocking=True)
    again = manager.find_resume("auto")
    assert again
    assert again.manifest.step == 15


def test_auto_falls_back_from_a_foreign_checkpoint(
    open_manager: Open, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager()
    save(manager, 10)
    manager.save(20, tensors={}, documents={}, facts={"config_fingerprint": "other"})

    def refuse(manifest: Any) -> str | None:
        fingerprint = manifest.facts["config_fingerprint"]
        return None if fingerprint == "c0ffee" else f"was made with configuration {fingerprint}"

    found = manager.find_resume("auto", refuse)
    assert found
    assert found.manifest.step == 10
    assert "checkpoint-00000020: was made with configuration other" in caplog.text


def test_auto_with_nothing_but_damage_refuses_to_start_over(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20, blocking=True)
    for step in (10, 20):
        damage_model(tmp_path / "run" / f"checkpoint-000000{step}")
    with pytest.raises(CheckpointNotFound) as caught:
        manager.find_resume("auto")
    message = str(caught.value)
    assert "holds 2 checkpoints and none can be used" in message
    assert "checkpoint-00000020: model.safetensors has SHA-256" in message
    assert "checkpoint-00000010: model.safetensors has SHA-256" in message
    assert message.endswith("restore one of them, or remove them to start at step 0")


def test_never_refuses_a_folder_with_checkpoints(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager()
    assert manager.find_resume("never") is None
    save(manager, 10, is_best=True, blocking=True)
    with pytest.raises(ConfigError) as caught:
        manager.find_resume("never")
    assert str(caught.value) == (
        f"resume_from_checkpoint=never, but {tmp_path / 'run'} already holds checkpoint-00000010, "
        "best; choose another output_dir, remove that folder, or set resume_from_checkpoint=auto"
    )


def test_path_is_taken_even_if_a_newer_checkpoint_exists(
    open_manager: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20)
    found = manager.find_resume(str(tmp_path / "run" / "checkpoint-00000010"))
    assert found
    assert found.manifest.step == 10
    assert "named by resume_from_checkpoint" in caplog.text


def test_path_to_a_damaged_checkpoint_is_refused(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20, blocking=True)
    damage_model(tmp_path / "run" / "checkpoint-00000020")
    with pytest.raises(CheckpointCorrupt, match=r"model.safetensors has SHA-256"):
        manager.find_resume(str(tmp_path / "run" / "checkpoint-00000020"))


def test_path_without_checkpoint_says_what_there_is(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager()
    missing = tmp_path / "missing"
    with pytest.raises(CheckpointNotFound) as caught:
        manager.find_resume(str(missing))
    assert str(caught.value) == (
        f"resume_from_checkpoint: '{missing}' is not a folder; "
        "give auto, never, the folder of one checkpoint, or a store"
    )
    save(manager, 10, blocking=True)
    with pytest.raises(
        CheckpointNotFound, match=r"missing' is not a folder; .*run holds checkpoint-"
    ):
        manager.find_resume(str(missing))
    with pytest.raises(
        CheckpointNotFound,
        match=r"run' has no MANIFEST.json; it holds checkpoints: name one of them, e.g. .*00000010",
    ):
        manager.find_resume(str(tmp_path / "run"))


def test_path_that_lacks_its_folder_gets_it_proposed(open_manager: Open, tmp_path: Path) -> None:
    manager = open_manager()
    save(manager, 10, blocking=True)
    with pytest.raises(CheckpointNotFound) as caught:
        manager.find_resume("checkpoint-00000010")
    assert str(caught.value) == (
        "resume_from_checkpoint: 'checkpoint-00000010' is not a folder; "
        f"did you mean {tmp_path / 'run' / 'checkpoint-00000010'}?"
    )


def test_listing_shows_every_checkpoint_with_its_problem(
    open_manager: Open, tmp_path: Path
) -> None:
    manager = open_manager()
    save(manager, 10)
    save(manager, 20, is_best=True, blocking=True)
    damage_model(tmp_path / "run" / "checkpoint-00000010")
    listed = list_checkpoints(tmp_path / "run")
    assert [(entry.path.name, entry.problem) for entry in listed] == [
        ("checkpoint-00000010", None),
        ("checkpoint-00000020", None),
        ("best", None),
    ]
    assert [entry.manifest.step for entry in listed if entry.manifest] == [10, 20, 20]
    verified = verify_checkpoints(tmp_path / "run")
    assert [entry.problem is None for entry in verified] == [False, True, True]
    assert verified[0].problem
    assert "model.safetensors has SHA-256" in verified[0].problem
    assert list_checkpoints(tmp_path / "nowhere") == []
