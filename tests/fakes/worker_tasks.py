"""Tasks for worker processes: one that dies, one that raises. Light, as each worker loads it."""

import os
import signal

from src.errors import DataError

BAD_TASK = 3


def die_at_bad_task(task: int) -> int:
    if task == BAD_TASK:
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * task


def refuse_bad_task(task: int) -> int:
    if task == BAD_TASK:
        raise DataError("three cannot be used")
    return 10 * task
