"""kill -9 at any moment of saving leaves the old checkpoint or the new one, never a mixture."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.checkpoint.format import verify_folder
from src.checkpoint.resume import find_resume
from src.checkpoint.store import LocalStore
from src.errors import CheckpointError
from tests.fakes.checkpoint_content import step_in

ROOT = Path(__file__).resolve().parents[2]
RANDOM_KILLS = 40
SEED = 20290305


class Lives:
    """One folder, and the process that starts lives in it; see checkpoint_lives.py."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest = 0
        self.best = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.checkpoint_lives", str(folder)],
            cwd=ROOT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it forks, and then has no threads
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, kind: str, count: int) -> dict[str, int]:
        """Runs one life and asserts what must hold after any death."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{kind} {count}\n")
        self.process.stdin.flush()
        life: dict[str, int] = json.loads(self.process.stdout.readline())
        saved = self.newest + life["saves"]
        found = self.find_newest()
        assert found in (saved, saved + 1), f"saved {saved} before dying, found {found}"
        store = LocalStore(self.folder)
        store.recover()
        assert self.find_newest() == found, "clearing up changed what is found"
        self.newest = found
        self.check_copies(store, oldest_best=saved if life["saves"] else self.best)
        known = {".lock", "best", "final", *store.list()}
        assert {path.name for path in self.folder.iterdir()} <= known
        if life["saves"]:  # rotation went through: the last two, and the best of before
            assert len(store.list()) <= 3
        return life

    def find_newest(self) -> int:
        """The step that a resume would find right now, every byte compared with what was saved."""
        found = find_resume(LocalStore(self.folder), "auto", lambda _: None)
        if found is None:
            return 0
        assert step_in(found.path) == found.manifest.step
        return found.manifest.step

    def check_copies(self, store: LocalStore, oldest_best: int) -> None:
        """`best` and `final` are whole, and `best` never goes back."""
        for name in filter(store.exists, ("best", "final")):
            assert verify_folder(store.get(name)).step == step_in(store.get(name))
        self.best = step_in(store.get("best")) if oldest_best or store.exists("best") else 0
        assert oldest_best <= self.best <= self.newest


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    started = Lives(tmp_path / "run")
    with started.process:
        yield started


def test_kill_at_every_single_action_leaves_the_old_or_the_new_checkpoint(lives: Lives) -> None:
    fatal, ended = 0, 0
    while not ended:
        fatal += 1
        ended = lives.run("inside", fatal)["ended"]
    assert fatal > 60  # fewer would mean that actions were not seen


def test_kills_from_outside_at_random_moments_leave_the_old_or_the_new(lives: Lives) -> None:
    actions = lives.run("inside", 0)["actions"]
    moments = random.Random(SEED)  # noqa: S311  not a secret
    lived = [
        lives.run("outside", moments.randint(1, actions - 1))["ended"] for _ in range(RANDOM_KILLS)
    ]
    assert lived.count(0) > RANDOM_KILLS // 2


def test_folder_belongs_to_one_living_process(tmp_path: Path) -> None:
    claim = (
        "import sys; from pathlib import Path; from src.checkpoint.store import LocalStore;"
        "LocalStore(Path(sys.argv[1])).claim(); print('claimed', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", claim, str(tmp_path / "run")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(
            CheckpointError,
            match=rf"is being written by another run \(process {other.pid} on .*\); wait for it",
        ):
            LocalStore(tmp_path / "run").claim()
        other.send_signal(signal.SIGKILL)
    store = LocalStore(tmp_path / "run")
    store.claim()
    store.release()
