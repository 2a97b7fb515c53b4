"""Policies compared on traces, from many starting points, as ratios to an on-demand run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from src.planning.show import table
from src.planning.spot_simulation import Job, Outcome, Policy, on_demand, simulate
from src.planning.traces import Trace, windows
from src.units import format_seconds

_MINUTE, _HOUR = 60.0, 3600.0
POLICIES = (
    Policy("one zone, every 2 h", moves=False, interval_seconds=2 * _HOUR),
    Policy("failover, every 2 h", interval_seconds=2 * _HOUR),
    Policy("failover, every 30 min", interval_seconds=30 * _MINUTE),
    Policy("failover, every 10 min", interval_seconds=10 * _MINUTE),
    Policy("failover, Young/Daly"),
    Policy("… and the notice", heeds_notice=True),
    Policy("… and a protected first hour", heeds_notice=True, is_protected=True),
)


@dataclass(frozen=True)
class PolicyResult:
    """A policy over all starting points.

    Attributes:
        policy: Which.
        finished: Share of the runs that ended.
        cost: Mean cost as a share of the on-demand run's, of the runs that ended; None if none did.
        time: The same for the time.
        slowest: The longest of them.
        interruptions: Mean per run.
        lost: Mean lost work as a share of the work.
        on_demand: Mean share of the paid time that was on demand.
    """

    policy: Policy
    finished: float
    cost: float | None
    time: float | None
    slowest: float | None
    interruptions: float
    lost: float
    on_demand: float


def report(job: Job, traces: Sequence[Trace], *, starts: int) -> list[PolicyResult]:
    """Every policy on the same starting points.

    With a deadline, each policy falls back to an on-demand machine when it must.

    Args:
        job: What is to be done.
        traces: One per zone; the first is home.
        starts: Starting points, spread evenly over the first trace.
    """
    spread = np.arange(starts) / starts
    zones = [
        [
            windows(
                trace,
                until=job.horizon,
                offset=float(share * trace.length),
                seed=1000 * number + place,
            )
            for place, trace in enumerate(traces)
        ]
        for number, share in enumerate(spread)
    ]
    whole = on_demand(job)
    found = []
    for policy in POLICIES:
        outcomes = [simulate(job, policy, each) for each in zones]
        found.append(_summary(policy, outcomes, whole, job))
    return found


def _summary(policy: Policy, outcomes: Sequence[Outcome], whole: Outcome, job: Job) -> PolicyResult:
    done = [outcome for outcome in outcomes if outcome.is_finished]
    times = [outcome.total / whole.total for outcome in done]
    paid = [outcome.on_demand / outcome.paid for outcome in outcomes if outcome.paid]
    return PolicyResult(
        policy=policy,
        finished=len(done) / len(outcomes),
        cost=statistics.fmean(outcome.cost / whole.cost for outcome in done) if done else None,
        time=statistics.fmean(times) if times else None,
        slowest=max(times) if times else None,
        interruptions=statistics.fmean(outcome.interruptions for outcome in outcomes),
        lost=statistics.fmean(outcome.lost / job.work_seconds for outcome in outcomes),
        on_demand=statistics.fmean(paid) if paid else 0.0,
    )


def report_lines(job: Job, traces: Sequence[Trace], found: Sequence[PolicyResult]) -> Iterator[str]:
    """The comparison as text."""
    yield (
        f"{format_seconds(job.work_seconds)} of work on {len(traces)} zone"
        f"{'s' if len(traces) > 1 else ''} ({', '.join(trace.name for trace in traces)}), spot at "
        f"{job.spot_ratio:.0%} of the on-demand price"
    )
    yield (
        f"a start takes {format_seconds(job.start_seconds)}, a save stalls "
        f"{job.stall_seconds:g} s and is durable after {job.upload_seconds:g} s"
    )
    if job.deadline_seconds is not None:
        yield f"deadline after {format_seconds(job.deadline_seconds)}, then on demand"
    rows = [("policy", "cost", "time", "slowest", "lost", "taken", "on demand", "finished")]
    for each in found:
        has_end = each.cost is not None
        rows.append(
            (
                each.policy.name,
                f"{each.cost:.1%}" if has_end else "-",
                f"x{each.time:.2f}" if has_end else "-",
                f"x{each.slowest:.2f}" if has_end else "-",
                f"{each.lost:.1%}",
                f"{each.interruptions:.1f}",
                f"{each.on_demand:.0%}",
                f"{each.finished:.0%}",
            )
        )
    yield from table(rows)
    yield "cost and time are ratios to the same work on an on-demand machine; disks are not counted"


def report_json(job: Job, traces: Sequence[Trace], found: Sequence[PolicyResult]) -> dict[str, Any]:
    """The comparison for `--json`."""
    return {
        "job": asdict(job),
        "traces": [trace.name for trace in traces],
        "policies": [asdict(each) for each in found],
    }
