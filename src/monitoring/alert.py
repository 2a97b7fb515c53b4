"""What people can be told of a run, and the function that a part of the program tells it with.

Whatever happens to a run it says to an `Alert`; where that goes, to people or only into the log, is
decided by whoever starts the run. `src.monitoring.alerts` sends; here are the ones that do not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Alert: TypeAlias = Callable[[str, str], object]
"""Takes kind and text of an event; logs it, never raises, never blocks."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """One kind of event.

    Attributes:
        title: What happened.
        advice: What the reader should do; empty when there is nothing to do.
        is_trouble: Whether it is logged as a warning.
    """

    title: str
    advice: str = ""
    is_trouble: bool = True


KINDS: dict[str, Kind] = {
    "started": Kind("training started", is_trouble=False),
    "epoch": Kind("epoch done", is_trouble=False),
    "validation_rising": Kind(
        "validation loss is rising",
        "The best weights so far are kept in best/. If it goes on, stop the run or set "
        "early_stopping_patience.",
    ),
    "spike": Kind("loss spike", "Nothing yet: the run watches it. Look at curves.html if it goes."),
    "non_finite": Kind(
        "loss or gradients are not finite",
        "The step was skipped. If it comes again, lower learning_rate.",
    ),
    "rollback": Kind(
        "rolled back to an earlier checkpoint",
        "It goes on with a lower learning rate. Look at curves.html whether it recovers.",
    ),
    "notice": Kind(
        "the machine is being taken away",
        "Nothing if `run` rents the machines; else start it again on another one: it resumes.",
    ),
    "resumed": Kind("training goes on", is_trouble=False),
    "restarted": Kind(
        "training crashed and starts again",
        "Nothing, unless it comes again and again.",
    ),
    "budget": Kind("budget", "Raise cloud.budget to go on, or let it end here."),
    "save_failed": Kind(
        "a checkpoint could not be saved",
        "Look at once: free disk space, or check the checkpoint store and its key.",
    ),
    "low_gpu": Kind(
        "the GPU idles",
        "Raise batch_size or dataloader_num_workers; `run.py monitor` shows what it waits for.",
    ),
    "finished": Kind("training finished", is_trouble=False),
    "failed": Kind("training failed", "Read the end of its log, mend the cause, start it again."),
    "test": Kind("test message", "Nothing: alerts reach you.", is_trouble=False),
}


def log_alert(kind: str, text: str) -> None:
    """Tells of an event in the log alone; a kind that is not known is shown as it is."""
    known = KINDS.get(kind)
    level = logging.INFO if known and not known.is_trouble else logging.WARNING
    logger.log(level, "%s: %s", known.title if known else kind, text)


def no_alert(_kind: str, _text: str) -> None:
    """Where nobody is to be told, e.g. on ranks that leave it to the main one."""
