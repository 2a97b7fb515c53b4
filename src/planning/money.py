"""What hours on rented machines cost: on demand, spot, reserved; by region.

Spot runs take longer than their hours of work: machines are taken away, started again, and what was
not saved is repeated. The factors are from replaying public interruption traces (`plan --simulate`
does it for any trace).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from src.planning.catalogue import Catalogue, InstanceType

SPOT_TIME_FACTOR = 1.16
SPOT_WORK_FACTOR = 1.08
SPOT_SOURCE = (
    "72 h of work replayed on a public spot trace with three calm zones, saves by Young/Daly: "
    "1.16 x the time, 1.08 x the machine hours"
)
_HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class RegionCost:
    """CNY for one run in one region.

    Attributes:
        region: E.g. "cn-hangzhou".
        on_demand: At the list price.
        spot: At the assumed spot price, rework included.
        reserved: Whole months at the assumed subscription price.
        disk: Disk for the run's time; part of none of the others.
    """

    region: str
    on_demand: float
    spot: float
    reserved: float
    disk: float


def costs(
    instance: InstanceType, hours: float, *, machines: int, disk_gib: float, prices: Catalogue
) -> list[RegionCost]:
    """The run in every region that has the type, cheapest first.

    Args:
        instance: What is rented.
        hours: Of work, without interruptions.
        machines: How many of it.
        disk_gib: Of each.
        prices: Ratios and the price of disks.
    """
    months = max(1, math.ceil(hours / prices.reserved_minimum_hours))
    reserved_hours = months * prices.reserved_minimum_hours
    disk = prices.disk_cny_per_gib_month * disk_gib * hours / _HOURS_PER_MONTH
    found = [
        RegionCost(
            region,
            machines * price.on_demand * hours,
            machines * price.spot * hours * SPOT_WORK_FACTOR,
            machines * price.reserved * reserved_hours,
            machines * disk,
        )
        for region, price in instance.prices.items()
    ]
    return sorted(found, key=lambda cost: (cost.on_demand, cost.region))
