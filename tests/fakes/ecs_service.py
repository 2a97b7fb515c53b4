"""A stand-in for Alibaba Cloud's ECS service that checks what the real one checks.

It verifies key, timestamp and signature (HMAC-SHA1, version 1.0 of the RPC style) before it
answers, and refuses actions and parameters that it does not know, with the real codes. Without a
world it knows one action, DescribeRegions; with one (`tests.fakes.ecs_world`) it rents instances.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.ecs_actions import perform
from tests.fakes.ecs_refusal import Refusal
from tests.fakes.ecs_world import World
from tests.fakes.local_server import QuietHandler, serving
from tests.fakes.rpc_signature import require_known

REGIONS = ["cn-qingdao", "cn-beijing", "cn-hangzhou", "ap-southeast-1"]


@dataclass
class Fault:
    """One thing that goes wrong with the next request of an action.

    Attributes:
        action: E.g. "RunInstances"; empty for any.
        kind: "lost" does the work and closes the connection without an answer; anything else is
            the code of a refusal.
        status: Of that refusal.
    """

    action: str
    kind: Literal["lost"] | str
    status: int = 400

    def hits(self, action: str) -> bool:
        return self.action in ("", action)


@dataclass
class EcsService:
    """What a test sets up and looks at.

    Attributes:
        keys: Secret of each access key id the service knows.
        tokens: Security token that goes with a temporary key.
        clock_offset: How far the service's clock is ahead of this machine's.
        fault: Status and body to answer with, whatever is asked.
        faults: What goes wrong next, once each.
        requests: Parameters of every request that arrived.
        world: What can be rented.
    """

    url: str
    keys: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    clock_offset: timedelta = timedelta()
    fault: tuple[int, str] | None = None
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[dict[str, str]] = field(default_factory=list)
    world: World | None = None

    def answer(self, method: str, parameters: dict[str, str]) -> tuple[int, str] | None:
        """Status and body for one request; None to close the connection."""
        self.requests.append(parameters)
        if self.fault:
            return self.fault
        action = parameters["Action"]
        try:
            require_known(
                method,
                parameters,
                self.keys,
                tokens=self.tokens,
                clock_offset=self.clock_offset,
            )
            is_lost = self._go_wrong(action)
            content = self._perform(action, parameters)
        except Refusal as refusal:
            return refusal.answer()
        return None if is_lost else (200, json.dumps({"RequestId": "R-1", **content}))

    def _go_wrong(self, action: str) -> bool:
        """Takes the next fault of an action; whether the answer gets lost."""
        fault = next((each for each in self.faults if each.hits(action)), None)
        if fault is None:
            return False
        self.faults.remove(fault)
        if fault.kind != "lost":
            raise Refusal(fault.status, fault.kind, "As the test wants it.")
        return True

    def _perform(self, action: str, parameters: dict[str, str]) -> dict[str, object]:
        if self.world is not None:
            return perform(self.world, action, parameters)
        if action != "DescribeRegions":
            raise Refusal(404, "InvalidAction.NotFound", "Specified api is not found.")
        regions = [{"RegionId": name, "LocalName": name} for name in REGIONS]
        return {"Regions": {"Region": regions}}


@contextmanager
def ecs_service(keys: dict[str, str], world: World | None = None) -> Iterator[EcsService]:
    """The service, listening on loopback."""
    service = EcsService("", keys, world=world)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            # The SDK sends every parameter in the address and leaves the body empty.
            parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            answer = service.answer("POST", parameters)
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(2)
            else:
                self.reply(*answer, "application/json")

    with serving(Handler) as service.url:
        yield service
