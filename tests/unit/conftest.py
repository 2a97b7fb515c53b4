"""What several unit tests of the cloud ask for."""

import pytest

from tests.fakes.local_server import QuietHandler, serving


@pytest.fixture
def no_proxies(monkeypatch):
    """Requests go where they are sent, whatever the environment of whoever runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def tunnels(monkeypatch, no_proxies):
    """Where requests wanted to go that the proxy of the environment should have let through."""
    asked = []

    class Proxy(QuietHandler):
        def do_CONNECT(self):
            asked.append(self.path)
            self.reply(403, "no")

    with serving(Proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        yield asked


@pytest.fixture
def waits():
    """How long was waited between attempts, for code that is given `waits.append` to sleep."""
    return []
