"""What Paddle, its math library and the C library are told, so that a CPU computes fast.

Nothing here is a channel between parts of the program.
"""

from __future__ import annotations

import ctypes
import os
import platform
import warnings
from pathlib import Path

MKL_SWITCH = "MKL_DEBUG_CPU_TYPE"
MKL_FAST_PATH = "5"
# malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST_INT = 2**31 - 1
# Said by third-party packages; nothing a user of this program can act on.
UNACTIONABLE_WARNINGS = (  # regular expressions
    "No ccache found",
    "pkg_resources is deprecated",
    "Setuptools is replacing distutils",
    r"(?s).*API .paddle\.incubate\.nn\.functional\.swiglu",
)


def is_amd_processor() -> bool:
    """Whether this machine's processor is AMD's (Linux only; elsewhere False)."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def prepare_environment() -> None:
    """Makes Paddle's CPU libraries fast and quiet; what the user has set is left alone.

    Called once by the command line, before they load.

    The math library in Paddle's wheel takes its slow path on AMD processors unless told otherwise:
    matrix products take twice as long.
    """
    if is_amd_processor():
        os.environ.setdefault(MKL_SWITCH, MKL_FAST_PATH)
    os.environ.setdefault("GLOG_minloglevel", "2")
    # Else the tokenizer library remarks on every fork of a data worker.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for message in UNACTIONABLE_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def keep_freed_memory() -> None:
    """Makes large arrays on a CPU cheap to make: their memory stays with the process when they go.

    Paddle and NumPy take the memory of each from the C library. GNU's asks the system for every
    large one and hands it back at once, and the system clears each page anew: copying 32 MB then
    takes several times what it takes into memory that was used before. What the user has set for
    the allocator (`MALLOC_…`) is left alone; on other C libraries nothing happens.
    """
    is_set = any(name.startswith("MALLOC_") for name in os.environ)
    if is_set or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
