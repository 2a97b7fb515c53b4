"""Real training processes: the cloud's notice, kills, and who starts them again."""

import re
import signal
import subprocess
from datetime import datetime, timedelta, timezone

import psutil
import pytest

from src.train_teacher import train_teacher
from tests.fakes.chat_services import chat_services
from tests.fakes.metadata_service import metadata_service


def rest_of(stream):
    return stream.read()


def read_until(process, pattern):
    for line in process.stderr:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"it ended without saying {pattern}")


def test_notice_ends_real_training_with_its_step_saved(project, monkeypatch):
    monkeypatch.setenv("WECOM_KEY", "wecom-key")
    with metadata_service(is_hardened=True) as metadata, chat_services() as chats:
        overrides = (
            "teacher.max_steps=null",
            "teacher.num_epochs=99",
            "teacher.save_steps=4000",
            "teacher.eval_steps=4000",
            "interruption.reclaim_notice=always",
            "interruption.poll_seconds=0.05",
            f"interruption.metadata_url={metadata.url}",
            f"alerts.wecom={{base_url: '{chats.url}'}}",
            "alerts.kinds=[notice]",
        )
        with subprocess.Popen(
            project.command("teacher", *overrides), stderr=subprocess.PIPE, encoding="utf-8"
        ) as process:
            read_until(process, r"step 3/")
            metadata.announce_release(datetime.now(timezone.utc) + timedelta(seconds=300))
            rest = rest_of(process.stderr)
    assert process.returncode == 75
    stopped = re.search(
        r"stopped by the cloud's notice .* at step (\d+); saved (\S+checkpoint)", rest
    )
    assert stopped, rest
    step = int(stopped[1])
    assert (project.folder / f"teacher/checkpoint-{step:08d}/MANIFEST.json").is_file()
    (text,) = chats.texts("wecom")
    assert re.search(r"the machine is being taken away\nthis machine is released at \d\d:", text)
    resumed = train_teacher(project.config(f"teacher.max_steps={step + 1}"))
    assert resumed["resumed_from"] == f"checkpoint-{step:08d}"


def test_supervised_run_survives_a_kill_and_equals_a_straight_one(project):
    straight = train_teacher(project.config(f"teacher.output_dir={project.folder}/straight"))
    quick = "interruption.supervise.first_wait_seconds=0.01"
    with subprocess.Popen(
        project.command("teacher", "--supervise", "--json", quick),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        read_until(process, r"step 9/12")
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        words = rest_of(process.stderr)
        result = rest_of(process.stdout)
    assert process.returncode == 0, words
    assert "the run was ended by SIGKILL (often: memory ran out) at step" in words
    summary = project.summary("teacher")
    assert summary["weights_sha256"] == straight["weights_sha256"]
    assert summary["weights_sha256"] in result
    assert summary["resumed_from"] in {f"checkpoint-{step:08d}" for step in (4, 6, 8)}


@pytest.mark.slow
@pytest.mark.distributed
def test_supervised_ranks_all_save_when_asked_to_end_and_show_no_secret(project, monkeypatch):
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "planted-secret")
    command = project.command(
        *("teacher", "--supervise", "--ranks", "2", "teacher.batch_size=4"),
        *(
            "teacher.max_steps=null",
            "teacher.num_epochs=99",
            "teacher.save_steps=4000",
            "teacher.eval_steps=4000",
        ),
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as process:
        read_until(process, r"step 3/")
        process.send_signal(signal.SIGTERM)
        words = rest_of(process.stderr)
    assert process.returncode == 75, words
    (saved,) = (project.folder / "teacher").glob("checkpoint-*/MANIFEST.json")
    assert f"saved {saved.parent}" in words
    shown = words + "".join(path.read_text() for path in project.folder.rglob("*log*.*"))
    assert "OSS_ACCESS_KEY_SECRET=***" in shown
    assert "planted-secret" not in shown
