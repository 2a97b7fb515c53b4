"""Compiled functions that are written into their callers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def inlined(function: Function) -> Function:
    """Like `src.compiled.compiled`, for what loops do at every step: a call would cost as much."""
    return cast("Function", numba.njit(inline="always")(function))
