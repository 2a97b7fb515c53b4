"""Progress lines: rate and time left, about every five seconds, from what this run did."""

import logging

import pytest

from src.tasks.progress import Progress


def test_progress_speaks_every_five_seconds_and_not_at_the_end(caplog: pytest.LogCaptureFixture):
    now = [0.0]
    progress = Progress("filtering", 3000, done=1000, clock=lambda: now[0])
    with caplog.at_level(logging.INFO, logger="src.tasks.progress"):
        for seconds, pairs in ((4.0, 300), (8.0, 500), (10.0, 200), (20.0, 1000)):
            now[0] = seconds
            progress.add(pairs)
    assert [record.getMessage() for record in caplog.records] == [
        "filtering 1,800 of 3,000 pairs  60 %  100 pairs/s  12 s left"
    ]
