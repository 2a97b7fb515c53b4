"""A controller as a process of its own, to be killed; started by test_spot_chaos.py.

    python -m tests.integration.spot_lives SETTINGS.json

Settings: address of the service, its clock, the configuration, the program's folder. Ends with the
run's exit code; prints one JSON object with what `describe` says.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from src.cloud.alarm_keeper import AlarmKeeper
from src.cloud.alarms import CloudMonitor
from src.cloud.controller import Clock
from src.cloud.ecs_api import EcsApi, Endpoints
from src.cloud.rental import Rental
from src.cloud.role import credentials_source
from src.config import load_config
from src.logs import set_up_logging


def shared_clock(settings: dict[str, Any]) -> Clock:
    """The clock of the test's world: the system's monotonic one, sped up."""
    began, start = settings["origin"]
    speed = settings["speed"]
    return Clock(
        now=lambda: start + (time.monotonic() - began) * speed,
        sleep=lambda seconds: time.sleep(seconds / speed),
    )


def main(path: Path) -> int:
    settings = json.loads(path.read_text(encoding="utf-8"))
    set_up_logging(verbose=True)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    clock = shared_clock(settings)
    api = EcsApi(
        credentials_source(),
        endpoints=Endpoints(settings["url"], settings["url"]),
        sleep=clock.sleep,
    )
    config = load_config(settings["files"], settings["overrides"])
    alerts = Path(settings["alerts"])

    def alert(kind: str, text: str) -> None:
        with alerts.open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, text]) + "\n")

    monitor = CloudMonitor(credentials_source(), endpoint=settings["monitor"], sleep=clock.sleep)
    rental = Rental(
        config,
        api,
        clock=clock,
        alarms=AlarmKeeper(monitor, config.cloud.run_name, config.alerts.cloud_contact_group),
        alert=alert,
        program=Path(settings["program"]),
    )
    code, reason = rental.run(["teacher"])
    sys.stdout.write(json.dumps({**rental.describe(), "reason": reason}))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
