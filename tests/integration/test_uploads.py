"""Uploading behind a run, and resuming from the store, as CheckpointManager does both."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from src.checkpoint.manager import CheckpointManager
from src.checkpoint.pending import finish_uploads
from src.checkpoint.store import LocalStore
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import CHECKPOINT
from src.checkpoint.upload_record import remembered_store
from src.checkpoint.uploads import Uploads
from src.errors import CheckpointNotFound, ConfigError, StoreError
from src.retry import Retry
from tests.fakes.checkpoint_content import FACTS, MODEL, documents_of, step_in, tensors_of
from tests.fakes.store_services import SMALL, Service, oss_service

ONCE = replace(SMALL, retry=Retry(attempts=1))


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with oss_service() as found:
        yield found


@pytest.fixture
def service(running, monkeypatch, caplog) -> Iterator[Service]:
    caplog.set_level(logging.INFO)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.address = running.make_address()
    yield running
    running.proxy.is_dead = False


@pytest.fixture
def start(service, tmp_path) -> Iterator[Callable[..., CheckpointManager]]:
    """Opens managers of `tmp_path/NAME` that upload to the same store."""
    opened: list[CheckpointManager] = []

    def start_one(name: str = "run", **settings: Any) -> CheckpointManager:
        store = open_store(service.address, ONCE)
        options = {"keep_last": 2, "store": store, **settings}
        opened.append(CheckpointManager(tmp_path / name, **options))
        return opened[-1]

    yield start_one
    for manager in opened:
        manager.close(upload_seconds=0)


def save(manager: CheckpointManager, *steps: int, **options: Any) -> None:
    for step in steps:
        manager.save(
            step, tensors=tensors_of(step), documents=documents_of(step), facts=FACTS, **options
        )


def stored(service: Service) -> list[str]:
    return [each.name for each in open_store(service.address, SMALL).list()]


def test_what_is_saved_is_in_the_store_when_the_run_has_ended(service, start, tmp_path, caplog):
    manager = start()
    save(manager, 1, 2, is_best=True, blocking=True)
    save(manager, 3)
    manager.save_final(3)
    manager.close()
    assert stored(service)[-3:] == [
        "checkpoint-00000002.w0001",
        "checkpoint-00000003.w0001",
        "final-00000003.w0001",
    ]
    assert "best-00000002.w0001" in stored(service)
    assert f"uploaded checkpoint-00000003 to {service.address}/checkpoint-00000003.w0001" in (
        caplog.text
    )
    assert remembered_store(tmp_path / "run") == service.address


def test_empty_disk_resumes_from_the_store_with_the_best_model(service, start, tmp_path, caplog):
    first = start()
    save(first, 1, is_best=True, blocking=True)
    save(first, 2, blocking=True)
    first.close()
    found = start("other machine").find_resume("auto")
    assert found is not None
    assert found.path == tmp_path / "other machine" / "checkpoint-00000002"
    assert step_in(found.path) == 2
    assert step_in(tmp_path / "other machine" / "best") == 1
    address = f"{service.address}/checkpoint-00000002.w0001"
    assert f"resuming at step 2 from {address}: the newest" in caplog.text


def test_damaged_stored_checkpoint_is_named_and_the_one_before_is_taken(service, start, caplog):
    first = start()
    save(first, 1, 2, blocking=True)
    first.close()
    bucket = service.storage.buckets["bucket"]
    key = f"{service.address.removeprefix('oss://bucket/')}/checkpoint-00000002.w0001/{MODEL}"
    good = bucket.objects[key]
    bucket.objects[key] = replace(good, content=good.content[:-1] + b"?")
    found = start("other machine").find_resume("auto")
    assert found is not None
    assert found.manifest.step == 1
    assert f"not resuming from {service.address}/checkpoint-00000002.w0001: {MODEL} has" in (
        caplog.text
    )
    assert "the newest that can be used, after 1 that cannot" in caplog.text


def test_foreign_stored_checkpoint_is_refused_before_it_is_downloaded(service, start, tmp_path):
    first = start()
    save(first, 1, blocking=True)
    first.close()
    with pytest.raises(CheckpointNotFound, match="made with another corpus"):
        start("other").find_resume("auto", lambda manifest: "it was made with another corpus")
    assert not (tmp_path / "other" / "checkpoint-00000001").exists()


def test_disk_that_is_behind_the_store_is_overtaken(service, start, tmp_path):
    """The first machine comes back after a second one has gone on."""
    first = start()
    save(first, 1, blocking=True)
    first.close()
    second = start("second")
    second.find_resume("auto")
    save(second, 2, 3, blocking=True)
    second.close()
    back = start()
    found = back.find_resume("auto")
    assert found is not None
    assert found.manifest.step == 3
    save(back, 4, blocking=True)
    back.close()
    assert stored(service) == ["checkpoint-00000003.w0002", "checkpoint-00000004.w0003"]


def test_line_that_the_run_has_left_is_not_resumed_from_by_an_empty_disk(service, start, tmp_path):
    manager = start(keep_last=3)
    save(manager, 1, 5, 9, blocking=True)
    manager.find_resume(str(tmp_path / "run" / "checkpoint-00000001"))
    save(manager, 4, blocking=True)
    manager.close()
    found = start("other").find_resume("auto")
    assert found is not None
    assert found.manifest.step == 4
    assert "checkpoint-00000004.w0002" in stored(service)


def test_dead_network_is_said_once_and_caught_up_with(service, start, caplog):
    store = open_store(service.address, ONCE)
    manager = start(store=None)
    service.proxy.is_dead = True
    folder = LocalStore(manager._store.root)
    uploads = Uploads(store, folder, keep_last=2, first_pause_seconds=0.01)
    for step in (1, 2, 3):
        save(manager, step, blocking=True)
        uploads.notify()
        assert not uploads.wait(0.3)
    complaints = [record for record in caplog.records if "cannot be reached" in record.message]
    assert len(complaints) == 1
    assert "training goes on" in complaints[0].message
    service.proxy.is_dead = False
    assert uploads.wait(60)
    uploads.close(0)
    assert stored(service) == ["checkpoint-00000003.w0001"]
    assert "is reached again and has everything" in caplog.text


def test_interrupted_run_waits_for_its_upload_and_says_what_did_not_get_there(
    service, start, monkeypatch, caplog
):
    monkeypatch.setattr("src.checkpoint.manager.INTERRUPTED_SECONDS", 0.3)
    manager = start()
    service.proxy.is_dead = True
    save(manager, 1, blocking=True)
    assert f"{service.address} does not have all of" in caplog.text
    assert "it is on this machine only" in caplog.text
    manager.close(upload_seconds=0)
    service.proxy.is_dead = False
    again = start()
    again.find_resume("auto")
    again.close()
    assert stored(service) == ["checkpoint-00000001.w0001"]


def test_wrong_credentials_do_not_hold_up_the_end_of_a_run(service, start, monkeypatch, caplog):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-wrong")
    manager = start()
    save(manager, 1, blocking=True)
    manager.close()
    complaints = [record for record in caplog.records if "does not belong" in record.message]
    assert len(complaints) == 1
    assert "canary-wrong" not in caplog.text


def test_run_that_was_overtaken_trains_on_and_says_who_has_taken_over(service, start, caplog):
    manager = start()
    save(manager, 1, blocking=True)
    open_store(service.address, SMALL).claim(None)
    save(manager, 2, 3, blocking=True)
    manager.close()
    assert stored(service) == ["checkpoint-00000001.w0001"]
    complaints = [record for record in caplog.records if "has taken over" in record.message]
    assert len(complaints) == 1


def test_unreachable_store_stops_only_who_has_nothing_here(service, start, caplog):
    manager = start()
    save(manager, 1)
    manager.close()
    service.proxy.is_dead = True
    found = start().find_resume("auto")
    assert found is not None
    assert found.manifest.step == 1
    assert "resuming without looking into" in caplog.text
    with pytest.raises(StoreError, match="cannot tell whether there is something to resume"):
        start("empty").find_resume("auto")


def test_store_that_can_never_be_used_ends_a_new_run_before_it_trains(service, start, monkeypatch):
    service.storage.make_bucket("versions", keeps_versions=True)
    service.address = "oss://versions/run"
    with pytest.raises(StoreError, match="two writers could not be told apart"):
        start().find_resume("auto")
    service.address = service.make_address()
    save(start("local", store=None), 1, blocking=True)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-wrong")
    with pytest.raises(StoreError, match="set checkpoint_store to null to start at step 0"):
        start("new").find_resume("auto")
    manager = start("other")
    save(manager, 1)
    with pytest.raises(StoreError, match="set checkpoint_store to null to go on without it"):
        manager.find_resume("auto")


def test_store_that_has_worked_before_does_not_stop_a_run(service, start, monkeypatch, caplog):
    manager = start()
    save(manager, 1, blocking=True)
    manager.close()
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-wrong")
    found = start().find_resume("auto")
    assert found is not None
    assert found.manifest.step == 1
    assert "resuming without looking into" in caplog.text


def test_finished_run_brings_what_it_owes_and_asks_no_network_afterwards(
    service, start, tmp_path, caplog
):
    manager = start()
    save(manager, 1, is_best=True, blocking=True)
    service.proxy.is_dead = True
    save(manager, 2)
    manager.save_final(2)
    manager.close(upload_seconds=0.3)
    owe = partial(finish_uploads, tmp_path / "run", service.address, keep_last=2)
    assert not owe(limit_seconds=0.3)
    assert "start the run here again, which uploads it" in caplog.text
    service.proxy.is_dead = False
    assert owe()
    assert f"{service.address} has everything of {tmp_path / 'run'}" in caplog.text
    assert sorted(stored(service)) == [
        "best-00000001.w0001",
        "checkpoint-00000001.w0001",
        "checkpoint-00000002.w0001",
        "final-00000002.w0001",
    ]
    seen = len(service.proxy.requests)
    assert owe()
    assert len(service.proxy.requests) == seen


def test_never_is_refused_when_the_store_holds_a_run(service, start):
    manager = start()
    save(manager, 1)
    manager.close()
    with pytest.raises(ConfigError, match=r"already holds checkpoint-00000001\.w0001"):
        start("fresh").find_resume("never")


def test_address_of_a_store_starts_a_run_that_has_nothing_of_its_own(service, start, tmp_path):
    manager = start()
    save(manager, 1, 2, blocking=True)
    manager.close()
    pretrained = service.address
    service.address = service.make_address()
    child = start("child")
    found = child.find_resume(pretrained)
    assert found is not None
    assert found.manifest.step == 2
    save(child, 3, blocking=True)
    child.close()
    again = start("child").find_resume(pretrained)
    assert again is not None
    assert again.manifest.step == 3
    shutil.rmtree(tmp_path / "child")
    elsewhere = start("elsewhere").find_resume(pretrained)
    assert elsewhere is not None
    assert elsewhere.manifest.step == 3


def test_address_of_one_checkpoint_means_exactly_that_one(service, start):
    manager = start()
    save(manager, 1, 2, blocking=True)
    manager.close()
    for name in ("checkpoint-00000001.w0001", "checkpoint-00000001"):
        found = start(f"from {name}", store=None).find_resume(f"{service.address}/{name}")
        assert found is not None
        assert found.manifest.step == 1
    with pytest.raises(CheckpointNotFound, match="holds no checkpoint-00000007; its checkpoints:"):
        start("none", store=None).find_resume(f"{service.address}/checkpoint-00000007")


def test_store_without_checkpoints_cannot_be_resumed_from(service, start):
    with pytest.raises(CheckpointNotFound, match="holds no checkpoint that can be resumed"):
        start(store=None).find_resume(service.address)


def test_damaged_checkpoint_is_not_uploaded_and_said(service, start, tmp_path, caplog):
    manager = start(store=None)
    save(manager, 1, blocking=True)
    path = tmp_path / "run" / "checkpoint-00000001" / MODEL
    path.write_bytes(b"?" + path.read_bytes()[1:])
    uploads = Uploads(open_store(service.address, SMALL), LocalStore(tmp_path / "run"), keep_last=2)
    uploads.notify()
    assert uploads.wait(60)
    uploads.close(0)
    assert stored(service) == []
    assert "not uploading checkpoint-00000001" in caplog.text


def test_record_names_the_store_and_the_writer(service, start, tmp_path):
    manager = start()
    save(manager, 1, blocking=True)
    manager.close()
    content = json.loads((tmp_path / "run" / ".store.json").read_text())
    complete = content.pop("complete")
    assert content == {"store": service.address, "address": service.address, "writer": 1}
    manifest = (tmp_path / "run" / "checkpoint-00000001" / "MANIFEST.json").read_bytes()
    assert complete == {"checkpoint": hashlib.sha256(manifest).hexdigest()}
    assert [each.kind for each in open_store(service.address, SMALL).list()] == [CHECKPOINT]
