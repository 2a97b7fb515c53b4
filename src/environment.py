"""What must stand in the process environment before Paddle and its math library load.

Called once by the command line; nothing here is a channel between parts of the program.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

MKL_SWITCH = "MKL_DEBUG_CPU_TYPE"
MKL_FAST_PATH = "5"


def is_amd_processor() -> bool:
    """Whether this machine's processor is AMD's (Linux only; elsewhere False)."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def prepare_environment() -> None:
    """Makes Paddle's CPU libraries fast and quiet; what the user has set is left alone.

    The math library in Paddle's wheel takes its slow path on AMD processors unless told otherwise:
    matrix products take twice as long. Several ranks on one CPU share its cores, else each starts
    a thread per core and they wait for each other.
    """
    if is_amd_processor():
        os.environ.setdefault(MKL_SWITCH, MKL_FAST_PATH)
    ranks = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    threads = max(1, (os.cpu_count() or 1) // ranks)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("GLOG_minloglevel", "2")
    # Said by third-party packages at import; nothing a user of this program can act on.
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", message="Setuptools is replacing distutils")
