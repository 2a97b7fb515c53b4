"""A stand-in for the metadata service of an ECS instance, in its normal or its hardened mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fakes.local_server import QuietHandler, serving

TOKEN = "AQAAANlVtNaV"
LONGEST_TOKEN_SECONDS = 21_600


@dataclass
class MetadataService:
    """What a test sets up and looks at.

    Attributes:
        is_hardened: Refuses requests without a token.
        items: Text of each item below /latest/meta-data/.
        requests: Method and path of every request that arrived.
    """

    url: str
    is_hardened: bool
    items: dict[str, str]
    requests: list[str] = field(default_factory=list)

    def give_token(self, seconds: str | None) -> tuple[int, str]:
        """Status and body for a request for a token that lives this long."""
        if seconds and seconds.isdecimal() and 1 <= int(seconds) <= LONGEST_TOKEN_SECONDS:
            return 200, TOKEN
        return 400, "400 - Missing or Invalid Parameters"

    def give_item(self, path: str, token: str | None) -> tuple[int, str]:
        """Status and body for a request for an item."""
        if token is None and self.is_hardened:
            return 403, "403 - Forbidden"
        if token not in (None, TOKEN):
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
            service.requests.append(f"PUT {self.path}")
            if self.path == "/latest/api/token":
                seconds = self.headers["X-aliyun-ecs-metadata-token-ttl-seconds"]
                self.reply(*service.give_token(seconds))
            else:
                self.reply(404, "404 - Not Found")

        def do_GET(self) -> None:
            service.requests.append(f"GET {self.path}")
            token = self.headers["X-aliyun-ecs-metadata-token"]
            self.reply(*service.give_item(self.path, token))

    with serving(Handler) as service.url:
        yield service
