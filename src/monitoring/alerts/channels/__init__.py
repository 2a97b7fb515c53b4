"""The services that carry alerts, one small class each."""

from src.monitoring.alerts.channels.channel import Channel, DeliveryFailed
from src.monitoring.alerts.channels.open import open_channels

__all__ = ["Channel", "DeliveryFailed", "open_channels"]
