"""Runs an HTTP handler on a free loopback port for as long as a test needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


class QuietHandler(BaseHTTPRequestHandler):
    """A request handler that prints nothing and answers in one call."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Keeps requests out of the tests' output."""

    def reply(self, status: int, content: str, content_type: str = "text/plain") -> None:
        body = content.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type};charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(handler: type[QuietHandler]) -> Iterator[str]:
    """Address of a server that is listening already."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
