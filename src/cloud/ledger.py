"""What every second of a run cost: spot prices as they moved, disks at list price.

Spot and on-demand instances are billed by the second. The price of a spot instance is the market's
at that second, which the cloud publishes per hour; both are facts of the cloud, and so are the
moments at which an instance began and ended. The ledger is computed from them and nothing else, so
it is the same whoever computes it, whenever. Traffic and the bucket are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import pairwise

from src.cloud.facts import SPOT, PricePoint
from src.cloud.run_state import End, Launch
from src.units import format_seconds

_HOUR = 3600.0


@dataclass(frozen=True)
class Total:
    """Sums over launches, in CNY and seconds."""

    cost: float
    on_demand_cost: float
    seconds: float

    @property
    def share(self) -> float:
        """Of the on-demand price that was paid; 1 when nothing ran."""
        return self.cost / self.on_demand_cost if self.on_demand_cost else 1.0


def price_spans(
    points: Sequence[PricePoint], zone: str, start: float, end: float
) -> list[tuple[float, float, float]]:
    """(seconds, spot, on demand) for each span of one price between two moments.

    A price holds from its point until the next; before the first point that is known, the first
    one holds.

    Raises:
        ValueError: No point of this zone is known.
    """
    own = sorted((point for point in points if point.zone == zone), key=lambda point: point.since)
    if not own:
        raise ValueError(f"no price is known of zone {zone}")
    changes = [point.since.timestamp() for point in own]
    changes[0] = min(changes[0], start)
    spans = []
    for point, (begins, ends) in zip(own, pairwise([*changes, float("inf")]), strict=True):
        seconds = min(ends, end) - max(begins, start)
        if seconds > 0:
            spans.append((seconds, point.spot, point.on_demand))
    return spans


def cost_between(
    launch: Launch, points: Sequence[PricePoint], start: float, end: float
) -> tuple[float, float]:
    """CNY paid and CNY at the on-demand price for an instance with its disk, per second."""
    paid = listed = 0.0
    for seconds, spot, on_demand in price_spans(points, launch.zone, start, end):
        paid += seconds / _HOUR * (spot if launch.market == SPOT else on_demand)
        listed += seconds / _HOUR * on_demand
    disk = max(end - start, 0.0) / _HOUR * launch.disk_price
    return paid + disk, listed + disk


def total_of(ends: Sequence[End]) -> Total:
    """Sums."""
    return Total(
        sum(end.cost for end in ends),
        sum(end.on_demand_cost for end in ends),
        sum(end.ended_at - end.started_at for end in ends),
    )


def ledger_lines(launches: Sequence[Launch], ends: Mapping[int, End]) -> str:
    """One JSON object a line for every instance that ran, oldest first."""
    lines = []
    for launch in launches:
        end = ends.get(launch.number)
        if end is None or not end.instance_id:
            continue
        facts = {
            "region": launch.region,
            "zone": launch.zone,
            "instance_type": launch.instance_type,
            "market": launch.market,
        }
        lines.append(json.dumps({**asdict(end), **facts}, ensure_ascii=False) + "\n")
    return "".join(lines)


def ledger_table(launches: Sequence[Launch], ends: Mapping[int, End]) -> str:
    """For people: a line per instance and a line of sums."""
    rows = [("#", "zone", "type", "market", "from (UTC)", "for", "CNY", "list", "end")]
    paid = [ends[launch.number] for launch in launches if launch.number in ends]
    for launch in launches:
        end = ends.get(launch.number)
        if end is None or not end.instance_id:
            continue
        began = datetime.fromtimestamp(end.started_at, timezone.utc)
        rows.append(
            (
                str(launch.number),
                launch.zone,
                launch.instance_type.removeprefix("ecs."),
                launch.market.replace("_", "-"),
                began.strftime("%m-%d %H:%M"),
                ("" if end.is_exact else "about ") + format_seconds(end.ended_at - end.started_at),
                f"{end.cost:.2f}",
                f"{end.on_demand_cost:.2f}",
                end.reason,
            )
        )
    return columns(rows) + "\n" + summary_line(total_of(paid))


def summary_line(total: Total) -> str:
    """`12.34 CNY for 5 h 02 min of machines: 31 % of on-demand (39.80 CNY)`."""
    return (
        f"{total.cost:.2f} CNY for {format_seconds(total.seconds)} of machines: "
        f"{100 * total.share:.0f} % of on-demand ({total.on_demand_cost:.2f} CNY)"
    )


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, columns aligned at the left."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)
