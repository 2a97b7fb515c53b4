"""DingTalk, WeCom, Feishu and Telegram: group robots that take JSON.

The first three answer HTTP 200 to messages that they refuse; only the code in the body tells.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

from src.monitoring.alerts.channels.channel import DeliveryFailed
from src.monitoring.alerts.channels.http import Answer, post_json
from src.secret import Secret

_DINGTALK_TOO_FAST = (130101, 130102)
_WECOM_TOO_FAST = (45009, 45033)
_FEISHU_TOO_FAST = (9499, 11232, 11233)
_MILLISECONDS = 1000
Clock = Callable[[], float]


@dataclass(frozen=True)
class ChatRobot:
    """What the four have in common: a token, a place, and text that is posted there as JSON.

    Attributes:
        token: Or the whole webhook address, as the service shows it.
        base_url: Used with a bare token.
        timeout_seconds: Longest wait for an answer.
        secret: Signs messages, where the service checks signatures; None: this one does not.
        clock: Seconds since 1970.
    """

    token: Secret
    base_url: str
    timeout_seconds: float
    secret: Secret | None = None
    clock: Clock = time.time

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Token and signing secret."""
        return (self.token,) if self.secret is None else (self.token, self.secret)

    def post(self, url: str, content: object) -> Answer:
        """The service's answer, whatever it says."""
        return post_json(url, content, timeout_seconds=self.timeout_seconds)


@dataclass(frozen=True)
class DingTalk(ChatRobot):
    """A group robot; with a secret, each address carries a signature of the time."""

    name: str = "dingtalk"
    longest_bytes: int = 18_000

    def send(self, title: str, body: str) -> None:
        """Delivers one message.

        Raises:
            DeliveryFailed: It did not get through.
        """
        base, token = _token_of(self.token, self.base_url, in_query="access_token")
        url = f"{base}/robot/send?access_token={quote(token, safe='')}"
        if self.secret is not None:
            stamp = str(round(self.clock() * _MILLISECONDS))
            secret = self.secret.reveal()
            sign = _sign(key=secret, text=f"{stamp}\n{secret}")
            url += f"&timestamp={stamp}&sign={quote_plus(sign)}"
        answer = self.post(url, {"msgtype": "text", "text": {"content": f"{title}\n{body}"}})
        _require_zero(answer, "errcode", "errmsg", _DINGTALK_TOO_FAST)


@dataclass(frozen=True)
class WeCom(ChatRobot):
    """A group robot; it knows no signatures."""

    name: str = "wecom"
    longest_bytes: int = 2048

    def send(self, title: str, body: str) -> None:
        """Delivers one message.

        Raises:
            DeliveryFailed: It did not get through.
        """
        base, key = _token_of(self.token, self.base_url, in_query="key")
        url = f"{base}/cgi-bin/webhook/send?key={quote(key, safe='')}"
        answer = self.post(url, {"msgtype": "text", "text": {"content": f"{title}\n{body}"}})
        _require_zero(answer, "errcode", "errmsg", _WECOM_TOO_FAST)


@dataclass(frozen=True)
class Feishu(ChatRobot):
    """A custom bot of Feishu or Lark; with a secret, each message carries a signature."""

    name: str = "feishu"
    longest_bytes: int = 18_000

    def send(self, title: str, body: str) -> None:
        """Delivers one message.

        Raises:
            DeliveryFailed: It did not get through.
        """
        base, token = _token_of(self.token, self.base_url, in_query=None)
        content: dict[str, object] = {"msg_type": "text", "content": {"text": f"{title}\n{body}"}}
        if self.secret is not None:
            stamp = str(round(self.clock()))
            # Here time and secret are the key, and nothing is what is signed.
            content["timestamp"] = stamp
            content["sign"] = _sign(key=f"{stamp}\n{self.secret.reveal()}", text="")
        answer = self.post(f"{base}/open-apis/bot/v2/hook/{quote(token, safe='')}", content)
        _require_zero(answer, "code", "msg", _FEISHU_TOO_FAST)


@dataclass(frozen=True)
class Telegram(ChatRobot):
    """A bot that writes into one chat; it knows no signatures."""

    chat_id: str = field(kw_only=True)
    name: str = "telegram"
    longest_bytes: int = 4096  # the limit is 4096 characters, which are at least as many bytes

    def send(self, title: str, body: str) -> None:
        """Delivers one message.

        Raises:
            DeliveryFailed: It did not get through.
        """
        answer = self.post(
            f"{self.base_url}/bot{quote(self.token.reveal(), safe=':')}/sendMessage",
            {"chat_id": self.chat_id, "text": f"{title}\n{body}"},
        )
        content = answer.content
        if content.get("ok") is True:
            return
        parameters = content.get("parameters")
        wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
        if isinstance(wait, int):
            raise DeliveryFailed("too many messages", wait_seconds=float(wait))
        answer.refuse(content.get("error_code"), content.get("description"))


def _require_zero(answer: Answer, code: str, text: str, rate_codes: tuple[int, ...]) -> None:
    # A body without the code, e.g. of a proxy, is no success either.
    found = answer.content.get(code)
    if found != 0 or isinstance(found, bool):
        answer.refuse(found, answer.content.get(text), rate_codes=rate_codes)


def _token_of(secret: Secret, base_url: str, *, in_query: str | None) -> tuple[str, str]:
    """Address of the service and token; a whole webhook address, as the services show it, is cut.

    Args:
        secret: Holds the token or the address.
        base_url: Used with a bare token.
        in_query: Parameter of the address that is the token; None: its last part is.

    Raises:
        DeliveryFailed: The address holds no token.
    """
    value = secret.reveal()
    if "://" not in value:
        return base_url, value
    try:
        parts = urlsplit(value)
        found = parse_qs(parts.query).get(in_query or "") if in_query else None
    except ValueError:
        raise DeliveryFailed(f"{secret} is no webhook address", is_refusal=True) from None
    token = (found or [""])[0] if in_query else parts.path.rpartition("/")[2]
    if not token or parts.scheme not in {"http", "https"}:
        raise DeliveryFailed(f"{secret} is no webhook address of this service", is_refusal=True)
    return f"{parts.scheme}://{parts.netloc}", token


def _sign(*, key: str, text: str) -> str:
    digest = hmac.new(key.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")
