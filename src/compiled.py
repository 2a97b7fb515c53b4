"""Compiling the loops that see every character of the corpus.

Numba compiles a function at its first call for the types it is called with and keeps the machine
code, so only the first run on a machine pays for it. Compiled functions work on NumPy arrays and
numbers, hold no lock of the interpreter, and give the same result in any thread.

Numba itself only notices when the file of a function changes, not when a constant or a function
that it took from another file does; the old code would go on running after an update. So the
machine code is kept in a folder named by a fingerprint of all sources that compiled functions can
reach, and older folders are removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])

_OLD_SECONDS = 24 * 3600
_SOURCES = Path(__file__).parent
_IMPORT = re.compile(rb"^from (src(?:\.\w+)+) import", re.MULTILINE)
_COMPILES = re.compile(rb"^@(?:compiled|compiled_part|inlined)$", re.MULTILINE)


def compiled(function: Function) -> Function:
    """A function of arrays and numbers as machine code; as it is when NUMBA_DISABLE_JIT is set."""
    _use_own_cache()
    return cast("Function", numba.njit(cache=True, nogil=True)(function))


def compiled_part(function: Function) -> Function:
    """A function that compiled functions call; called from Python, it runs as Python.

    The ways into a compiled function from Python take longer to compile than most functions do:
    one of a few lines compiles in half the time without them. It is not kept by itself either.
    """
    return numba.extending.register_jitable(nogil=True, no_cfunc_wrapper=True)(function)


def inlined(function: Function) -> Function:
    """Like `compiled`, written into its callers: for steps as cheap as the call would be."""
    return cast("Function", numba.njit(inline="always")(function))


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers as a contiguous array that cannot be written to.

    Numba compiles a function anew for such arrays, which is what files and text columns give; made
    one kind, all are served by one compilation.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def machine_code_folder() -> Path:
    """Where the machine code of these sources is kept."""
    _use_own_cache()
    return Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]  # made at import


@cache
def _use_own_cache() -> None:
    if os.environ.get("NUMBA_CACHE_DIR"):
        return  # whoever sets this knows what is there
    home = _SOURCES / "__pycache__"
    home.mkdir(exist_ok=True) if os.access(_SOURCES, os.W_OK) else None
    if not os.access(home, os.W_OK):  # an installation that others own
        home = Path(tempfile.gettempdir()) / f"linguabridge-{os.getuid()}"
    folder = home / f"compiled-{fingerprint()}"
    for other in home.glob("compiled-*"):
        # Another process, started before an update, may still load from a young one.
        if other != folder and time.time() - other.stat().st_mtime > _OLD_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # made at import


def fingerprint() -> str:
    """Of the sources of all compiled functions and of everything of ours that they import."""
    texts = {path: path.read_bytes() for path in sorted(_SOURCES.rglob("*.py"))}
    reached = {path for path, text in texts.items() if _COMPILES.search(text)}
    waiting = list(reached)
    while waiting:
        for match in _IMPORT.finditer(texts[waiting.pop()]):
            path = _file_of(match[1].decode())
            if path in texts and path not in reached:
                reached.add(path)
                waiting.append(path)
    digest = hashlib.sha256()
    for path in sorted(reached):
        digest.update(f"{path.relative_to(_SOURCES)} {len(texts[path])}\n".encode())
        digest.update(texts[path])
    return digest.hexdigest()[:16]


def _file_of(module: str) -> Path:
    path = _SOURCES.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
