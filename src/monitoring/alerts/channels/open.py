"""The channels that a configuration names, with their secrets read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from src.errors import ConfigError
from src.monitoring.alerts.channels.channel import Channel
from src.monitoring.alerts.channels.chat import DingTalk, Feishu, Telegram, WeCom
from src.monitoring.alerts.channels.mail import Mail
from src.schema.alerts import (
    AlertsConfig,
    DingTalkConfig,
    FeishuConfig,
    MailConfig,
    TelegramConfig,
    WeComConfig,
)
from src.secret import Secret, read_secret

CHANNELS = ("dingtalk", "wecom", "feishu", "telegram", "mail")
"""Keys of the section `alerts` that are channels, in the order in which they are opened."""
_Section: TypeAlias = DingTalkConfig | WeComConfig | FeishuConfig | TelegramConfig | MailConfig
_ROBOTS: Mapping[type[_Section], Callable[[Secret, str, float, Secret | None], Channel]] = {
    DingTalkConfig: DingTalk,
    WeComConfig: WeCom,
    FeishuConfig: Feishu,
}
_VARIABLE = "_variable"  # ends each key that names the variable of a secret


def open_channels(config: AlertsConfig) -> tuple[Channel, ...]:
    """Every channel of the configuration, in the order of `CHANNELS`.

    Raises:
        ConfigError: Secrets that are missing, all of them.
    """
    problems: list[str] = []
    channels: list[Channel] = []
    for name, section in _sections(config).items():
        try:
            channels.append(_open(section, config.timeout_seconds))
        except ConfigError as error:
            problems.append(f"alerts.{name}: {error}")
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise ConfigError(f"alerts: {count}", tuple(problems))
    return tuple(channels)


def secret_variables(config: AlertsConfig) -> tuple[str, ...]:
    """The environment variables that the configured channels read, each once."""
    sections = _sections(config).values()
    return tuple(dict.fromkeys(name for each in sections for name in _variables(each).values()))


def _sections(config: AlertsConfig) -> dict[str, _Section]:
    found = {name: getattr(config, name) for name in CHANNELS}
    return {name: section for name, section in found.items() if section is not None}


def _variables(section: _Section) -> dict[str, str]:
    """What a secret is for ("token", "secret", "password") → the variable that holds it."""
    return {
        key.removesuffix(_VARIABLE): variable
        for key, variable in section
        if key.endswith(_VARIABLE) and variable is not None
    }


def _open(section: _Section, timeout_seconds: float) -> Channel:
    secrets = {use: read_secret(variable) for use, variable in _variables(section).items()}
    if isinstance(section, MailConfig):
        return Mail(section, secrets.get("password"), timeout_seconds)
    token = secrets["token"]
    if isinstance(section, TelegramConfig):
        return Telegram(token, section.base_url, timeout_seconds, chat_id=section.chat_id)
    robot = _ROBOTS[type(section)]
    return robot(token, section.base_url, timeout_seconds, secrets.get("secret"))
