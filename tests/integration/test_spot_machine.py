"""What happens on an instance before and around the training, in real processes."""

import json
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest

from src.cloud.notice import read_termination_time
from src.cloud.worker import Settings, read_settings
from src.metadata_service import MetadataService, MetadataUnavailable
from tests.fakes.local_server import NOWHERE
from tests.fakes.metadata_service import metadata_service
from tests.integration.spot_arena import Arena

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(tmp_path):
    """A folder as the start script leaves it, and what runs bootstrap there."""
    root = tmp_path / "machine"
    tools = tmp_path / "tools"
    for folder in (root, tools):
        folder.mkdir()
    (root / "program").symlink_to(ROOT)
    (root / "bucket.py").write_bytes((ROOT / "src/cloud/bucket.py").read_bytes())
    (root / "bootstrap.log").touch()
    settings: dict[str, object] = {
        "bucket": f"file://{tmp_path}/bucket",
        "run": "r",
        "launch": "0001",
    }
    settings |= {"oss_endpoint": "", "ram_role": "", "command": [], "python": sys.executable}
    for name in ("python3", "date", "shutdown", "grep", "bash"):
        tool = tools / name
        if name == "shutdown":
            tool.write_text("#!/bin/bash\n: > switched-off\n")
            tool.chmod(0o755)
        else:
            source = "/usr/bin/python3" if name == "python3" else f"/usr/bin/{name}"
            tool.symlink_to(source if Path(source).exists() else sys.executable)

    def boot(nvidia_smi=None, **changes):
        (root / "settings.json").write_text(json.dumps({**settings, **changes}))
        if nvidia_smi is not None:
            (tools / "nvidia-smi").write_text(f"#!/bin/bash\n{nvidia_smi}\n")
            (tools / "nvidia-smi").chmod(0o755)
        subprocess.run(
            ["/bin/bash", str(ROOT / "deploy/aliyun/bootstrap.sh")],
            cwd=root,
            env={"PATH": str(tools), "HOME": str(root)},
            capture_output=True,
            check=False,
        )
        status = json.loads((tmp_path / "bucket/runs/r/status/0001.json").read_text())
        return status, (root / "switched-off").exists()

    return boot


@pytest.mark.parametrize(
    ("nvidia_smi", "changes", "message"),
    [
        (None, {}, "the image has no NVIDIA driver; set cloud.image to one that has"),
        ("exit 9", {}, "the NVIDIA driver sees no GPU"),
        ("echo 'GPU 0: A10'", {"python": "/no/python"}, "cloud.python is /no/python, which the"),
    ],
)
def test_machine_that_cannot_train_says_why_and_switches_itself_off(
    machine, nvidia_smi, changes, message
):
    status, is_off = machine(nvidia_smi, **changes)
    assert status["phase"] == "failed"
    assert message in status["message"]
    assert is_off


def test_program_that_was_altered_is_not_run(tmp_path):
    with Arena(tmp_path) as arena:
        (arena.folder / "program" / "requirements.txt").write_text("evil\n")
        arena.start_controller()
        arena.wait_until(lambda: bool(arena.world.instances))
        arena.kill_controller()
        (program,) = (arena.bucket / "runs/chaos").glob("program-*")
        program.write_bytes(program.read_bytes() + b"x")
        (first,) = arena.world.living()
        arena.world.release(first)
        arena.start_controller()
        arena.wait_until(lambda: len(arena.world.instances) == 2)
        second = max(arena.world.instances)
        arena.machines.bodies[second].process.wait(timeout=60)
        console = (arena.machines.bodies[second].folder / "console.log").read_text()
        assert "program.tar.gz: FAILED" in console
        assert not (arena.machines.bodies[second].folder / "linguabridge/program").exists()


def test_training_that_refuses_its_configuration_ends_the_run_with_its_words(tmp_path):
    with Arena(tmp_path, training={"QUICK_TRAINING_FAILS": "2"}) as arena:
        arena.start_controller()
        assert arena.end() == 2
        assert (
            arena.answer()["reason"] == "the training refuses to start: teacher: the disk is full"
        )
        assert len(arena.world.instances) == 1
        assert arena.world.living() == []


def is_about_to_be_reclaimed(url):
    with MetadataService(url) as service, suppress(MetadataUnavailable):
        return read_termination_time(service) is not None
    return False


@pytest.mark.parametrize("is_hardened", [False, True])
def test_notice_is_a_time_and_nothing_else(is_hardened):
    with metadata_service(is_hardened=is_hardened) as metadata:
        assert not is_about_to_be_reclaimed(metadata.url)  # 404, with a page as its body
        metadata.announce_release(datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc))
        assert is_about_to_be_reclaimed(metadata.url)
        metadata.items["instance/spot/termination-time"] = "<html>Please log in</html>"
        assert not is_about_to_be_reclaimed(metadata.url)
    assert not is_about_to_be_reclaimed(NOWHERE)


def test_settings_come_back_as_they_were_sent(tmp_path):
    settings = Settings("file:///b", "", "", "r", "0001", ("teacher", "a=b"), "out")
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(vars(settings)))
    assert read_settings(path) == settings
