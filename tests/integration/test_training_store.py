"""A run that loses its machine: killed, its disk gone, and gone on with from the store."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess

import pytest

from src.checkpoint.stores.open import open_store
from src.train_teacher import train_teacher
from tests.fakes.faulty_proxy import Fault
from tests.fakes.store_services import SECRETS, Service, child_environment, oss_service


@pytest.fixture
def service(monkeypatch):
    with oss_service() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


def kill_after_upload(project, service: Service, setting: str, step: int) -> str:
    """Runs the teacher until a step is in the store, kills it, and removes its folder."""
    said = ""
    with subprocess.Popen(
        project.command("teacher", setting),
        env=child_environment(service),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said += line
            if f"uploaded checkpoint-{step:08d}" in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        said += process.stderr.read()
    assert process.returncode == -signal.SIGKILL, said
    shutil.rmtree(project.folder / "teacher")
    return said


def test_run_on_an_empty_disk_ends_with_the_weights_of_an_undisturbed_one(project, service):
    straight = train_teacher(project.config(f"teacher.output_dir={project.folder}/straight"))
    address = "oss://bucket/teams/teacher"
    setting = f"teacher.checkpoint_store={address}"
    said = kill_after_upload(project, service, setting, step=4)
    result = subprocess.run(
        project.command("teacher", setting),
        env=child_environment(service),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    resumed = project.summary("teacher")
    assert f"from {address}/checkpoint-" in result.stderr
    assert resumed["resumed_from"].startswith("checkpoint-")
    assert resumed["weights_sha256"] == straight["weights_sha256"]
    assert resumed["best_eval_loss"] == straight["best_eval_loss"]
    stored = [each.name for each in open_store(address).list()]
    assert "final-00000012.w0002" in stored
    assert "checkpoint-00000012.w0002" in stored
    everything = said + result.stdout + result.stderr
    everything += "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in project.folder.rglob("*")
        if path.is_file()
    )
    contents = [item.content for item in service.storage.buckets["bucket"].objects.values()]
    assert SECRETS["oss"] not in everything
    assert not [content for content in contents if SECRETS["oss"].encode() in content]


def test_training_goes_on_without_its_store_and_catches_up_when_that_is_back(
    project, service, caplog
):
    """The store is away from the first checkpoint until the last one is saved and it was said."""
    caplog.set_level(logging.INFO)
    folder = project.folder / "teacher"
    straight = train_teacher(project.config(f"teacher.output_dir={project.folder}/straight"))

    def is_away(method: str, path: str) -> bool:
        is_said = any("cannot be reached" in line for line in caplog.messages)
        is_back = is_said and (folder / "checkpoint-00000012").exists()
        return any(folder.glob("checkpoint-*")) and not is_back

    service.proxy.faults = [Fault("drop", is_away, times=10**6)]
    address = "oss://bucket/outage"
    ended = train_teacher(project.config(f"teacher.checkpoint_store={address}"))
    assert ended["weights_sha256"] == straight["weights_sha256"]
    stored = {(each.kind, each.step) for each in open_store(address).list()}
    assert {("checkpoint", 12), ("final", 12)} <= stored
    assert not {("checkpoint", 4), ("checkpoint", 8)} & stored  # nobody needs them any more
    complaints = [line for line in caplog.messages if "cannot be reached" in line]
    assert len(complaints) == 1
    assert "training goes on, and uploading is tried again" in complaints[0]
    assert f"{address} is reached again and has everything" in caplog.messages


def test_finished_run_whose_last_upload_failed_uploads_when_it_is_started_again(
    project, service, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("src.checkpoint.manager.FINISHED_SECONDS", 0.3)
    monkeypatch.setattr("src.checkpoint.pending.FINISHED_SECONDS", 0.3)
    folder = project.folder / "teacher"
    outage = Fault("drop", lambda *_: any(folder.glob("checkpoint-*")), times=10**6)
    service.proxy.faults = [outage]
    address = "oss://bucket/late"
    config = project.config(f"teacher.checkpoint_store={address}")
    finished = train_teacher(config)
    assert "start the run here again, which uploads it" in caplog.text
    assert train_teacher(config) == finished
    outage.times = 0
    said = project.run("teacher", f"teacher.checkpoint_store={address}")
    assert said.returncode == 0
    assert "is up to date (12 steps)" in said.stderr
    assert f"{address} has everything of" in said.stderr
    stored = {(each.kind, each.step) for each in open_store(address).list()}
    assert {("checkpoint", 12), ("final", 12)} <= stored
    seen = len(service.proxy.requests)
    assert train_teacher(config) == finished
    assert len(service.proxy.requests) == seen


@pytest.mark.slow
def test_interrupted_run_is_in_the_store_before_it_ends_with_75(project, service):
    setting = "teacher.checkpoint_store=oss://bucket/interrupted"
    with subprocess.Popen(
        project.command("teacher", setting, "teacher.save_steps=100"),
        env=child_environment(service),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 3/12" in line:
                os.kill(process.pid, signal.SIGTERM)
                break
        process.stderr.read()
    assert process.returncode == 75
    stored = open_store("oss://bucket/interrupted").list()
    local = sorted(path.name for path in (project.folder / "teacher").glob("checkpoint-*"))
    assert stored[-1].local_name == local[-1]
