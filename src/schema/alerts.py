"""The section `alerts:`: who is told what a run does, and over which services.

Secrets never stand in a configuration file: a key that needs one names the environment variable
that holds it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from src.schema.base import PositiveInt, Section

AlertKind = Literal[
    "started",
    "epoch",
    "validation_rising",
    "spike",
    "non_finite",
    "rollback",
    "notice",
    "resumed",
    "restarted",
    "budget",
    "save_failed",
    "low_gpu",
    "finished",
    "failed",
]
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def _require_variable_name(value: object) -> object:
    # The value is not repeated: people do put the secret where its name belongs. Every token of
    # these services has small letters or colons, so that no token passes for a name.
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValueError(
            "must be the NAME of an environment variable (capitals, digits and _), not the secret "
            "itself"
        )
    return value


def _require_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
        raise ValueError("write it as https://host, without ? and #")
    return value.rstrip("/")


def _require_one_line(value: str) -> str:
    if not value or any(ord(character) < ord(" ") for character in value):
        raise ValueError("must be one line of text")
    return value


def _accept_number(value: object) -> object:
    return str(value) if isinstance(value, int) else value


VariableName = Annotated[str, BeforeValidator(_require_variable_name)]
Address = Annotated[str, AfterValidator(_require_address)]
Line = Annotated[str, AfterValidator(_require_one_line)]


class _Channel(Section):
    """One service that carries messages."""

    @model_validator(mode="before")
    @classmethod
    def _require_keys(cls, value: Any) -> Any:
        # A webhook address that was pasted here must not come back in the complaint.
        if not isinstance(value, dict | cls):
            keys = ", ".join(cls.model_fields)
            raise ValueError(f"write it as {{key: value}} with {keys}")  # noqa: TRY004 - pydantic's
        return value


class DingTalkConfig(_Channel):
    """A robot of a DingTalk group."""

    token_variable: VariableName = "DINGTALK_TOKEN"  # noqa: S105 - a name, not a secret
    """Environment variable with the robot's access token, or its whole webhook address."""
    secret_variable: VariableName | None = None
    """Environment variable with the robot's signing secret (SEC…). null: the robot is protected
    by a keyword or by addresses instead; "LinguaBridge" stands in every message."""
    base_url: Address = "https://oapi.dingtalk.com"
    """Address of the service."""


class WeComConfig(_Channel):
    """A robot of a WeCom (WeChat Work) group."""

    token_variable: VariableName = "WECOM_KEY"  # noqa: S105 - a name, not a secret
    """Environment variable with the robot's key, or its whole webhook address."""
    base_url: Address = "https://qyapi.weixin.qq.com"
    """Address of the service."""


class FeishuConfig(_Channel):
    """A custom bot of a Feishu or Lark group."""

    token_variable: VariableName = "FEISHU_TOKEN"  # noqa: S105 - a name, not a secret
    """Environment variable with the bot's token (the end of its webhook address), or the whole
    address."""
    secret_variable: VariableName | None = None
    """Environment variable with the bot's signing secret. null: the bot checks no signature."""
    base_url: Address = "https://open.feishu.cn"
    """Address of the service; https://open.larksuite.com for Lark."""


class TelegramConfig(_Channel):
    """A Telegram bot. Not reachable from machines in mainland China without a relay."""

    token_variable: VariableName = "TELEGRAM_TOKEN"  # noqa: S105 - a name, not a secret
    """Environment variable with the bot's token."""
    chat_id: Annotated[Line, BeforeValidator(_accept_number)]
    """Chat, group or @channel that gets the messages."""
    base_url: Address = "https://api.telegram.org"
    """Address of the service, or of a relay that you run."""


class MailConfig(_Channel):
    """A mail account that sends alerts."""

    host: Line
    """SMTP server."""
    port: PositiveInt = Field(default=465, le=65_535)
    """Its port. Alibaba Cloud closes 25 for outgoing mail."""
    security: Literal["tls", "starttls", "none"] = "tls"
    """tls: encrypted from the start (465); starttls: after a greeting (587); none: only for a
    server on this machine or a trusted network."""
    username: Line | None = None
    """Account; null: the server asks for none."""
    password_variable: VariableName | None = None
    """Environment variable with the account's password."""
    sender: Line
    """Address that mails come from."""
    recipients: tuple[Line, ...] = Field(min_length=1)
    """Addresses that mails go to."""

    @model_validator(mode="after")
    def _check_account(self) -> MailConfig:
        if (self.username is None) != (self.password_variable is None):
            raise ValueError("username and password_variable belong together; set both or neither")
        if self.username is not None and self.security == "none":
            raise ValueError("security=none would show the password to the network; use tls")
        return self


class AlertsConfig(Section):
    """Messages to people about a run; channels that are null are not used."""

    run_name: Line | None = None
    """How messages call the run. null: the name of its output_dir."""
    kinds: tuple[AlertKind, ...] = get_args(AlertKind)
    """Which events are told; all are logged."""
    most_per_hour: PositiveInt = 6
    """Messages of one kind in an hour; further ones are counted and told with the next."""
    repeat_minutes: PositiveInt = 60
    """The same text again within this time is not sent."""
    timeout_seconds: PositiveInt = 10
    """Longest wait for an answer of a service."""
    keep_hours: PositiveInt = 24
    """Messages that cannot be delivered for so long are given up."""
    cloud_contact_group: Line | None = None
    """Alarm contact group of CloudMonitor that is told by the cloud itself of an idle GPU, a full
    disk, and instances that stop or are reclaimed. null: no such alarms."""
    dingtalk: DingTalkConfig | None = None
    """DingTalk group robot, e.g. `{token_variable: DINGTALK_TOKEN}`."""
    wecom: WeComConfig | None = None
    """WeCom group robot, e.g. `{token_variable: WECOM_KEY}`."""
    feishu: FeishuConfig | None = None
    """Feishu custom bot, e.g. `{token_variable: FEISHU_TOKEN}`."""
    telegram: TelegramConfig | None = None
    """Telegram bot, e.g. `{token_variable: TELEGRAM_TOKEN, chat_id: "12345"}`."""
    mail: MailConfig | None = None
    """Mail, e.g. `{host: smtp.example.com, sender: a@example.com, recipients: [b@example.com]}`."""
