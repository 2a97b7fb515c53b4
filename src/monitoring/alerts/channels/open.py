"""The channels that a configuration names, with their secrets read."""

from __future__ import annotations

from collections.abc import Iterator

from src.errors import ConfigError
from src.monitoring.alerts.channels.channel import Channel
from src.monitoring.alerts.channels.chat import DingTalk, Feishu, Telegram, WeCom
from src.monitoring.alerts.channels.mail import Mail
from src.schema.alerts import AlertsConfig
from src.secret import Secret, read_secret


def open_channels(config: AlertsConfig) -> tuple[Channel, ...]:
    """Every channel of the configuration, in its order.

    Raises:
        ConfigError: Secrets that are missing, all of them.
    """
    problems: list[str] = []
    channels: list[Channel] = []
    for builder in (_dingtalk, _wecom, _feishu, _telegram, _mail):
        try:
            channels.extend(builder(config))
        except ConfigError as error:
            problems.append(f"alerts.{builder.__name__.lstrip('_')}: {error}")
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise ConfigError(f"alerts: {count}", tuple(problems))
    return tuple(channels)


def _dingtalk(config: AlertsConfig) -> Iterator[Channel]:
    section = config.dingtalk
    if section is not None:
        yield DingTalk(
            read_secret(section.token_variable),
            _optional(section.secret_variable),
            section.base_url,
            config.timeout_seconds,
        )


def _wecom(config: AlertsConfig) -> Iterator[Channel]:
    section = config.wecom
    if section is not None:
        yield WeCom(read_secret(section.token_variable), section.base_url, config.timeout_seconds)


def _feishu(config: AlertsConfig) -> Iterator[Channel]:
    section = config.feishu
    if section is not None:
        yield Feishu(
            read_secret(section.token_variable),
            _optional(section.secret_variable),
            section.base_url,
            config.timeout_seconds,
        )


def _telegram(config: AlertsConfig) -> Iterator[Channel]:
    section = config.telegram
    if section is not None:
        yield Telegram(
            read_secret(section.token_variable),
            section.chat_id,
            section.base_url,
            config.timeout_seconds,
        )


def _mail(config: AlertsConfig) -> Iterator[Channel]:
    if config.mail is not None:
        yield Mail(config.mail, _optional(config.mail.password_variable), config.timeout_seconds)


def _optional(variable: str | None) -> Secret | None:
    return None if variable is None else read_secret(variable)
