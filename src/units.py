"""Parsing and printing of quantities: bytes, seconds, counts.

One place, so that "1.5 GiB" and "2 h 05 min" look the same in every table.
"""

from __future__ import annotations

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_KIBI = 1024
_SHORT_SECONDS = 10


def format_bytes(count: float) -> str:
    """`1536` → `"1.5 KiB"`; binary units, one decimal above bytes."""
    value = float(count)
    for unit in _BYTE_UNITS[:-1]:
        if abs(value) < _KIBI:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KIBI
    return f"{value:.1f} {_BYTE_UNITS[-1]}"


def format_seconds(seconds: float) -> str:
    """`75` → `"1 min 15 s"`; the two largest units that matter."""
    if seconds < 0:
        return f"-{format_seconds(-seconds)}"
    if seconds < _SHORT_SECONDS:
        return f"{seconds:.1f} s"
    total = round(seconds)
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    if minutes:
        return f"{minutes} min {rest:02d} s"
    return f"{rest} s"


def format_count(count: float) -> str:
    """`18200` → `"18.2k"`; for rates and row counts in one-line logs."""
    for limit, divisor, suffix in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if abs(count) < limit:
            return f"{count / divisor:.1f}{suffix}" if suffix else f"{count:.0f}"
    return f"{count / 1e9:.1f}G"
