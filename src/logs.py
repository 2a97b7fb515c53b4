"""Logging for people at a terminal: set up once, from `main`, never at import.

Rank 0 speaks at INFO, other ranks only when something is wrong, each with its rank in front.
Machine-readable results never go through here: they are `metrics.jsonl`, `report.json` and
`summary.json`.
"""

from __future__ import annotations

import logging
import os
import sys
import time


class _RankPrefix(logging.Formatter):
    """`12:31:02 [1/4] WARNING message`; no level for INFO, no rank for a single process."""

    def __init__(self, rank: int, world_size: int) -> None:
        super().__init__()
        self._rank = f"[{rank}/{world_size}] " if world_size > 1 else ""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        text = f"{clock} {self._rank}{level}{record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def set_up_logging(*, verbose: bool = False) -> None:
    """Sends the project's log lines to stderr; libraries speak only from WARNING on."""
    rank = int(os.environ.get("PADDLE_TRAINER_ID", "0"))
    world_size = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_RankPrefix(rank, world_size))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    level = logging.DEBUG if verbose else logging.INFO
    logging.getLogger("src").setLevel(level if rank == 0 else logging.WARNING)
