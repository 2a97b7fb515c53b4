"""The protocol between the controller and the instances of a run: objects below `runs/<run>/`.

    run.json               what runs: command, program, settings, when it began; made once
    config.yaml            the resolved configuration
    program-<hash>.tar.gz  the program
    launches/0001.json     what the controller asks the cloud for; made once, before asking
    instances/0001.json    the id of the instance that came of it
    ends/0001.json         when that instance was gone and what it cost; written once it is
    status/0001.json       how far the instance is; written by it at every heartbeat
    logs/0001.txt          the end of what its training printed
    told/<event>           people have been told of it, or are about to be; see src.cloud.herald
    ledger.jsonl           what each instance cost, one JSON object a line; see src.cloud.ledger
    end.json               how the run ended; written by the controller at the end
    alert-secrets.json     of alert channels, private to the run; see src.cloud.alert_secrets
    stop.json              asks the instance to save and end; it looks at every heartbeat
    output/…               summary.json, metrics.jsonl and final/ of the finished training

The controller holds nothing that is not here or in the cloud: killed at any moment, its successor
reads the same and goes on. A launch is numbered; whoever makes `launches/0003.json` may launch
number three, with a ClientToken that follows from run and number, so that two controllers, or one
that repeats itself, can never rent two machines.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from src.cloud.objects import Objects
from src.errors import CloudError

Phase = Literal["starting", "fetching", "training", "uploading", "done", "failed", "interrupted"]
RUNS = "runs"
OUTPUT = "output"
ALERT_SECRETS = "alert-secrets.json"
ENDED_EVENT = "ended"
_TOLD = "told/"
ENDED: tuple[Phase, ...] = ("done", "failed", "interrupted")


@dataclass(frozen=True)
class RunRecord:
    """What a run is.

    Attributes:
        run: Its name.
        nonce: Tells this run from an earlier one of the same name.
        started_at: Seconds since 1970.
        command: E.g. ["teacher", "teacher.max_steps=100"].
        program: Key of the archive, below the run.
        program_sha256: Of the archive.
        forgiven: Number of the last launch before the run was started again by a person; failures
            up to it no longer count.
    """

    run: str
    nonce: str
    started_at: float
    command: tuple[str, ...]
    program: str
    program_sha256: str
    forgiven: int = 0


@dataclass(frozen=True)
class Launch:
    """One request for an instance, written down before it is made.

    Attributes:
        number: From 1.
        region: Where.
        zone: Where exactly.
        instance_type: What.
        market: "spot" or "on_demand".
        requested_at: Seconds since 1970.
        disk_price: CNY per hour of its disk.
        parameters: Of RunInstances, word for word: a repeat must not differ.
    """

    number: int
    region: str
    zone: str
    instance_type: str
    market: str
    requested_at: float
    disk_price: float
    parameters: Mapping[str, str | int | float]

    @property
    def name(self) -> str:
        """`"0001"`."""
        return f"{self.number:04d}"


@dataclass(frozen=True)
class End:
    """What became of a launch.

    Attributes:
        number: Of the launch.
        instance_id: Empty when none came of it.
        reason: E.g. "done", "reclaimed", "no stock: …".
        started_at: When the instance began to cost, seconds since 1970.
        ended_at: When it was gone.
        cost: CNY of machine and disk.
        on_demand_cost: CNY the same seconds would have cost at the on-demand price.
        is_exact: Whether the times are the cloud's own.
        is_released: Whether the controller ended it; else it was taken away or ended by itself.
    """

    number: int
    instance_id: str
    reason: str
    started_at: float = 0.0
    ended_at: float = 0.0
    cost: float = 0.0
    on_demand_cost: float = 0.0
    is_exact: bool = True
    is_released: bool = False


@dataclass(frozen=True)
class Status:
    """How far an instance is, in its own words.

    Attributes:
        launch: Name of the launch.
        beat: Grows with every report.
        phase: What it is doing.
        instance_id: As its metadata service says; empty where there is none.
        step: Optimizer step.
        progress: Share of the training that is done, 0 to 1.
        loss: Of the last logged step.
        training_seconds: Since training began on this instance.
        exit_code: Of the training, when it has ended.
        message: The last line of an error.
        summary: Content of summary.json, when done.
    """

    launch: str
    beat: int = 0
    phase: Phase = "starting"
    instance_id: str = ""
    step: int = 0
    progress: float = 0.0
    loss: float | None = None
    training_seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


class RunState:
    """The objects of one run."""

    def __init__(self, objects: Objects, run: str) -> None:
        self.objects = objects
        self.run = run
        self._root = f"{RUNS}/{run}/"
        self._lasting: dict[str, Any] = {}  # what never changes once it is written

    def key(self, name: str) -> str:
        """Of an object of this run."""
        return self._root + name

    # The run

    def record(self) -> RunRecord | None:
        """The run, if it has been begun."""
        content = self._read("run.json")
        if content is None:
            return None
        return RunRecord(**{**content, "command": tuple(content["command"])})

    def begin(self, record: RunRecord) -> RunRecord:
        """Begins the run, unless it has been begun: then the first record holds.

        Raises:
            CloudError: The bucket lets an object be made twice: nothing would settle who is first.
        """
        probe = self.key("once")
        self.objects.put_new(probe, b"1")
        if self.objects.put_new(probe, record.nonce.encode()):
            raise CloudError(
                "cloud.bucket keeps versions of its objects (enabled or suspended), so that an "
                "object can be made twice",
                "use a bucket that never had versioning switched on",
            )
        self.objects.put_new(self.key("run.json"), _bytes(asdict(record)))
        return self.record() or record

    def rewrite(self, record: RunRecord) -> None:
        """Changes the run: a newer program, old failures forgiven."""
        self._write("run.json", asdict(record))

    def finish(self, exit_code: int, reason: str) -> None:
        """Writes down that the run has ended, and how."""
        self._write("end.json", {"exit_code": exit_code, "reason": reason})

    def finished(self) -> tuple[int, str] | None:
        """How the run has ended, if it has."""
        content = self._read("end.json")
        return None if content is None else (int(content["exit_code"]), str(content["reason"]))

    def reopen(self) -> None:
        """Takes back the end of the run and a request to stop."""
        self.objects.delete(self.key("end.json"))
        self.objects.delete(self.key(f"{_TOLD}{ENDED_EVENT}"))
        self.unstop()

    def stop(self, reason: str) -> None:
        """Asks whatever instance runs to save and end."""
        self._write("stop.json", {"reason": reason})

    def stop_reason(self) -> str | None:
        """Why the run is asked to stop, if it is."""
        content = self._read("stop.json")
        return None if content is None else str(content["reason"])

    def unstop(self) -> None:
        """Takes the request back."""
        self.objects.delete(self.key("stop.json"))

    def forget(self) -> None:
        """Removes what steers the run; checkpoints and output stay."""
        self._lasting.clear()
        steering = ("launches/", "instances/", "ends/", "status/", "logs/", "program-", _TOLD)
        for name in self._names(""):
            if name in (
                ALERT_SECRETS,
                "config.yaml",
                "stop.json",
                "ledger.jsonl",
                "end.json",
                "once",
            ) or name.startswith(steering):
                self.objects.delete(self.key(name))
        self.objects.delete(self.key("run.json"))

    # Launches

    def launches(self) -> list[Launch]:
        """All of them, in order; one whose writer was killed half-way never asked for anything."""
        found = (self._read_once(name) for name in self._names("launches/"))
        return [Launch(**content) for content in found if content]

    def next_number(self) -> int:
        """Of the next launch."""
        names = self._names("launches/")
        return int(names[-1].removeprefix("launches/").removesuffix(".json")) + 1 if names else 1

    def note_instance(self, launch: Launch, instance_id: str) -> None:
        """Writes down which instance a launch gave."""
        self._write(f"instances/{launch.name}.json", {"instance_id": instance_id})

    def instance_ids(self) -> dict[str, str]:
        """Launch name → id of its instance."""
        return {
            name.removeprefix("instances/").removesuffix(".json"): str(content["instance_id"])
            for name in self._names("instances/")
            if (content := self._read_once(name))
        }

    def announce(self, launch: Launch) -> bool:
        """Writes a launch down; False when its number is taken."""
        return self.objects.put_new(
            self.key(f"launches/{launch.name}.json"), _bytes(asdict(launch))
        )

    def ends(self) -> dict[int, End]:
        """What became of launches, by number; those that still live are missing."""
        contents = (self._read(name) for name in self._names("ends/"))
        found = [End(**content) for content in contents if content]
        return {end.number: end for end in found}

    def settle(self, end: End) -> None:
        """Writes down what became of a launch."""
        self._write(f"ends/{end.number:04d}.json", asdict(end))

    # What people are told

    def told(self) -> set[str]:
        """The events whose telling has been claimed."""
        return {name.removeprefix(_TOLD) for name in self._names(_TOLD)}

    def claim_telling(self, event: str, claimant: str) -> bool:
        """Takes it on to tell an event; False when another claimant has."""
        return self.objects.put_new(self.key(_TOLD + event), claimant.encode())

    # What instances say

    def status(self, launch: str) -> Status | None:
        """The last report of an instance."""
        content = self._read(f"status/{launch}.json")
        return None if content is None else Status(**content)

    def report(self, status: Status) -> None:
        """Writes a report."""
        self._write(f"status/{status.launch}.json", asdict(status))

    def log(self, launch: str) -> str | None:
        """The end of what the training of an instance printed."""
        content = self.objects.get(self.key(f"logs/{launch}.txt"))
        return None if content is None else content.decode("utf-8", "replace")

    # Bytes

    def _names(self, prefix: str) -> list[str]:
        return [name.removeprefix(self._root) for name in self.objects.list(self.key(prefix))]

    def _read(self, name: str) -> Any:
        content = self.objects.get(self.key(name))
        if not content:  # a folder shows a file that is being made as empty
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise CloudError(
                f"{self.key(name)} in the bucket is not what this program writes",
                "choose another cloud.run_name, or remove the object",
            ) from None

    def _read_once(self, name: str) -> Any:
        """For objects that never change, so that a long run is not read anew at every look."""
        if name not in self._lasting:
            content = self._read(name)
            if content is None:
                return None
            self._lasting[name] = content
        return self._lasting[name]

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self.objects.put(self.key(name), _bytes(content))


def new_nonce() -> str:
    """Eight characters that no other run has."""
    return secrets.token_hex(4)


def client_token(record: RunRecord, number: int) -> str:
    """At most 64 ASCII characters; the same for the same launch, whoever asks."""
    return f"lb-{record.run}-{record.nonce}-{number:04d}"


def next_beat(status: Status, **changes: Any) -> Status:
    """The following report."""
    return replace(status, beat=status.beat + 1, **changes)


def _bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8")
