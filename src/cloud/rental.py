"""What the commands of `deploy/aliyun/spot.py` do, on the parts that know how.

A `Rental` is one run as seen from the machine of a person: begin it or find it, launch for it, keep
it alive, look at it, take everything down.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from src.cloud.alarm_keeper import AlarmKeeper
from src.cloud.alert_secrets import for_instances, hand_over_secrets
from src.cloud.capacity import Offer, check_names, find_offers, nothing_now, nothing_offered
from src.cloud.controller import SYSTEM_CLOCK, Clock, Controller
from src.cloud.ecs_api import EcsApi
from src.cloud.facts import SPOT, Machine
from src.cloud.herald import Herald
from src.cloud.launcher import machine_settings
from src.cloud.ledger import ledger_table, total_of
from src.cloud.objects import Objects, below
from src.cloud.program import pack_program
from src.cloud.run_state import RunRecord, RunState, new_nonce
from src.config import Config, config_to_yaml
from src.errors import EXIT_DONE, CloudError, ConfigError
from src.launch import ROOT
from src.monitoring.alert import Alert, log_alert
from src.schema import AlertsConfig, TrainerConfig

# What others make stays on the machine: only checkpoints and a final model are handed in.
RUNNABLE = ("teacher", "student")
_RUN_FILE = "config.yaml"
logger = logging.getLogger(__name__)


class Rental:
    """One run in the cloud.

    Args:
        config: The resolved configuration.
        api: The cloud.
        clock: Time.
        alarms: CloudMonitor's for each instance; None puts none.
        alert: Told of events.
        program: Folder of the program that instances get.
    """

    def __init__(
        self,
        config: Config,
        api: EcsApi,
        *,
        clock: Clock = SYSTEM_CLOCK,
        alarms: AlarmKeeper | None = None,
        alert: Alert = log_alert,
        program: Path = ROOT,
    ) -> None:
        self._program = program
        self._alarms = alarms
        self.config = config
        self.cloud = config.cloud
        self._api = api
        self._clock = clock
        self._alert = alert
        self._state: RunState | None = None

    @property
    def state(self) -> RunState:
        """The run's objects.

        Raises:
            ConfigError: No bucket is named.
        """
        if self._state is None:
            if self.cloud.bucket is None:
                raise ConfigError(
                    "cloud.bucket is not set; name the bucket (or mounted folder) that the run "
                    "lives in, e.g. --set cloud.bucket=oss://my-bucket/linguabridge"
                    "?region=cn-hangzhou"
                )
            self._state = RunState(Objects(self.cloud.bucket), self.cloud.run_name)
        return self._state

    # Looking

    def prices(self, hours: float, market: str = SPOT, *, everywhere: bool = False) -> list[Offer]:
        """Offers of all zones, least expected cost first.

        Args:
            hours: Of training.
            market: "spot" or "on_demand".
            everywhere: In all regions of the account, not only the configured ones.

        Raises:
            ConfigError: An unknown region, or types that nobody sells.
        """
        cloud = self.cloud
        if everywhere:
            cloud = cloud.model_copy(update={"regions": tuple(self._api.regions())})
        else:
            check_names(self._api, cloud)
        now = datetime.fromtimestamp(self._clock.now(), timezone.utc)
        offers = find_offers(self._api, cloud, now, hours=hours, market=market)
        if not offers:
            raise nothing_offered(cloud)
        return offers

    def demand(self) -> RunRecord:
        """The run.

        Raises:
            CloudError: There is none of this name.
        """
        record = self.state.record()
        if record is None:
            raise CloudError(
                f"there is no run {self.cloud.run_name!r} in {self.cloud.bucket}",
                "begin it with `spot.py run -- teacher`, or name it by cloud.run_name",
            )
        return record

    def describe(self) -> dict[str, Any]:
        """Everything that is known of the run, for `status --json`."""
        record, launches = self.demand(), self.state.launches()
        controller = self.controller(record)
        machines = controller.leftovers.machines()
        costs = controller.costs(machines)
        total = total_of(list(costs.values()))
        last = self.state.status(launches[-1].name) if launches else None
        end = self.state.finished()
        return {
            "run": record.run,
            "command": list(record.command),
            "started_at": record.started_at,
            "instances": [
                {
                    "instance_id": machine.instance_id,
                    "zone": machine.zone,
                    "instance_type": machine.instance_type,
                    "status": machine.status,
                    "is_being_reclaimed": machine.is_being_reclaimed,
                    "address": machine.address,
                }
                for machine in machines
            ],
            "launches": len(launches),
            "last_report": asdict(last) if last is not None else None,
            "cost": total.cost,
            "on_demand_share": total.share,
            "end": None if end is None else {"exit_code": end[0], "reason": end[1]},
            "ledger": ledger_table(launches, costs),
        }

    def machines(self) -> list[Machine]:
        """What lives of the run."""
        return self.controller(self.demand()).leftovers.machines()

    # Doing

    def begin(self, command: Sequence[str], *, is_kept: bool = True) -> RunRecord:
        """Begins the run, or finds it; puts program, configuration and secrets into the bucket.

        Args:
            command: What runs on the instances.
            is_kept: Whether a controller keeps the run alive, and tells people of it.

        Raises:
            ConfigError: The bucket, the role or a secret is missing, or the command cannot be run.
            CloudError: A run of this name does something else.
        """
        prepared, wanted = self._prepare(command)
        present = self.state.record()
        record = self.state.begin(wanted) if present is None else present
        if record.command != wanted.command:
            raise CloudError(
                f"run {record.run!r} is there already and does `{' '.join(record.command)}`",
                "choose another cloud.run_name, or end that run with `spot.py down`",
            )
        finished = self.state.finished()
        if finished is not None and finished[0] != EXIT_DONE:
            last = self.state.next_number() - 1
            record = replace(record, forgiven=last)
            self.state.reopen()
        record = replace(record, program=wanted.program, program_sha256=wanted.program_sha256)
        objects = self.state.objects
        if self.state.key(record.program) not in objects.list(self.state.key("program-")):
            objects.put(self.state.key(record.program), prepared)
        settings = self._settings(command, is_kept=is_kept)
        objects.put(self.state.key(_RUN_FILE), settings.encode("utf-8"))
        hand_over_secrets(self.state, self.config.alerts)
        self.state.rewrite(record)
        return record

    def rehearse(self, command: Sequence[str]) -> Offer:
        """Goes through a launch with an api that only tells; nothing is made or written."""
        _, record = self._prepare(command)
        self.state.objects.list(self.state.key("run.json"))  # a bucket that cannot be read says so
        known = self.prices(self.cloud.expected_hours)
        offers = [offer for offer in known if offer.in_stock]
        if not offers:
            raise nothing_now(known, self.cloud)
        launcher = self.controller(record).launcher
        launch = launcher.prepare(offers[0], 1, self.cloud.budget)
        if launch is not None:
            self._api.run_instance(launch.region, launch.parameters)
        return offers[0]

    def controller(self, record: RunRecord) -> Controller:
        """What keeps the run alive."""
        return Controller(
            self._api,
            self.state,
            record,
            self.cloud,
            output_dir=self._output_dir(record.command),
            alarms=self._alarms,
            alert=self._alert,
            clock=self._clock,
        )

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        """Keeps the run alive until it ends; returns exit code and reason."""
        finished = self.state.finished() if self.state.record() is not None else None
        if finished is not None and finished[0] == EXIT_DONE:
            Herald(self.state, self._alert).tell()
            return finished
        check_names(self._api, self.cloud)
        return self.controller(self.begin(command)).run()

    def up(self, command: Sequence[str]) -> str:
        """Launches one instance, and leaves it to itself; returns what was launched.

        Raises:
            CloudError: One lives already, or there is none to be had.
        """
        check_names(self._api, self.cloud)
        record = self.begin(command, is_kept=False)
        controller = self.controller(record)
        living = controller.leftovers.machines()
        if living:
            raise CloudError(
                f"{living[0].instance_id} of run {record.run!r} lives already",
                "look at it with `spot.py status`, end it with `spot.py down`",
            )
        launch = controller.launcher.launch(
            SPOT, hours=self.cloud.expected_hours, money_left=self.cloud.budget
        )
        if launch is None:
            raise nothing_now(self.prices(self.cloud.expected_hours), self.cloud)
        return f"{launch.instance_type} in {launch.zone}"

    def down(self, confirm: Callable[[str], bool]) -> list[str]:
        """Releases everything that carries this run's tag; checkpoints and output stay.

        Args:
            confirm: Asked with the list of what will go.
        """
        record = self.state.record()
        command = record.command if record else ()
        nothing = RunRecord(self.cloud.run_name, "", 0.0, command, "", "")
        controller = self.controller(record or nothing)
        machines = controller.leftovers.machines()
        names = [machine.instance_id for machine in machines] + controller.leftovers.list_rest()
        if not confirm("\n".join(names) or "only the run's notes in the bucket"):
            return []
        controller.release_all(machines)
        controller.give_back()
        if record is not None:
            logger.info("%s", ledger_table(self.state.launches(), self.state.ends()))
            self.state.forget()
        return names

    def _prepare(self, command: Sequence[str]) -> tuple[bytes, RunRecord]:
        packed, sha256 = pack_program(self._program)
        record = RunRecord(
            run=self.cloud.run_name,
            nonce=new_nonce(),
            started_at=self._clock.now(),
            command=tuple(_with_settings(command)),
            program=f"program-{sha256[:16]}.tar.gz",
            program_sha256=sha256,
        )
        machine_settings(self.cloud, record, 1, "")  # refuses what an instance could not use
        return packed, record

    def _settings(self, command: Sequence[str], *, is_kept: bool) -> str:
        """The configuration for instances: what they train saves its checkpoints in the bucket."""
        alerts = for_instances(self.config.alerts, self.cloud.run_name, is_kept=is_kept)
        changes: dict[str, AlertsConfig | TrainerConfig] = {"alerts": alerts}
        name = command[0] if command else ""
        if name in RUNNABLE and not getattr(self.config, name).checkpoint_store:
            address = below(str(self.cloud.bucket), self.state.key("checkpoints"))
            section: TrainerConfig = getattr(self.config, name)
            changes[name] = section.model_copy(update={"checkpoint_store": address})
        return config_to_yaml(self.config.model_copy(update=changes))

    def _output_dir(self, command: Sequence[str]) -> str:
        name = command[0] if command else ""
        return str(getattr(self.config, name).output_dir) if name in RUNNABLE else "."


def _with_settings(command: Sequence[str]) -> list[str]:
    """The command as it runs on an instance: with the run's configuration, all keys resolved."""
    if not command:
        return []
    name, *rest = command
    if name not in RUNNABLE:
        near = difflib.get_close_matches(name, RUNNABLE, n=1)
        hint = f"did you mean {near[0]}?" if near else "run it on a machine of yours"
        raise ConfigError(
            f"{name!r} cannot be run in the cloud, where only {' and '.join(RUNNABLE)} hand in "
            f"what they make; {hint}"
        )
    given = [word for word in rest if "=" not in word or word.startswith("-")]
    if given:
        raise ConfigError(
            f"after -- stands a command and section.key=value, not {given[0]!r}; name "
            "configuration files before --, as --config FILE"
        )
    return [name, "--config", _RUN_FILE]


def offers_as_json(offers: Sequence[Offer]) -> str:
    """One object."""
    return json.dumps({"offers": [asdict(offer) for offer in offers]}, ensure_ascii=False)
