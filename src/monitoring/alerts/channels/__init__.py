"""The services that carry alerts, one small class each."""

from src.monitoring.alerts.channels.channel import Channel, DeliveryFailed
from src.monitoring.alerts.channels.open import CHANNELS, open_channels, secret_variables

__all__ = ["CHANNELS", "Channel", "DeliveryFailed", "open_channels", "secret_variables"]
