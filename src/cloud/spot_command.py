"""The command line of `deploy/aliyun/spot.py`.

People read stderr; `--json` puts one JSON object on stdout. Exit codes as everywhere: 0 done,
1 failed, 2 usage or configuration, 75 stopped and saved (start it again), 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from src.cloud.alarm_keeper import AlarmKeeper
from src.cloud.alarms import CloudMonitor
from src.cloud.controller import SYSTEM_CLOCK, Clock
from src.cloud.ecs_api import EcsApi, Endpoints, Parameters
from src.cloud.facts import ON_DEMAND, SPOT
from src.cloud.ledger import columns
from src.cloud.rental import Rental, offers_as_json
from src.cloud.role import credentials_source
from src.config import load_config
from src.environment import prepare_environment
from src.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_KILLED_BY_USER,
    CloudError,
    ConfigError,
    LinguaBridgeError,
)
from src.logs import set_up_logging
from src.monitoring.alert import Alert, log_alert
from src.monitoring.alerts import open_alerts

_FOLDER = Path("runs/cloud")
_FOLLOW_SECONDS = 5.0
_SHOWN_OFFERS = 20


def main(
    arguments: Sequence[str],
    *,
    endpoints: Endpoints = Endpoints(),  # noqa: B008
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: Of the command line.
        endpoints: Other addresses than Alibaba Cloud's, for tests.
        clock: Time, for tests.
    """
    prepare_environment()
    words, _, command = _split(arguments)
    parsed = build_parser().parse_args(words)
    parsed.words = command
    set_up_logging(verbose=parsed.verbose)
    try:
        code: int = parsed.act(parsed, endpoints, clock)
    except LinguaBridgeError as error:
        _say(f"{parsed.command}: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say(
            f"{parsed.command}: stopped by Ctrl-C; what runs in the cloud goes on: `spot.py run` "
            "with the same arguments takes over again, `spot.py down` ends it"
        )
        return EXIT_KILLED_BY_USER
    except BrokenPipeError:
        return EXIT_DONE
    except OSError as error:
        if not error.filename:
            raise
        _say(f"{parsed.command}: cannot use {error.filename}: {error.strerror}")
        return EXIT_FAILED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="spot.py",
        description="Trains on Alibaba Cloud's spot machines: finds the cheapest that can be had, "
        "keeps a run alive\nuntil it is done, and gives everything back.",
        epilog="examples:\n"
        "  python deploy/aliyun/spot.py prices --set 'cloud.regions=[cn-hangzhou]'\n"
        "  python deploy/aliyun/spot.py run --config my.yaml --dry-run -- teacher\n"
        "  python deploy/aliyun/spot.py run --config my.yaml -- teacher\n"
        "  python deploy/aliyun/spot.py down --config my.yaml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str, act: Callable[..., int]) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.set_defaults(act=act)
        sub.add_argument("--config", action="append", type=Path, metavar="FILE")
        sub.add_argument(
            "--set", dest="overrides", action="append", default=[], metavar="section.key=value"
        )
        sub.add_argument("-v", "--verbose", action="store_true", help="say more")
        return sub

    prices = add("prices", "show what can be had, least expected cost of the run first", _prices)
    prices.add_argument("--hours", type=float, metavar="H", help="of training that are to be done")
    prices.add_argument("--all-regions", action="store_true", help="not only cloud.regions")
    prices.add_argument("--on-demand", action="store_true", help="pay-as-you-go in place of spot")
    up = add("up", "launch one instance and leave it to itself", _up)
    run = add("run", "keep a run alive until it is done: run … -- teacher [key=value …]", _run)
    for sub in (up, run):
        sub.add_argument(
            "--dry-run", action="store_true", help="print the exact calls, change nothing"
        )
    status = add("status", "what lives, how far it is, what it has cost", _status)
    for sub in (prices, status, run):
        sub.add_argument("--json", action="store_true", help="one JSON object on stdout")
    logs = add("logs", "the end of what the training has printed", _logs)
    logs.add_argument("--launch", type=int, metavar="N", help="of an earlier instance")
    logs.add_argument("--follow", action="store_true", help="go on until the run ends")
    add("ssh", "log in to the living instance: ssh … [-- command]", _ssh)
    down = add("down", "release everything of the run; checkpoints and output stay", _down)
    down.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _prices(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    rental = _rental(parsed, endpoints, clock)
    hours = parsed.hours or rental.cloud.expected_hours
    market = ON_DEMAND if parsed.on_demand else SPOT
    offers = rental.prices(hours, market, everywhere=parsed.all_regions)
    if parsed.json:
        print(offers_as_json(offers))
        return EXIT_DONE
    rows = [("zone", "type", "CNY/h", "list", "share", "30 days", "reclaimed", "stock", "the run")]
    rows += [
        (
            offer.zone,
            offer.instance_type.removeprefix("ecs."),
            f"{offer.price:.3f}",
            f"{offer.on_demand:.3f}",
            f"{100 * offer.price / offer.on_demand:.0f} %",
            "?" if offer.average is None else f"{offer.average:.3f}",
            offer.interruption or "?",
            "yes" if offer.in_stock else "no",
            f"{offer.expected_cost:.2f} CNY",
        )
        for offer in offers[:_SHOWN_OFFERS]
    ]
    print(columns(rows))
    if len(offers) > _SHOWN_OFFERS:
        _say(f"{len(offers) - _SHOWN_OFFERS} dearer ones are left out; --json has all")
    return EXIT_DONE


def _run(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    if not parsed.words:
        raise ConfigError("run needs a command after --, e.g. `spot.py run -- teacher`")
    if parsed.dry_run:
        return _rehearse(parsed, endpoints, clock)
    config = load_config(parsed.config, [*parsed.overrides, *_keys(parsed.words)])
    folder = _FOLDER / config.cloud.run_name
    folder.mkdir(parents=True, exist_ok=True)
    with open_alerts(config.alerts, folder, run_name=config.cloud.run_name) as alerts:
        rental = _rental(parsed, endpoints, clock, alert=alerts.send)
        code, reason = rental.run(parsed.words)
    known = rental.describe()
    (folder / "ledger.jsonl").write_bytes(
        rental.state.objects.get(rental.state.key("ledger.jsonl")) or b""
    )
    if parsed.json:
        print(json.dumps({**known, "exit_code": code, "reason": reason}, ensure_ascii=False))
    else:
        _say(f"{known['ledger']}\n{reason}")
    if code == EXIT_INTERRUPTED:
        _say("saved; the same command goes on from there")
    return code


def _up(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    if parsed.dry_run:
        return _rehearse(parsed, endpoints, clock)
    rental = _rental(parsed, endpoints, clock)
    _say(f"launched {rental.up(parsed.words)}; `spot.py status` shows how far it is")
    hours = rental.cloud.orphan_hours
    _say(f"it releases itself in {hours:g} hours, or by `spot.py down`")
    return EXIT_DONE


def _rehearse(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    def show(region: str, action: str, parameters: Parameters) -> None:
        print(json.dumps({"action": action, "RegionId": region, **parameters}))

    rental = _rental(parsed, endpoints, clock, dry_run=show)
    offer = rental.rehearse(parsed.words)
    _say(
        f"would launch {offer.instance_type} in {offer.zone} at {offer.price:.3f} CNY/h "
        f"({100 * offer.price / offer.on_demand:.0f} % of on-demand); nothing was changed"
    )
    return EXIT_DONE


def _status(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    known = _rental(parsed, endpoints, clock).describe()
    if parsed.json:
        print(json.dumps(known, ensure_ascii=False))
        return EXIT_DONE
    for instance in known["instances"]:
        reclaim = ", about to be taken away" if instance["is_being_reclaimed"] else ""
        print(
            f"{instance['instance_id']}  {instance['instance_type']}  {instance['zone']}  "
            f"{instance['status']}{reclaim}  {instance['address']}"
        )
    if not known["instances"]:
        print("no instance lives")
    report = known["last_report"]
    if report is not None:
        loss = "" if report["loss"] is None else f", loss {report['loss']:.3f}"
        print(
            f"{report['phase']}: step {report['step']}, {100 * report['progress']:.1f} %{loss}"
            + (f", {report['message']}" if report["message"] else "")
        )
    print(known["ledger"])
    if known["end"] is not None:
        print(f"ended: {known['end']['reason']}")
    return EXIT_DONE


def _logs(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    rental = _rental(parsed, endpoints, clock)
    rental.demand()
    shown = ""
    while True:
        number = parsed.launch or rental.state.next_number() - 1
        text = rental.state.log(f"{number:04d}")
        if text is None and not parsed.follow:
            raise CloudError(
                f"instance {number} has handed in nothing yet", "it does at every heartbeat"
            )
        text = text or ""
        # The end of the file moves on: print what comes after what was printed.
        tail = shown[-200:]
        position = text.rfind(tail) + len(tail) if tail and tail in text else 0
        sys.stdout.write(text[position:])
        sys.stdout.flush()
        shown = text
        if not parsed.follow or rental.state.finished() is not None:
            return EXIT_DONE
        time.sleep(_FOLLOW_SECONDS)


def _ssh(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    rental = _rental(parsed, endpoints, clock)
    living = [machine for machine in rental.machines() if machine.address]
    if not living:
        raise CloudError("no instance of the run has an address", "look at `spot.py status`")
    if rental.cloud.key_pair is None or rental.cloud.ssh_from is None:
        raise ConfigError(
            "nobody can log in: set cloud.key_pair and cloud.ssh_from before launching"
        )
    # A reclaimed machine's address returns with another host key.
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    command = ["ssh", *options, f"root@{living[0].address}", *parsed.words]
    try:
        os.execvp("ssh", command)  # noqa: S606, S607 - a list, and the user's own ssh
    except FileNotFoundError:
        raise CloudError("there is no ssh on this machine", "install openssh-client") from None


def _down(parsed: argparse.Namespace, endpoints: Endpoints, clock: Clock) -> int:
    rental = _rental(parsed, endpoints, clock)
    name = rental.cloud.run_name

    def confirm(things: str) -> bool:
        _say(f"of run {name}:\n{things}")
        if parsed.yes:
            return True
        if not sys.stdin.isatty():
            raise ConfigError("down deletes only with --yes when nobody is there to ask")
        return input(f"type the name of the run ({name}) to release all this: ").strip() == name

    gone = rental.down(confirm)
    _say(f"released {len(gone)} things" if gone else "released nothing")
    return EXIT_DONE


def _rental(
    parsed: argparse.Namespace,
    endpoints: Endpoints,
    clock: Clock,
    *,
    dry_run: Callable[[str, str, Parameters], object] | None = None,
    alert: Alert = log_alert,
) -> Rental:
    keys = [] if parsed.command == "ssh" else _keys(parsed.words)
    config = load_config(parsed.config, [*parsed.overrides, *keys])
    source = credentials_source()
    api = EcsApi(source, endpoints=endpoints, dry_run=dry_run, sleep=clock.sleep)
    monitor = CloudMonitor(source, endpoint=endpoints.alarms, sleep=clock.sleep)
    alarms = AlarmKeeper(monitor, config.cloud.run_name, config.alerts.cloud_contact_group)
    return Rental(config, api, clock=clock, alarms=alarms, alert=alert)


def _keys(words: Sequence[str]) -> list[str]:
    return [word for word in words[1:] if "=" in word and not word.startswith("-")]


def _split(arguments: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """What stands before and after --."""
    words = list(arguments)
    if "--" not in words:
        return words, "", []
    place = words.index("--")
    return words[:place], "--", words[place + 1 :]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
