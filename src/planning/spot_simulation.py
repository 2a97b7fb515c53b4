"""Replaying a run on interruptible machines: what a policy costs, in time and money.

A machine is launched in a zone that has capacity, boots, restores the last durable state and works;
every interval it stands still for a save, which becomes durable some time later; when it is taken,
what is not durable is lost and has to be done again. Every second of the run is exactly one of:

    useful      work that counts in the end
    lost        work that had to be repeated
    stalled     standing still for saves
    starting    booting and restoring
    draining    between the notice and the end, or after the last step until its save is durable
    waiting     no machine to be had; the only seconds that cost nothing
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from src.checkpoint.interval import observed_mean_uptime, save_interval
from src.planning.traces import Window

PROTECTED_SECONDS = 3600.0
NOTICE_SECONDS = 300.0
_MOST_STRETCH = 40.0


@dataclass(frozen=True)
class Job:
    """What is to be done, and what each start and save takes.

    Attributes:
        work_seconds: On a machine that is never interrupted, saves not counted.
        boot_seconds: From launch to a running program.
        restore_seconds: Reading the state back.
        stall_seconds: Training stands still for a save.
        upload_seconds: From a save to its being durable.
        deadline_seconds: When it must be done; None: never.
        spot_ratio: Spot price as a share of the on-demand price.
    """

    work_seconds: float
    boot_seconds: float = 420.0
    restore_seconds: float = 240.0
    stall_seconds: float = 18.0
    upload_seconds: float = 180.0
    deadline_seconds: float | None = None
    spot_ratio: float = 0.3

    @property
    def start_seconds(self) -> float:
        """From launch to the first step."""
        return self.boot_seconds + self.restore_seconds

    @property
    def horizon(self) -> float:
        """Seconds after which a run counts as never finishing."""
        return _MOST_STRETCH * (self.work_seconds + self.start_seconds)


@dataclass(frozen=True)
class Policy:
    """How a run uses interruptible machines.

    Attributes:
        name: For the table.
        moves: Whether another zone is tried when one has no capacity.
        interval_seconds: Between saves; None: Young and Daly with the up-times seen so far.
        heeds_notice: Whether it saves when the cloud announces that the machine will be taken.
        is_protected: Whether a machine is not taken in its first hour.
    """

    name: str
    moves: bool = True
    interval_seconds: float | None = None
    heeds_notice: bool = False
    is_protected: bool = False


@dataclass
class Outcome:
    """Where the seconds of a run went; see the module's text.

    Attributes:
        is_finished: Whether all work was done before the horizon.
        on_demand: Seconds, contained in the others, that were paid at the on-demand price.
        interruptions: Machines taken away.
        launches: Machines started.
        cost: In seconds of an on-demand machine.
    """

    useful: float = 0.0
    lost: float = 0.0
    stalled: float = 0.0
    starting: float = 0.0
    draining: float = 0.0
    waiting: float = 0.0
    on_demand: float = 0.0
    interruptions: int = 0
    launches: int = 0
    is_finished: bool = False
    cost: float = 0.0

    @property
    def paid(self) -> float:
        """Seconds in which a machine was running."""
        return self.useful + self.lost + self.stalled + self.starting + self.draining

    @property
    def total(self) -> float:
        """Seconds from the start to the end."""
        return self.paid + self.waiting


@dataclass
class _Run:
    """A run in progress."""

    job: Job
    policy: Policy
    now: float = 0.0
    durable: float = 0.0
    up_seconds: float = 0.0
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def interval(self) -> float:
        """Seconds of work between saves, from now on."""
        if self.policy.interval_seconds is not None:
            return self.policy.interval_seconds
        mean = observed_mean_uptime(self.up_seconds, self.outcome.interruptions)
        return save_interval(self.job.stall_seconds, mean)

    @property
    def last_safe_start(self) -> float:
        """When an on-demand machine must start at the latest to meet the deadline."""
        if self.job.deadline_seconds is None:
            return math.inf
        left = self.job.work_seconds - self.durable
        needed = self.job.start_seconds + left + _saving_seconds(self.job, left, self.interval)
        return self.job.deadline_seconds - needed - self.job.stall_seconds - self.job.upload_seconds

    @property
    def worst_loss(self) -> float:
        """Seconds that one more interruption can cost."""
        unsaved = self.interval + self.job.stall_seconds + self.job.upload_seconds
        return self.job.start_seconds + max(unsaved, NOTICE_SECONDS)


def simulate(job: Job, policy: Policy, zones: Sequence[Sequence[Window]]) -> Outcome:
    """One run.

    Args:
        job: What is to be done.
        policy: How.
        zones: Windows of each zone, ascending; the first zone is home.
    """
    run = _Run(job, policy)
    chosen = zones if policy.moves else zones[:1]
    while not run.outcome.is_finished and run.now < job.horizon:
        window = _next_window(chosen, run.now)
        start = math.inf if window is None else max(run.now, window.start)
        # After one more interruption it must still be possible.
        switch = run.last_safe_start - run.worst_loss
        if switch <= start and switch < math.inf:
            _wait(run, max(run.now, switch))
            _work(run, math.inf, price=1.0)
            break
        if window is None:
            _wait(run, job.horizon)
            break
        _wait(run, start)
        end = window.end
        if policy.is_protected:
            end = max(end, run.now + PROTECTED_SECONDS)
        _work(run, end, price=job.spot_ratio)
    return run.outcome


def on_demand(job: Job) -> Outcome:
    """The same work on a machine that is never taken, saved once at the end."""
    run = _Run(job, Policy("on demand", interval_seconds=math.inf))
    _work(run, math.inf, price=1.0)
    return run.outcome


def _next_window(zones: Sequence[Sequence[Window]], now: float) -> Window | None:
    """Where a machine can be had first; of those that are there now the first zone's."""
    best: Window | None = None
    for zone in zones:
        here = next((window for window in zone if window.end > now), None)
        if here is not None and (best is None or max(here.start, now) < max(best.start, now)):
            best = here
    return best


def _wait(run: _Run, until: float) -> None:
    waited = max(0.0, until - run.now)
    run.outcome.waiting += waited
    run.now += waited


def _work(run: _Run, end: float, *, price: float) -> None:
    """One machine from its launch to the end of the work, or until it is taken at `end`."""
    job, outcome = run.job, run.outcome
    launched = run.now
    outcome.launches += 1
    interval = run.interval
    ready = launched + job.start_seconds
    left = job.work_seconds - run.durable
    needed = left + _saving_seconds(job, left, interval)
    if ready + needed + job.stall_seconds + job.upload_seconds <= end:
        outcome.starting += job.start_seconds
        outcome.useful += left
        outcome.stalled += needed - left + job.stall_seconds
        outcome.draining += job.upload_seconds
        outcome.is_finished = True
        run.durable = job.work_seconds
        run.now = ready + needed + job.stall_seconds + job.upload_seconds
    else:
        _lose(run, ready, end, interval=interval, left=left)
        run.now = end
    seconds = run.now - launched
    run.up_seconds += seconds
    outcome.cost += price * seconds
    if price == 1.0:
        outcome.on_demand += seconds


def _lose(run: _Run, ready: float, end: float, *, interval: float, left: float) -> None:
    """A machine that is taken at `end` before the work is done."""
    job, outcome = run.job, run.outcome
    outcome.interruptions += 1
    launched = ready - job.start_seconds
    outcome.starting += min(ready, end) - launched
    if ready >= end:
        return
    in_time = job.stall_seconds + job.upload_seconds <= NOTICE_SECONDS
    stop = max(ready, end - NOTICE_SECONDS) if run.policy.heeds_notice and in_time else end
    running = stop - ready
    done, stalled = _progress(running, interval, job.stall_seconds)
    over = max(0.0, done - left)  # the work is done, its last save is not
    done -= over
    if stop < end and stop + job.stall_seconds + job.upload_seconds <= end:
        saved = done
    else:
        cycle = interval + job.stall_seconds
        saves = 0 if math.isinf(cycle) else max(0, int((running - job.upload_seconds) // cycle))
        saved = min(done, saves * interval)
    outcome.useful += saved
    outcome.lost += done - saved
    outcome.stalled += stalled
    outcome.draining += over + end - stop
    run.durable += saved


def _progress(seconds: float, interval: float, stall: float) -> tuple[float, float]:
    """Work done and time stalled in so many seconds of working and saving in turn."""
    if math.isinf(interval):
        return seconds, 0.0
    cycles, rest = divmod(seconds, interval + stall)
    return cycles * interval + min(rest, interval), cycles * stall + max(0.0, rest - interval)


def _saving_seconds(job: Job, work: float, interval: float) -> float:
    """Stalls of the saves before the last one."""
    if math.isinf(interval) or work <= 0:
        return 0.0
    return max(0, math.ceil(work / interval) - 1) * job.stall_seconds
