"""What a reason to stop that comes from outside looks like to a training run.

The training loop knows of no cloud and no clock: it is handed such sources and lets them ask.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

Ask: TypeAlias = Callable[[str], None]
"""Asks the run to save and stop; takes the reason."""
StopSource: TypeAlias = Callable[[Ask], AbstractContextManager[object]]
"""Given `ask`, a context manager that is active while training and may ask to stop."""
