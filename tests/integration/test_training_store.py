"""A run that loses its machine: killed, its disk gone, and gone on with from the store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest

from src.checkpoint.stores.open import open_store
from src.train_teacher import train_teacher
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
