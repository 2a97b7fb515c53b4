"""A stand-in for DingTalk, WeCom, Feishu and Telegram that answers as they do.

What they refuse (a wrong token, a signature that does not fit, a stale time) is refused with their
codes, and by the first three with HTTP 200. Faults can be queued: they are answered first.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.local_server import QuietHandler, serving

DROP = "drop"
SILENCE = "silence"
Fault = tuple[int, str] | str
_LARGEST_SKEW_SECONDS = 3600


@dataclass
class ChatServices:
    """What a test sets up and looks at.

    Attributes:
        dingtalk_secret, feishu_secret: Signatures are demanded when set.
        faults: Answered instead, one per request: status and body, DROP or SILENCE.
        delivered: Service and text of every message that was taken.
        requests: Path of every request that arrived, with its query.
        arrived: Set at each request.
        release: Ends the silences.
    """

    url: str = ""
    dingtalk_token: str = "dingtalk-token"
    dingtalk_secret: str | None = None
    wecom_key: str = "wecom-key"
    feishu_token: str = "feishu-token"
    feishu_secret: str | None = None
    telegram_token: str = "12345:telegram-token"
    telegram_chat: str = "-100"
    faults: deque[Fault] = field(default_factory=deque)
    delivered: list[tuple[str, str]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    arrived: Event = field(default_factory=Event)
    release: Event = field(default_factory=Event)

    def answer(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body for a message."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/robot/send":
            return 200, self._dingtalk(query, content)
        if parts.path == "/cgi-bin/webhook/send":
            return 200, self._wecom(query, content)
        if parts.path.startswith("/open-apis/bot/v2/hook/"):
            return 200, self._feishu(parts.path.rpartition("/")[2], content)
        if parts.path.startswith("/bot"):
            return self._telegram(parts.path, content)
        return 404, {}

    def texts(self, service: str) -> list[str]:
        """Texts that a service has taken."""
        return [text for name, text in self.delivered if name == service]

    def _dingtalk(self, query: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        if query.get("access_token") != self.dingtalk_token:
            return {"errcode": 300001, "errmsg": "token is not exist"}
        if self.dingtalk_secret is not None:
            stamp = query.get("timestamp", "")
            expected = _sign(self.dingtalk_secret, f"{stamp}\n{self.dingtalk_secret}")
            if query.get("sign") != expected or not _is_fresh(stamp, unit=1000):
                return {"errcode": 310000, "errmsg": "sign not match"}
        if content["msgtype"] != "text":
            return {"errcode": 40035, "errmsg": "invalid parameter"}
        self.delivered.append(("dingtalk", content["text"]["content"]))
        return {"errcode": 0, "errmsg": "ok"}

    def _wecom(self, query: dict[str, str], content: dict[str, Any]) -> dict[str, Any]:
        if query.get("key") != self.wecom_key:
            return {"errcode": 93000, "errmsg": "invalid webhook url"}
        text = content["text"]["content"]
        if len(text.encode()) > 2048:
            return {"errcode": 40058, "errmsg": "text.content exceed max length 2048"}
        self.delivered.append(("wecom", text))
        return {"errcode": 0, "errmsg": "ok"}

    def _feishu(self, token: str, content: dict[str, Any]) -> dict[str, Any]:
        if token != self.feishu_token:
            return {"code": 19001, "msg": "param invalid: incoming webhook access token invalid"}
        if self.feishu_secret is not None:
            stamp = content.get("timestamp", "")
            expected = _sign(f"{stamp}\n{self.feishu_secret}", "")
            if content.get("sign") != expected or not _is_fresh(stamp, unit=1):
                return {"code": 19021, "msg": "sign match fail or timestamp is not within one hour"}
        self.delivered.append(("feishu", content["content"]["text"]))
        return {"code": 0, "msg": "success", "data": {}}

    def _telegram(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path != f"/bot{self.telegram_token}/sendMessage":
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        if content["chat_id"] != self.telegram_chat:
            return 400, {"ok": False, "error_code": 400, "description": "chat not found"}
        if len(content["text"]) > 4096:
            return 400, {"ok": False, "error_code": 400, "description": "message is too long"}
        self.delivered.append(("telegram", content["text"]))
        return 200, {"ok": True, "result": {"message_id": len(self.delivered)}}


@contextmanager
def chat_services(services: ChatServices | None = None) -> Iterator[ChatServices]:
    """The services, listening on loopback under one address."""
    running = services or ChatServices()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.requests.append(self.path)
            running.arrived.set()
            fault = running.faults.popleft() if running.faults else None
            if fault == SILENCE:
                running.release.wait()
            if isinstance(fault, str):
                self.close_connection = True
                return
            if fault is not None:
                self.reply(*fault, "application/json")
                return
            status, content = running.answer(self.path, json.loads(body))
            self.reply(status, json.dumps(content), "application/json")

    with serving(Handler) as running.url:
        try:
            yield running
        finally:
            running.release.set()


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), hashlib.sha256)).decode()


def _is_fresh(stamp: str, *, unit: int) -> bool:
    return stamp.isdecimal() and abs(time.time() - int(stamp) / unit) < _LARGEST_SKEW_SECONDS
