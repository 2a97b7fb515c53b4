"""Compiling the loops that see every character of the corpus.

Numba compiles a function at its first call for the types it is called with and keeps the machine
code beside the source, so only the first run on a machine pays for it. Compiled functions work on
NumPy arrays and numbers, hold no lock of the interpreter, and give the same result in any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """A function of arrays and numbers as machine code; as it is when NUMBA_DISABLE_JIT is set."""
    return cast("Function", numba.njit(cache=True, nogil=True)(function))
