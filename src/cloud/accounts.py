"""When instances began and ended, and what they cost, from the cloud's own records.

The moments come from CloudMonitor's record of state changes, to the millisecond. Where it says
nothing yet, the best other fact stands in and the entry is marked as not exact; it is corrected
when the record is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from src.cloud.ecs_api import EcsApi
from src.cloud.facts import PricePoint
from src.cloud.ledger import cost_between, ledger_lines, total_of
from src.cloud.run_state import End, Launch, RunState
from src.errors import CloudError

_BEFORE = timedelta(hours=2)  # so that the price at the first second is among the points
_PRICE_SECONDS = 300.0  # prices move by the hour
_GIVE_UP_SECONDS = 1800.0
_HOUR = 3600.0
logger = logging.getLogger(__name__)


class Accounts:
    """The costs of one run.

    Args:
        api: The cloud.
        state: The run's objects.
        clock: Seconds since 1970.
    """

    def __init__(self, api: EcsApi, state: RunState, clock: Callable[[], float]) -> None:
        self._api = api
        self._state = state
        self._clock = clock
        self._points: dict[int, tuple[float, list[PricePoint]]] = {}
        self._told = False

    def settle(
        self, launch: Launch, instance_id: str, reason: str, *, is_released: bool = False
    ) -> End:
        """Writes down the end of an instance that is gone, and what it cost."""
        now = self._clock()
        changes = self._changes(launch, instance_id)
        started = min(changes.values(), default=launch.requested_at)
        ended = changes.get("Deleted", now)
        points = self._prices(launch, started, ended, fresh=True)
        cost, listed = cost_between(launch, points, started, ended)
        exact = "Deleted" in changes
        end = End(
            launch.number, instance_id, reason, started, ended, cost, listed, exact, is_released
        )
        self._state.settle(end)
        self._write_ledger()
        return end

    def refine(self) -> bool:
        """Corrects entries that were not exact; whether all are now, or are too old to become."""
        all_exact = True
        launches = {launch.number: launch for launch in self._state.launches()}
        for end in self._state.ends().values():
            if end.is_exact or not end.instance_id:
                continue
            if "Deleted" in self._changes(launches[end.number], end.instance_id):
                launch = launches[end.number]
                self.settle(launch, end.instance_id, end.reason, is_released=end.is_released)
            elif self._clock() - end.ended_at < _GIVE_UP_SECONDS:
                all_exact = False
        return all_exact

    def so_far(self, launch: Launch, instance_id: str) -> End:
        """What a living instance has cost so far, as if it ended now; written nowhere."""
        now = self._clock()
        start = launch.requested_at
        points = self._prices(launch, start, now, fresh=False)
        cost, listed = cost_between(launch, points, start, now)
        return End(launch.number, instance_id, "lives", start, now, cost, listed, is_exact=False)

    def hourly(self, launch: Launch) -> float:
        """CNY per hour that a living instance costs now."""
        now = self._clock()
        points = self._prices(launch, launch.requested_at, now, fresh=False)
        return cost_between(launch, points, now, now + _HOUR)[0]

    def spent(self) -> float:
        """CNY of all instances that are gone."""
        return total_of(list(self._state.ends().values())).cost

    def _changes(self, launch: Launch, instance_id: str) -> dict[str, float]:
        since = datetime.fromtimestamp(launch.requested_at, timezone.utc) - _BEFORE
        try:
            changes = self._api.state_changes(launch.region, instance_id, since)
        except CloudError as error:
            if not self._told:
                logger.warning("the ledger has to estimate when instances ended: %s", error.reason)
            self._told = True
            return {}
        return {state: moment.timestamp() for state, moment in changes.items()}

    def _prices(self, launch: Launch, start: float, end: float, *, fresh: bool) -> list[PricePoint]:
        asked, points = self._points.get(launch.number, (float("-inf"), []))
        if fresh or self._clock() - asked > _PRICE_SECONDS or not points:
            first = datetime.fromtimestamp(start, timezone.utc) - _BEFORE
            last = datetime.fromtimestamp(end, timezone.utc)
            points = self._api.spot_prices(launch.region, launch.instance_type, first, last)
            points = [point for point in points if point.zone == launch.zone]
            self._points[launch.number] = (self._clock(), points)
        return points

    def _write_ledger(self) -> None:
        text = ledger_lines(self._state.launches(), self._state.ends())
        self._state.objects.put(self._state.key("ledger.jsonl"), text.encode("utf-8"))
