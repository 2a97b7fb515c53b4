"""Messages to people: what a run raises, over the chat services and mail that teams use.

`Alerts.send` writes the message into a spool and returns; one background thread delivers. So
training never waits for a network, and what a killed process could not send, its successor does.
"""

from src.monitoring.alerts.alerts import Alerts, open_alerts

__all__ = ["Alerts", "open_alerts"]
