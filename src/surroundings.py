"""What a training run tells people, and what the cloud and the clock tell it.

The training loop knows of neither: it is given somebody to alert and reasons to stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.cloud.notice import stop_sources
from src.monitoring.alert import Alert, no_alert
from src.monitoring.alerts import open_alerts
from src.stop_source import StopSource

if TYPE_CHECKING:
    from src.schema import Config, TrainerConfig
    from src.training.parallel import Ranks


@dataclass(frozen=True)
class Surroundings:
    """The outside of a run.

    Attributes:
        alert: Takes kind and text of what somebody should hear of.
        stop_sources: Reasons to stop besides signals.
    """

    alert: Alert
    stop_sources: tuple[StopSource, ...]


@contextmanager
def open_surroundings(
    config: Config, section: TrainerConfig, ranks: Ranks
) -> Iterator[Surroundings]:
    """As configured; alerts that wait are sent before it closes, as far as time allows.

    One rank speaks for all, so that nobody is told twice.

    Raises:
        ConfigError: An alert channel lacks its secret.
    """
    if not ranks.is_main:
        yield Surroundings(no_alert, stop_sources(config.interruption))
        return
    with open_alerts(config.alerts, Path(section.output_dir)) as alerts:
        yield Surroundings(alerts.send, stop_sources(config.interruption, alerts.send))
