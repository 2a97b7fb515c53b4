"""A network that fails on order: stands between a client and a local server.

Every request is counted. A fault strikes the requests it matches: it may drop the connection before
the server has seen the request or after it has answered, answer in the server's place, flip a bit
on either way, hold the answer back, or kill the client.
"""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock
from urllib.parse import urlsplit

from tests.fakes.local_server import QuietHandler, serving

_HOP_HEADERS = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Fault:
    """What happens to some requests.

    Attributes:
        kind: drop, lose (the answer), answer, damage (the request), spoil (the answer), hold.
        matches: Method and path → whether this request is struck.
        times: How many requests it strikes; then it is over.
        status: Of the answer in the server's place.
        body: Its text.
    """

    kind: str
    matches: Callable[[str, str], bool] = lambda method, path: True
    times: int = 1
    status: int = 503
    body: str = ""


@dataclass
class FaultyProxy:
    """The proxy's state.

    Attributes:
        faults: Those that are not over.
        requests: Method and path of everything that came.
        bytes_received: Of the bodies of all requests.
        is_dead: Whether every connection is dropped.
        victim: Process that is killed by `fatal`.
        fatal: Number of the request (from 1, among those that count) at which the victim dies; 0:
            none.
        counts: Method and path → whether a request counts.
        counted: How many there were.
        is_answer_lost: Whether it dies after the server has done the request, or before.
        released: Set it, and held answers go on.
    """

    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bytes_received: int = 0
    victim: int = 0
    fatal: int = 0
    counts: Callable[[str, str], bool] = lambda method, path: True
    counted: int = 0
    is_answer_lost: bool = False
    is_dead: bool = False
    released: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)

    def strike(self, method: str, path: str) -> Fault | None:
        """Counts a request, and finds the fault that hits it."""
        with self.lock:
            self.requests.append((method, path))
            self.counted += self.counts(method, path)
            for fault in self.faults:
                if fault.times > 0 and fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return None

    def kill_if_due(self, *, answered: bool) -> bool:
        """Ends the victim at its hour; returns whether it is dead."""
        with self.lock:
            if self.fatal and self.counted >= self.fatal and answered == self.is_answer_lost:
                os.kill(self.victim, signal.SIGKILL)
                return True
        return False

    @contextmanager
    def serve(self, server: str) -> Iterator[str]:
        """Address that behaves like `server`, but for the faults."""
        target = urlsplit(server).netloc
        handler = type("ProxyHandler", (_Handler,), {"proxy": self, "target": target})
        with serving(handler) as address:
            try:
                yield address
            finally:
                self.released.set()


class _Handler(QuietHandler):
    proxy: FaultyProxy
    target: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with suppress(ConnectionError):  # a client that gave up, or was killed
            self._pass_on()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _pass_on(self) -> None:
        body = self._read_body()
        self.proxy.bytes_received += len(body)
        fault = self.proxy.strike(self.command, self.path)
        kind = fault.kind if fault else ""
        if self.proxy.is_dead or kind == "drop" or self.proxy.kill_if_due(answered=False):
            self._hang_up()
            return
        if fault and kind == "answer":
            self._send(fault.status, fault.body.encode(), [("Content-Type", "application/xml")])
            return
        status, headers, content = self._forward(flipped(body) if kind == "damage" else body)
        if kind == "hold":
            self.proxy.released.wait()
        if kind == "lose" or self.proxy.kill_if_due(answered=True):
            self._hang_up()
            return
        self._send(status, flipped(content) if kind == "spoil" else content, headers)

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.target, timeout=30)
        try:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in _HOP_HEADERS | {"content-length"}
            }
            if body or self.command in {"PUT", "POST"}:
                headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body or None, headers)
            answer = connection.getresponse()
            kept = [item for item in answer.getheaders() if item[0].lower() not in _HOP_HEADERS]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _send(self, status: int, content: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            # That of an answer to HEAD tells how long the object is, not the answer.
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()


def flipped(content: bytes) -> bytes:
    """The same bytes but for one bit in the middle."""
    if not content:
        return content
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
