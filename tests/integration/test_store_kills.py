"""kill -9 while uploading: a machine with an empty disk finds the last step that was committed.

The uploader is killed at the requests that carry a part or commit, just before the server sees them
or just after it has done them; the slow test kills at every request there is, both ways.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
import pytest

from src.checkpoint.format import verify_folder
from src.checkpoint.resume import find_resume
from src.checkpoint.store import LocalStore, parse_step
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import BEST
from tests.fakes.store_services import (
    SMALL,
    Service,
    child_environment,
    folder_service,
    hub_service,
    oss_service,
    s3_service,
)

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {"oss": oss_service, "s3": s3_service, "hf": hub_service}


class Uploader:
    """A run's folder, its store, and the process that starts lives; see store_lives.py."""

    def __init__(self, service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.service = service
        self.folder = folder
        self.acknowledged = 0
        self.restores = 0
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        if service.hub:
            monkeypatch.setattr(
                huggingface_hub.constants, "ENDPOINT", service.environment["HF_ENDPOINT"]
            )
        self.address = service.make_address()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.store_lives", self.address],
            cwd=ROOT,
            env={**child_environment(service), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, request: str = "go", *, fatal: int = 0, is_answer_lost: bool = False) -> bool:
        """Runs one life and asserts what must hold after it; returns whether it ended well."""
        process = self.ask(f"{self.folder}\n")["process"]
        if self.service.proxy:
            self.service.proxy.victim, self.service.proxy.counted = process, 0
            self.service.proxy.fatal = fatal
            self.service.proxy.is_answer_lost = is_answer_lost
        life = self.ask(f"{request}\n")
        if self.service.proxy:
            self.service.proxy.fatal = 0
        self.acknowledged = max(self.acknowledged, life["uploaded"])
        saved = [parse_step(name) or 0 for name in LocalStore(self.folder).list()]
        # What was being uploaded when it died may be committed, and nobody told.
        restored = self.restored_step()
        assert self.acknowledged <= restored <= max([*saved, self.acknowledged])
        self.acknowledged = restored  # what was there once stays
        return bool(life["ended"])

    def ask(self, line: str) -> dict[str, int]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line)
        self.process.stdin.flush()
        answer: dict[str, int] = json.loads(self.process.stdout.readline())
        return answer

    def restored_step(self) -> int:
        """What a run on an empty disk would go on from, every byte verified."""
        self.restores += 1
        empty = LocalStore(self.folder.with_name(f"empty-{self.restores}"))
        store = open_store(self.address, SMALL)
        found = find_resume(empty, "auto", lambda _: None, store)
        for stored in store.list():
            if stored.kind == BEST:
                store.verify(stored)
        if found is None:
            return 0
        verify_folder(found.path)
        state = json.loads((found.path / "state.json").read_text())
        assert state["step"] == found.manifest.step
        shutil.rmtree(empty.root)
        return found.manifest.step

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()


@pytest.fixture
def start(tmp_path, monkeypatch):
    @contextmanager
    def start_one(scheme: str) -> Iterator[Uploader]:
        make = SERVICES.get(scheme)
        with make() if make else folder_service(tmp_path) as service:
            uploader = Uploader(service, tmp_path / "run", monkeypatch)
            with uploader.process:
                yield uploader
                uploader.end()

    return start_one


def carries_or_commits(method: str, path: str) -> bool:
    """Whether a request sends a part, copies, completes an upload, puts a manifest or commits."""
    return method in {"PUT", "POST"} and any(
        word in path for word in ("uploadId=", "/best-", "MANIFEST.json", "lfs-blobs", "/commit/")
    )


def kill_at_each(
    uploader: Uploader, *, counts, empty_every: int, both: bool, stride: int = 1
) -> int:
    """Kills life after life, each `stride` requests later; returns how many there were.

    With `both` each request has two lives, one that dies before it and one that dies after it; else
    the two take turns.
    """
    assert uploader.service.proxy
    uploader.service.proxy.counts = counts
    lives, fatal, ended = 0, 0, False
    while not ended:
        fatal += stride
        for is_answer_lost in (False, True) if both else (bool(fatal % 2),):
            if lives % empty_every == empty_every - 1:
                shutil.rmtree(uploader.folder)  # the next machine's disk
            ended = uploader.live(fatal=fatal, is_answer_lost=is_answer_lost)
            lives += 1
    return lives


# botocore takes a second to start, so that S3 has a third of the lives here, and all when slow.
@pytest.mark.parametrize(
    ("scheme", "stride"),
    [("oss", 1), ("s3", 3), ("hf", 3), pytest.param("hf", 1, marks=pytest.mark.slow)],
)
def test_kill_at_parts_and_commits_leaves_the_last_committed_step(start, scheme, stride):
    with start(scheme) as uploader:
        lives = kill_at_each(
            uploader, counts=carries_or_commits, empty_every=5, both=False, stride=stride
        )
        assert lives > 6 // stride


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scheme", ["oss", "s3", "hf"])
def test_kill_at_every_single_request_leaves_the_last_committed_step(start, scheme):
    with start(scheme) as uploader:
        if uploader.service.hub:
            uploader.service.hub.commit_limit = sys.maxsize  # real lives last longer than an hour
        lives = kill_at_each(uploader, counts=lambda method, path: True, empty_every=7, both=True)
        assert lives > 60


def test_kill_at_changes_of_a_mounted_drive_leaves_the_last_committed_step(start):
    with start("file") as uploader:
        ended, fatal = False, 0
        while not ended:
            fatal += 13
            ended = uploader.live(f"at {fatal}")
        assert fatal > 100
