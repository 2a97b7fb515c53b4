"""Keeping a run alive until it is done: look, decide, act, again and again.

The controller may be killed at any moment and started again anywhere: what it knows is what the
cloud lists under the run's tag and what lies in the bucket. Each turn puts the world in order
first (`src.cloud.order`), then takes one action of `src.cloud.policy`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from src.cloud.accounts import Accounts
from src.cloud.alarm_keeper import AlarmKeeper
from src.cloud.alert_secrets import take_back_secrets
from src.cloud.ecs_api import EcsApi
from src.cloud.facts import Machine
from src.cloud.herald import Herald, life_of
from src.cloud.launcher import Launcher, life_seconds
from src.cloud.leftovers import Leftovers
from src.cloud.order import Order, by_name
from src.cloud.policy import Action, View, next_action
from src.cloud.progress import failures_in_a_row, hours_left
from src.cloud.refusals import may_pass
from src.cloud.run_state import End, Launch, RunRecord, RunState, Status
from src.errors import LinguaBridgeError
from src.monitoring.alert import Alert, log_alert
from src.schema import CloudConfig
from src.units import format_seconds

_LONGEST_WAIT_SECONDS = 600.0
_SETTLE_TURNS = 20
_HOUR = 3600.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clock:
    """Time, for the controller.

    Attributes:
        now: Seconds since 1970.
        sleep: Waits so many seconds.
    """

    now: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep


SYSTEM_CLOCK = Clock()


class Controller:
    """Runs one run to its end.

    Args:
        api: The cloud.
        state: The run's objects.
        record: The run.
        cloud: Where, and within which limits.
        output_dir: Where the training writes, on the instance.
        alarms: CloudMonitor's for each instance; None puts none.
        alert: Told of events: kind and text.
        clock: Time.
    """

    def __init__(
        self,
        api: EcsApi,
        state: RunState,
        record: RunRecord,
        cloud: CloudConfig,
        *,
        output_dir: str,
        alarms: AlarmKeeper | None = None,
        alert: Alert = log_alert,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._api = api
        self._alarms = alarms
        self._state = state
        self._record = record
        self._cloud = cloud
        self._clock = clock
        self._herald = Herald(state, alert)
        self.accounts = Accounts(api, state, clock.now)
        self.launcher = Launcher(
            api, state, record, cloud, output_dir=output_dir, clock=clock.now, sleep=clock.sleep
        )
        self.leftovers = Leftovers(api, state, self.launcher.networks, cloud)
        self._order = Order(
            api,
            state,
            record.run,
            launcher=self.launcher,
            accounts=self.accounts,
            leftovers=self.leftovers,
            now=clock.now,
        )
        self._beats: dict[str, tuple[int, float]] = {}
        self._last_reports: dict[int, Status | None] = {}
        self._stopping_since: float | None = None
        self._waits = 0
        self._next_launch = float("-inf")
        self._told = ""

    def run(self) -> tuple[int, str]:
        """Turns until the run ends; returns the exit code and why.

        Raises:
            CloudError: The cloud refuses in a way that only a person can mend.
        """
        while True:
            try:
                end = self.turn()
            except LinguaBridgeError as error:
                if not may_pass(error):
                    raise
                self._tell(f"{error}; the run goes on by itself, the controller keeps trying")
                end = None
            if end is not None:
                return end.exit_code, end.reason
            self._clock.sleep(self._cloud.poll_seconds)

    def turn(self) -> Action | None:
        """One look and one action; returns the action when it ended the run."""
        machine, pending = self._order.restore(self._beats)
        view = self._view(machine, is_pending=pending)
        action = next_action(view, self._cloud)
        if action.kind == "launch":
            self._launch(action, view)
        elif action.kind == "stop":
            self._state.stop(action.reason)
        elif action.kind == "resume":
            self._state.unstop()
        elif action.kind == "release" and machine is not None:
            self._release(machine, action.reason)
        elif action.kind == "finish":
            self._finish(action)
            return action
        elif machine is not None:
            self._keep(machine, view)
        elif action.reason:
            self._tell(f"waiting: {action.reason}")
        self._herald.tell()
        return None

    def costs(self, machines: Sequence[Machine]) -> dict[int, End]:
        """What every launch has cost, these living instances included."""
        ends = self._state.ends()
        living = {machine.launch: machine.instance_id for machine in machines}
        for launch in self._state.launches():
            if launch.name in living and launch.number not in ends:
                ends[launch.number] = self.accounts.so_far(launch, living[launch.name])
        return ends

    # Looking

    def _view(self, machine: Machine | None, *, is_pending: bool) -> View:
        now = self._clock.now()
        launches, ends = self._state.launches(), self._state.ends()
        current = by_name(launches, machine.launch) if machine is not None else None
        statuses = {launch.number: self._status(launch, ends) for launch in launches}
        # A run that a person has started again is not held back by what failed before.
        counted = [launch for launch in launches if launch.number > self._record.forgiven]
        shown = statuses.get(current.number) if current else _last(counted, ends, statuses)
        stop_reason = self._state.stop_reason()
        if stop_reason is None or machine is None:
            self._stopping_since = None
        elif self._stopping_since is None:
            self._stopping_since = now
        spent, hourly = self.accounts.spent(), 0.0
        if current is not None and machine is not None:
            spent += self.accounts.so_far(current, machine.instance_id).cost
            hourly = self.accounts.hourly(current)
        return View(
            now=now,
            started_at=self._record.started_at,
            machine=machine,
            status=shown,
            silent_seconds=self._silence(current, shown, now),
            stopping_seconds=None if self._stopping_since is None else now - self._stopping_since,
            stop_reason=stop_reason,
            spent=spent,
            hourly=hourly,
            hours_left=hours_left(statuses, self._cloud.expected_hours),
            failures=failures_in_a_row(counted, ends, statuses),
            last_code=shown.exit_code if shown is not None and shown.phase == "failed" else None,
            is_pending=is_pending,
        )

    def _status(self, launch: Launch, ends: Mapping[int, End]) -> Status | None:
        """The last report of a launch; asked for once when nothing more can come."""
        if launch.number not in ends:
            return self._state.status(launch.name)
        if launch.number not in self._last_reports:
            self._last_reports[launch.number] = self._state.status(launch.name)
        return self._last_reports[launch.number]

    def _silence(self, launch: Launch | None, status: Status | None, now: float) -> float:
        if launch is None:
            return 0.0
        beat = status.beat if status is not None else -1
        known, since = self._beats.get(launch.name, (None, now))
        if known != beat:
            since = now
            self._beats[launch.name] = (beat, since)
        return now - since

    # Acting

    def _launch(self, action: Action, view: View) -> None:
        if self._clock.now() < self._next_launch:
            return
        money = None if self._cloud.budget is None else self._cloud.budget - view.spent
        launch = self.launcher.launch(
            action.market, hours=max(view.hours_left, 0.1), money_left=money
        )
        if launch is not None:
            self._waits = 0
            return
        wait = min(self._cloud.poll_seconds * 2**self._waits, _LONGEST_WAIT_SECONDS)
        self._waits += 1
        self._next_launch = self._clock.now() + wait
        self._tell("no zone has an instance now; asking again, less and less often")

    def _keep(self, machine: Machine, view: View) -> None:
        """Extends the life of a living instance, and says how far it is."""
        if self._alarms is not None:
            self._alarms.keep(machine)
        if machine.is_being_reclaimed:
            launch = by_name(self._state.launches(), machine.launch)
            self._herald.reclaimed(launch, machine.instance_id)
        life = life_seconds(
            self._cloud,
            view.hourly,
            None if self._cloud.budget is None else self._cloud.budget - view.spent,
        )
        left = None if machine.releases_at is None else machine.releases_at.timestamp() - view.now
        if left is not None and left < life / 2:
            until = datetime.fromtimestamp(view.now + life, timezone.utc)
            self._api.extend_life(machine.region, machine.instance_id, until)
        status = view.status
        if status is not None and status.step:
            self._tell(
                f"{status.phase}: step {status.step}, {100 * status.progress:.1f} %, "
                f"{format_seconds(view.hours_left * _HOUR)} of training left, "
                f"{view.spent:.2f} CNY so far"
            )

    def _release(self, machine: Machine, reason: str) -> None:
        launch = by_name(self._state.launches(), machine.launch)
        self._api.delete_machine(machine.region, machine, self._record.run)
        end = self.accounts.settle(launch, machine.instance_id, reason, is_released=True)
        logger.info("released %s after %s: %s", machine.instance_id, life_of(end), reason)

    def _finish(self, action: Action) -> None:
        for _ in range(_SETTLE_TURNS):
            if self.accounts.refine():
                break
            self._clock.sleep(self._cloud.poll_seconds)
        self.give_back()
        take_back_secrets(self._state)
        self._state.finish(action.exit_code, action.reason)
        self._herald.tell()

    def give_back(self) -> None:
        """Removes what the run has in the cloud besides instances."""
        self.leftovers.remove()
        if self._alarms is not None:
            self._alarms.remove(sorted({launch.region for launch in self._state.launches()}))

    def release_all(self, machines: Sequence[Machine]) -> None:
        """Releases these instances of the run, and accounts for them."""
        names = {launch.name for launch in self._state.launches()}
        for machine in machines:
            if machine.launch in names:
                self._release(machine, "taken down")
            else:
                self._api.delete_machine(machine.region, machine, self._record.run)

    # Telling

    def _tell(self, text: str) -> None:
        """A line in the log, unless it is the last one again."""
        if text != self._told:
            self._told = text
            logger.info("%s", text)


def _last(
    launches: Sequence[Launch],
    ends: Mapping[int, End],
    statuses: Mapping[int, Status | None],
) -> Status | None:
    """What the last instance that lived has reported."""
    lived = [
        each.number for each in launches if each.number in ends and ends[each.number].instance_id
    ]
    return statuses[lived[-1]] if lived else None
