"""The command `alerts`: whether messages reach people, channel by channel."""

from __future__ import annotations

import argparse
import sys
import time

from src.commands.command import Command, config_of, json_argument, print_json
from src.errors import EXIT_DONE, EXIT_FAILED, ConfigError


def _test(parsed: argparse.Namespace) -> int:
    from src.monitoring.alerts.trial import try_channels

    config = config_of(parsed).alerts
    results = []
    for result in try_channels(config):
        results.append(result)
        if not parsed.json:
            print(f"{result.channel:<9} {result.in_words()}")
            sys.stdout.flush()
    if not results:
        raise ConfigError(
            "alerts: no channel is configured; set one, e.g. "
            "alerts.dingtalk='{token_variable: DINGTALK_TOKEN}'"
        )
    if parsed.json:
        print_json({"time": round(time.time()), "channels": [each.as_json() for each in results]})
    return EXIT_DONE if all(each.is_delivered for each in results) else EXIT_FAILED


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("test",), help="send one message over every channel")
    json_argument(parser)


COMMANDS = {
    "alerts": Command(
        help="try the channels of alerts: DingTalk, WeCom, Feishu, Telegram, mail",
        reads_writes="Reads the section alerts and the environment variables it names. Sends one "
        "test message over each\nchannel, at once and only once, and says what became of it. "
        "Writes no file.",
        examples=(
            "alerts test",
            "alerts test --config my.yaml --json",
            "alerts test --set 'alerts.wecom={token_variable: WECOM_KEY}'",
        ),
        run=_test,
        add_arguments=_arguments,
        takes_overrides=False,
    ),
}
