"""A stand-in for the metadata service of an ECS instance, in its normal or its hardened mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Condition

from tests.fakes.local_server import QuietHandler, serving

LONGEST_TOKEN_SECONDS = 21_600
TERMINATION_ITEM = "instance/spot/termination-time"


@dataclass
class MetadataService:
    """What a test sets up and looks at.

    Attributes:
        is_hardened: Refuses requests without a token.
        items: Text of each item below /latest/meta-data/.
        requests: Method and path of every request that arrived.
        fault: Status and body to answer with, whatever is asked.
    """

    url: str
    is_hardened: bool
    items: dict[str, str]
    requests: list[str] = field(default_factory=list)
    fault: tuple[int, str] | None = None
    _tokens: set[str] = field(default_factory=set)
    _changed: Condition = field(default_factory=Condition)

    def announce_release(self, moment: datetime) -> None:
        """Tells the instance, in UTC, when it will be taken away."""
        self.items[TERMINATION_ITEM] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def forget_tokens(self) -> None:
        """Makes every token stale."""
        self._tokens.clear()

    def note(self, request: str) -> None:
        """Takes down a request that arrived."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait_for_requests(self, count: int) -> None:
        """Waits until so many more have arrived."""
        with self._changed:
            target = len(self.requests) + count
            assert self._changed.wait_for(lambda: len(self.requests) >= target, timeout=60)

    def give_token(self, seconds: str | None) -> tuple[int, str]:
        """Status and body for a request for a token that lives this long."""
        if seconds and seconds.isdecimal() and 1 <= int(seconds) <= LONGEST_TOKEN_SECONDS:
            token = f"AQAAANlVtNaV{len(self._tokens)}{len(self.requests)}"
            self._tokens.add(token)
            return 200, token
        return 400, "400 - Missing or Invalid Parameters"

    def give_item(self, path: str, token: str | None) -> tuple[int, str]:
        """Status and body for a request for an item."""
        if token is None and self.is_hardened:
            return 403, "403 - Forbidden"
        if token is not None and token not in self._tokens:
            return 401, "401 - Unauthorized"
        item = self.items.get(path.removeprefix("/latest/meta-data/"))
        return (404, "404 - Not Found") if item is None else (200, item)


@contextmanager
def metadata_service(*, is_hardened: bool) -> Iterator[MetadataService]:
    """The service, listening on loopback."""
    items = {
        "instance-id": "i-bp1fake",
        "instance/instance-type": "ecs.gn7i-c16g1.4xlarge",
        "region-id": "cn-hangzhou",
    }
    service = MetadataService("", is_hardened, items)

    class Handler(QuietHandler):
        def do_PUT(self) -> None:
            service.note(f"PUT {self.path}")
            if service.fault:
                self.reply(*service.fault)
            elif self.path == "/latest/api/token":
                seconds = self.headers["X-aliyun-ecs-metadata-token-ttl-seconds"]
                self.reply(*service.give_token(seconds))
            else:
                self.reply(404, "404 - Not Found")

        def do_GET(self) -> None:
            service.note(f"GET {self.path}")
            if service.fault:
                self.reply(*service.fault)
                return
            token = self.headers["X-aliyun-ecs-metadata-token"]
            self.reply(*service.give_item(self.path, token))

    with serving(Handler) as service.url:
        yield service
