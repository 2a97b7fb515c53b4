"""A real Chromium without a window, driven over its own protocol: a page, keys, and what it shows.

No test framework for browsers is installed; the protocol is JSON over one WebSocket.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
          "--no-first-run", "--remote-debugging-port=0")  # fmt: skip
_PATIENCE_SECONDS = 60.0


def find_browser() -> str | None:
    """The program, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One open page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._socket = socket
        self._ids = count(1)
        self.faults: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command; what the page reports meanwhile is noted."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(_PATIENCE_SECONDS)).data)
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.faults.append(json.dumps(message["params"]))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True)
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until the expression is true."""

        async def wait() -> None:
            while not await self.value(expression):
                await self.value("new Promise(requestAnimationFrame)")

        await asyncio.wait_for(wait(), _PATIENCE_SECONDS)

    async def type(self, text: str) -> None:
        """Types into whatever has the focus."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, *, control: bool = False) -> None:
        """Presses and releases a key."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9}
        for kind in ("rawKeyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key,
                windowsVirtualKeyCode=codes[key], modifiers=2 if control else 0,
            )  # fmt: skip


@asynccontextmanager
async def open_page(address: str) -> AsyncIterator[Page]:
    """A new browser that shows `address`."""
    program = find_browser()
    assert program is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, *_FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            port = await _debugging_port(process)
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = await answer.json()
                where = next(page for page in pages if page["type"] == "page")
                async with session.ws_connect(
                    where["webSocketDebuggerUrl"], max_msg_size=0
                ) as socket:
                    page = Page(socket)
                    for domain in ("Runtime", "Log", "Page"):
                        await page.call(f"{domain}.enable")
                    await page.call("Page.navigate", url=address)
                    here = f"location.href.startsWith({json.dumps(address)})"
                    await page.until(f"document.readyState === 'complete' && {here}")
                    yield page
        finally:
            process.kill()
            await process.wait()


async def _debugging_port(process: asyncio.subprocess.Process) -> int:
    """The port that Chromium names on stderr."""
    stderr = process.stderr
    assert stderr is not None
    while line := (await asyncio.wait_for(stderr.readline(), _PATIENCE_SECONDS)).decode():
        if "DevTools listening on ws://" in line:
            return int(line.split("ws://")[1].split("/")[0].rpartition(":")[2])
    raise AssertionError("Chromium ended before it listened")
