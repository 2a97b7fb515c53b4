from __future__ import annotations

import signal

import pytest

from src.errors import EXIT_KILLED_BY_USER
from src.training.interrupt import StopRequest


@pytest.mark.parametrize("others", [[], [signal.SIGTERM]])
def test_a_second_ctrl_c_ends_at_once_whoever_has_asked_before(others: list[signal.Signals]):
    with StopRequest() as stop:
        for number in (*others, signal.SIGINT):
            signal.raise_signal(number)
        first = (*others, signal.SIGINT)[0]
        assert stop.reason == first.name
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == EXIT_KILLED_BY_USER


def test_only_ctrl_c_ends_at_once():
    with StopRequest() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert stop.reason == "SIGTERM"
