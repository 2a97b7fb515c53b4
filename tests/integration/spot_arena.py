"""A cloud on this machine, a run in it, and what a seeded script does to both."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from src.checkpoint.stores.store import parse_stored
from tests.fakes import quick_training
from tests.fakes.cloud_monitor import cloud_monitor
from tests.fakes.ecs_machines import ROLE_KEY, ROLE_SECRET, LocalMachines
from tests.fakes.ecs_service import EcsService, Fault, ecs_service
from tests.fakes.ecs_world import World
from tests.fakes.faulty_proxy import FaultyProxy
from tests.fakes.object_storage import ObjectStorage

KEY_ID, SECRET = "LTAI-canary-id", "canary~secret+/="
ROOT = Path(__file__).resolve().parents[2]
SPEED = 120.0
_PATIENCE_SECONDS = 90.0  # before a test is given up; nothing waits so long by design


class Arena:
    """Everything one run needs, below one folder.

    Args:
        folder: Where.
        seed: Of the prices.
        training: Added to the environment of instances.
        secrets: Added to the environment of the controller.
        program: The project that instances get; None means one that trains in seconds.
        config: Its configuration file.
        overrides: Keys besides.
        in_oss: Whether the bucket is one of OSS, or a folder.
        speed: Seconds of the cloud's clock in one second.
        save_every: Steps between two checkpoints of the training.
        patience_seconds: Before a wait is given up.

    Attributes:
        world: What is rented.
        service: What rents it.
        bucket: Where the run lives.
        monitor: Where its alarms are.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        training: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        program: Path | None = None,
        config: Path | None = None,
        overrides: tuple[str, ...] = (),
        in_oss: bool = False,
        speed: float = SPEED,
        save_every: int = quick_training.SAVE_EVERY,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self.speed = speed
        self._patience_seconds = patience_seconds
        self.save_every = save_every
        self.folder = folder
        self.network = FaultyProxy()
        self.storage = ObjectStorage({KEY_ID: SECRET, ROLE_KEY: ROLE_SECRET})
        self._program = program or self._quick_program()
        self._files = [str(config)] if config else []
        self._overrides = overrides
        self._secrets = secrets or {}
        self.bucket = folder / "bucket"
        self.bucket.mkdir()
        environment = {
            "QUICK_TRAINING_CHECKPOINT": str(self.bucket / "checkpoint.json"),
            **(training or {}),
        }
        self._stack = ExitStack()
        self._address = f"file://{self.bucket}"
        if in_oss:
            self.storage.make_bucket("training")
            server = self._stack.enter_context(self.storage.serve())
            endpoint = self._stack.enter_context(self.network.serve(server))
            self._address = f"oss://training/some/place?endpoint={endpoint}"
        self.machines = LocalMachines(folder / "machines", environment)
        self._stack.callback(self.machines.close)
        # Beginning shortly before an hour ends, so that prices change during the run.
        self.world = World(
            seed=seed,
            speed=speed,
            start=1_793_000_000.0 // 3600 * 3600 + 2400,
            machines=self.machines,
        )
        self.service: EcsService = self._stack.enter_context(
            ecs_service({KEY_ID: SECRET}, self.world)
        )
        self.monitor = self._stack.enter_context(cloud_monitor({KEY_ID: SECRET}))
        self.controller: subprocess.Popen[bytes] | None = None
        self.lives = 0

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        if self.controller is not None and self.controller.poll() is None:
            self.controller.kill()
            self.controller.wait()
        self._stack.close()

    def start_controller(self) -> None:
        """Starts it, or its successor."""
        settings = self.folder / "settings.json"
        content = {
            "url": self.service.url,
            "monitor": self.monitor.url,
            "origin": self.world._origin,
            "speed": self.speed,
            "program": str(self._program),
            "files": self._files,
            "alerts": str(self.folder / "alerts.jsonl"),
            "overrides": [*self.overrides(), *self._overrides],
        }
        settings.write_text(json.dumps(content), encoding="utf-8")
        self.lives += 1
        log = (self.folder / "controller.log").open("ab")
        with log, (self.folder / f"answer-{self.lives}.json").open("wb") as answer:
            self.controller = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.spot_lives", str(settings)],
                cwd=ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.folder),
                    "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY_ID,
                    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
                    **self._secrets,
                },
                stdout=answer,
                stderr=log,
            )

    def _quick_program(self) -> Path:
        """The project with a run.py that trains in seconds."""
        program = self.folder / "program"
        program.mkdir()
        for name in ("src", "deploy"):
            (program / name).symlink_to(ROOT / name)
        for name in ("pyproject.toml", "requirements.txt", "requirements-gpu.txt"):
            shutil.copy(ROOT / name, program / name)
        shutil.copy(quick_training.__file__, program / "run.py")
        return program

    def overrides(self) -> list[str]:
        return [
            f"cloud.bucket={self._address}",
            "cloud.ram_role=trainer",
            "cloud.run_name=chaos",
            "cloud.regions=[cn-hangzhou, cn-beijing]",
            f"cloud.python={sys.executable}",
            "cloud.poll_seconds=30",
            "cloud.heartbeat_seconds=0.1",
            "cloud.silence_minutes=60",
            "cloud.unavailable_minutes=4",
            "teacher.output_dir=models/teacher",
            "alerts.cloud_contact_group=trainers",
        ]

    def kill_controller(self) -> None:
        """SIGKILL, at whatever it is doing."""
        assert self.controller is not None
        self.controller.kill()
        self.controller.wait()

    def end(self) -> int:
        """Waits for the controller's end; its exit code."""
        assert self.controller is not None
        return self.controller.wait(timeout=self._patience_seconds)

    def answer(self) -> dict[str, Any]:
        """What the last controller has printed."""
        text = (self.folder / f"answer-{self.lives}.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def saved_step(self) -> int:
        """Of the newest checkpoint in the bucket, of the quick training or of the real one."""
        path = self.bucket / "checkpoint.json"
        quick = [int(json.loads(path.read_text())["step"])] if path.is_file() else []
        names = [path.parent.name for path in self._manifests()]
        return max([0, *quick, *(stored.step for name in names if (stored := parse_stored(name)))])

    def alerts(self) -> list[tuple[str, str]]:
        """Kind and text of every alert of every controller."""
        lines = (self.folder / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
        return [(kind, text) for kind, text in map(json.loads, lines)]

    def committed(self) -> int:
        """Whole checkpoints of the real training in the bucket."""
        return len(self._manifests())

    def _manifests(self) -> list[Path]:
        return list((self.bucket / "runs/chaos/checkpoints").glob("*/MANIFEST.json"))

    def read(self, name: str) -> str:
        """An object of the run."""
        stored = self.storage.buckets.get("training")
        if stored is not None:
            return stored.objects[f"some/place/runs/chaos/{name}"].content.decode()
        return (self.bucket / "runs" / "chaos" / name).read_text(encoding="utf-8")

    def logs(self) -> str:
        return (self.folder / "controller.log").read_text(encoding="utf-8")

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Looks until it holds; the run's end also ends the waiting."""
        deadline = time.monotonic() + self._patience_seconds
        while not holds():
            assert self.controller is not None
            if self.controller.poll() is not None:
                return
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)


class Chaos:
    """What goes wrong, drawn from a seed: each trouble comes when the training has got further."""

    def __init__(self, arena: Arena, seed: int) -> None:
        self._arena = arena
        self._draw = random.Random(seed)  # noqa: S311
        self.happened: list[str] = []

    def unfold(self, troubles: int = 4) -> None:
        """Makes so many troubles, one after another, each kind at most twice."""
        kinds = [
            self.kill,
            self.notice,
            self.kill_controller,
            self.sell_out,
            self.lose,
            self.throttle,
        ]
        order = [kinds[index] for index in self._draw.sample(range(len(kinds)), troubles)]
        step = 0
        for trouble in order:
            step += self._draw.randint(1, 2) * self._arena.save_every
            self._arena.wait_until(lambda step=step: self._arena.saved_step() >= step)  # type: ignore[misc]
            self.happened.append(trouble.__name__)
            trouble()

    def kill(self) -> None:
        """The machine is gone, without notice."""
        for instance in self._arena.world.living():
            self._arena.world.release(instance)

    def notice(self) -> None:
        """The machine will be gone in five minutes."""
        for instance in self._arena.world.living():
            self._arena.world.give_notice(instance)

    def kill_controller(self) -> None:
        """SIGKILL, and a successor; the machine goes at the same moment or stays."""
        self._arena.kill_controller()
        if self._draw.random() < 0.5:
            self.kill()
        self._arena.start_controller()

    def sell_out(self) -> None:
        """The zone of the machine, and of half of the others, has no spot stock any more."""
        world = self._arena.world
        zones = sorted(world.zones)
        taken = {each.zone for each in world.living()}
        world.sold_out = {
            (zone, True) for zone in zones if zone in taken or self._draw.random() < 0.5
        }
        if len(world.sold_out) == len(zones):
            world.sold_out.pop()
        self.kill()

    def lose(self) -> None:
        """The answer to the next launch gets lost, twice."""
        self._arena.service.faults += [Fault("RunInstances", "lost"), Fault("RunInstances", "lost")]
        self.kill()

    def throttle(self) -> None:
        """Calls are throttled or answered by errors of the service."""
        for action in ("DescribeInstances", "RunInstances", "DescribeSpotPriceHistory"):
            self._arena.service.faults += [
                Fault(action, "Throttling.User"),
                Fault(action, "ServiceUnavailable", 503),
            ]
        self.kill()
