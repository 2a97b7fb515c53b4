"""When interruptible machines were there: recorded traces, and generated ones.

A trace file is a CSV of Bamboo's form (Thorpe et al. 2023): rows `time,instances`, the size of a
fleet after each change; whole numbers are seconds, numbers with a decimal point hours. One machine
of the fleet is followed: when the fleet shrinks from n to m it is taken with probability
(n - m) / n, and the next growth of the fleet is the first chance of another.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.errors import DataError

_HOUR = 3600.0
_SHORTEST_SECONDS = 24 * _HOUR
_SYNTHETIC_HOURS = 24 * 14
_MEAN_UP_HOURS, _MEAN_DOWN_HOURS = 6.0, 1.5


@dataclass(frozen=True)
class Trace:
    """The size of a fleet over time in one zone.

    Attributes:
        name: For messages.
        times: Seconds from the start of each change, ascending.
        counts: Machines from then on.
        length: Seconds covered; then it starts again.
    """

    name: str
    times: tuple[float, ...]
    counts: tuple[int, ...]
    length: float


@dataclass(frozen=True)
class Window:
    """A time in which one machine can be had and is not taken.

    Attributes:
        start: Seconds.
        end: When it is taken.
    """

    start: float
    end: float


def read_trace(path: Path) -> Trace:
    """Reads one CSV.

    Raises:
        DataError: If it is missing or a row is not of the form `time,instances`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"trace {path} does not exist; give a CSV of `time,instances`") from error
    except OSError as error:
        raise DataError(f"trace {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"trace {path} is no text in UTF-8; give a CSV of `time,instances`"
        ) from error
    times: list[float] = []
    counts: list[int] = []
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        time, count = _numbers(path, number, row)
        if times and time < times[-1]:
            raise DataError(f"trace {path} line {number}: time {row[0]} is before the line above")
        if times and time == times[-1]:
            counts[-1] = count
            continue
        times.append(time)
        counts.append(count)
    if not times:
        raise DataError(f"trace {path} is empty; give a CSV of `time,instances`")
    scale = _HOUR if "." in text.partition("\n")[0] else 1.0
    seconds = tuple(time * scale for time in times)
    length = seconds[-1] if len(seconds) > 1 else _SHORTEST_SECONDS
    return Trace(path.name, seconds, tuple(counts), length)


def _numbers(path: Path, number: int, row: list[str]) -> tuple[float, int]:
    try:
        time, count = row
        value, machines = float(time), int(count)
    except ValueError as error:
        raise DataError(
            f"trace {path} line {number} is {','.join(row)!r}, not `time,instances`"
        ) from error
    if not (0 <= value < float("inf") and machines >= 0):
        raise DataError(f"trace {path} line {number} has a negative or endless number: {row}")
    return value, machines


def synthetic_traces(*, zones: int, seed: int) -> list[Trace]:
    """Two weeks of single machines that come and go at random.

    Up and down times are exponential, with means of 6 h and 1.5 h; both are halved and doubled
    between zones, so that some are calm and some are scarce.

    Args:
        zones: How many.
        seed: The same seed gives the same traces.
    """
    traces = []
    for zone in range(zones):
        random = np.random.default_rng((seed, zone))
        calm = 2.0 ** (1 - zone % 3)
        up, down = _MEAN_UP_HOURS * calm, _MEAN_DOWN_HOURS / calm
        times, counts, now, count = [0.0], [1], 0.0, 1
        while now < _SYNTHETIC_HOURS * _HOUR:
            now += float(random.exponential(up if count else down)) * _HOUR
            count = 1 - count
            times.append(now)
            counts.append(count)
        traces.append(Trace(f"generated-{zone}", tuple(times), tuple(counts), times[-1]))
    return traces


def windows(trace: Trace, *, until: float, offset: float, seed: int) -> list[Window]:
    """When one machine can be had, from `offset` seconds into the trace on.

    Args:
        trace: Repeated as often as needed.
        until: Seconds from the start.
        offset: Where in the trace the start lies.
        seed: Decides which of a fleet's machines are taken.

    Returns:
        Ascending, apart from each other, times counted from the start.
    """
    random = np.random.default_rng(seed)
    found: list[Window] = []
    begin: float | None = None
    previous = 0
    for time, count in _changes(trace, until=until + offset):
        if begin is not None and count < previous and random.random() < 1 - count / previous:
            found.append(Window(begin, time))
            begin = None
        elif begin is None and count > previous:
            begin = time
        previous = count
    if begin is not None:
        found.append(Window(begin, until + offset))
    moved = (Window(max(0.0, each.start - offset), each.end - offset) for each in found)
    return [each for each in moved if each.end > each.start]


def _changes(trace: Trace, *, until: float) -> list[tuple[float, int]]:
    """Changes of the fleet up to a time, the trace laid end to end."""
    changes: list[tuple[float, int]] = []
    start = 0.0
    while start < until:
        for time, count in zip(trace.times, trace.counts, strict=True):
            if start + time >= until:
                return changes
            # Where the trace starts again at its own end, the last change of the round before wins.
            changes.append((start + time, count))
        start += trace.length
    return changes
