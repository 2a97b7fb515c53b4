"""Where to rent: every zone's price, stock and interruptions, by what the run will cost there.

A spot instance that is cheap but often reclaimed pays twice: for the work it loses and for the
machine that boots again. The expected cost of the run is therefore the price times the hours of
work and of rework:

    cost = price * hours * (1 + interruptions per hour * hours lost by one)

The interruption rate is the service's own 30-day figure, given as a range and read here as a chance
per hour, at the middle of the range. What that figure is a rate of is not documented; reading it as
hourly is the cautious choice, and only the order of offers depends on it.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from src.cloud.ecs_api import EcsApi
from src.cloud.facts import ON_DEMAND, SPOT, Advice, PricePoint
from src.cloud.refusals import kind_of
from src.errors import CloudError, ConfigError
from src.planning.catalogue import instance_types as known_types
from src.schema import CloudConfig

_HOURLY_CHANCE = {"0-3%": 0.015, "3-5%": 0.04, "5-10%": 0.075, "10-100%": 0.3}
_UNKNOWN_CHANCE = 0.075
_LOST_HOURS = 0.1  # of training since the last save, by one interruption
_PRICE_AGE = timedelta(hours=3)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """One type in one zone.

    Attributes:
        region: Where.
        zone: Where exactly.
        instance_type: What.
        market: "spot" or "on_demand".
        price: CNY per hour now.
        on_demand: CNY per hour of pay-as-you-go.
        average: CNY per hour of spot over 30 days, by the service's own figure; None if unknown.
        interruption: The service's words; empty if unknown.
        in_stock: Whether it can be had now.
        expected_cost: CNY of the whole run here.
    """

    region: str
    zone: str
    instance_type: str
    market: str
    price: float
    on_demand: float
    average: float | None
    interruption: str
    in_stock: bool
    expected_cost: float

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What stock is about."""
        return self.region, self.zone, self.instance_type, self.market


def find_offers(
    api: EcsApi, cloud: CloudConfig, now: datetime, *, hours: float, market: str = SPOT
) -> list[Offer]:
    """Offers in all regions, the one with the least expected cost first; those out of stock last.

    Args:
        api: The cloud.
        cloud: Which regions and types to ask for.
        now: UTC.
        hours: Of training that are left.
        market: "spot" or "on_demand".

    Raises:
        CloudError: The cloud refuses in a way that asking elsewhere does not cure.
    """
    offers: list[Offer] = []
    for region in cloud.regions:
        advice = api.advice(region, cloud.instance_types) if market == SPOT else {}
        for instance_type in cloud.instance_types:
            try:
                points = api.spot_prices(region, instance_type, now - _PRICE_AGE, now)
                stock = api.stock(region, instance_type, spot=market == SPOT)
            except CloudError as error:
                if kind_of(error.code) != "stock":
                    raise
                logger.debug("%s is not sold in %s (%s)", instance_type, region, error.code)
                continue
            offers += [
                _offer(
                    cloud,
                    region,
                    instance_type,
                    market,
                    point,
                    stock=stock,
                    advice=advice,
                    hours=hours,
                )
                for point in _newest(points)
            ]
    return sorted(offers, key=lambda offer: (not offer.in_stock, offer.expected_cost, offer.zone))


def check_names(api: EcsApi, cloud: CloudConfig) -> None:
    """Finds regions that the account has not, before anything is asked there.

    Raises:
        ConfigError: With the nearest name.
    """
    known = api.regions()
    for name in cloud.regions:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(known)
            raise ConfigError(f"cloud.regions names {name!r}, which this account has not; {hint}")


def nothing_offered(cloud: CloudConfig) -> ConfigError:
    """For types that no zone of the regions sells."""
    names = [item.name for item in known_types()]
    unknown = [name for name in cloud.instance_types if name not in names]
    near = difflib.get_close_matches(unknown[0], names, n=1) if unknown else []
    hint = f"; did you mean {near[0]}?" if near else "; add regions or types"
    return ConfigError(
        f"no zone of {', '.join(cloud.regions)} sells {' or '.join(cloud.instance_types)}{hint}"
    )


def nothing_now(offers: Sequence[Offer], cloud: CloudConfig) -> CloudError:
    """For offers of which none can be had now."""
    cheapest = min((offer.price for offer in offers), default=0.0)
    if cloud.price_limit is not None and cheapest > cloud.price_limit:
        return CloudError(
            f"cloud.price_limit is {cloud.price_limit:g}, and the cheapest zone costs "
            f"{cheapest:.3f} CNY per hour now",
            "raise it, set it to null for the market price, add regions or types, or wait",
        )
    return CloudError("no zone has an instance now", "add regions or types, or wait")


class Unavailable:
    """Offers that were refused a moment ago, and are left alone for a while.

    Args:
        seconds: For how long.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[tuple[str, str, str, str], float] = {}

    def note(self, offer: Offer) -> None:
        """Leaves it alone from now on."""
        self._until[offer.place] = self._clock() + self._seconds

    def allows(self, offer: Offer) -> bool:
        """Whether it may be tried."""
        return self._clock() >= self._until.get(offer.place, float("-inf"))


def expected_hours(hours: float, interruption: str, restart_hours: float) -> float:
    """Hours that are paid until `hours` of work are done."""
    chance = _HOURLY_CHANCE.get(interruption, _UNKNOWN_CHANCE)
    return hours * (1 + chance * (restart_hours + _LOST_HOURS))


def _newest(points: Sequence[PricePoint]) -> list[PricePoint]:
    newest = {point.zone: point for point in sorted(points, key=lambda point: point.since)}
    return list(newest.values())


def _offer(
    cloud: CloudConfig,
    region: str,
    instance_type: str,
    market: str,
    point: PricePoint,
    *,
    stock: dict[str, bool],
    advice: dict[tuple[str, str], Advice],
    hours: float,
) -> Offer:
    known = advice.get((point.zone, instance_type))
    interruption = known.interruption if known else ""
    price = point.spot if market == SPOT else point.on_demand
    paid_hours = hours
    if market != ON_DEMAND:
        paid_hours = expected_hours(hours, interruption, cloud.restart_minutes / 60)
    affordable = market == ON_DEMAND or cloud.price_limit is None or price <= cloud.price_limit
    return Offer(
        region,
        point.zone,
        instance_type,
        market,
        price,
        point.on_demand,
        known.discount * point.on_demand if known else None,
        interruption,
        stock.get(point.zone, False) and affordable,
        price * paid_hours,
    )
