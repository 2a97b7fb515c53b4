"""Asking again: how often, how far apart, for how long, and after which errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import CloudError, StoreError
from src.retry import Retry

AWAY = StoreError("it is away", "wait", is_temporary=True)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def sleep(self, seconds):
        self.now += seconds
        self.waits.append(seconds)

    def retry(self, **settings):
        return Retry(sleep=self.sleep, clock=lambda: self.now, **settings)


def refuse():
    raise AWAY


def test_waits_double_up_to_a_limit_and_end_with_the_last_error():
    clock = Clock()
    retry = clock.retry(attempts=6, first_wait_seconds=1, longest_wait_seconds=4)
    with pytest.raises(StoreError, match="it is away"):
        retry.call(refuse)
    assert len(clock.waits) == 5
    for wait, most in zip(clock.waits, (1, 2, 4, 4, 4), strict=True):
        assert most / 2 <= wait <= most


def test_error_that_does_not_pass_is_not_tried_again():
    clock, calls = Clock(), []

    def refuse():
        calls.append(1)
        raise StoreError("no such bucket", "make it")

    with pytest.raises(StoreError):
        clock.retry().call(refuse)
    assert (len(calls), clock.waits) == (1, [])


def test_errors_that_pass_are_those_that_are_named():
    clock = Clock()

    def refuse():
        raise CloudError("slow down", "wait", "Throttling")

    with pytest.raises(CloudError):
        clock.retry().call(refuse)
    assert clock.waits == []
    with pytest.raises(CloudError):
        clock.retry(attempts=3, may_pass=lambda error: isinstance(error, CloudError)).call(refuse)
    assert len(clock.waits) == 2


def test_success_after_failures_is_the_result_and_each_failure_was_told():
    clock, told, answers = Clock(), [], iter([AWAY, AWAY, "there"])

    def ask():
        answer = next(answers)
        if isinstance(answer, StoreError):
            raise answer
        return answer

    retry = clock.retry(attempts=None, tell=lambda error, attempt: told.append((error, attempt)))
    assert retry.call(ask) == "there"
    assert told == [(AWAY, 1), (AWAY, 2)]


@given(
    attempts=st.none() | st.integers(1, 9),
    first=st.floats(0.5, 10),
    longest=st.floats(0.5, 10),
    limit=st.floats(0.0, 60),
    jitter=st.floats(0, 1),
)
def test_neither_attempts_nor_time_are_exceeded(attempts, first, longest, limit, jitter):
    clock, calls = Clock(), []

    def refuse():
        calls.append(clock.now)
        raise AWAY

    retry = clock.retry(
        attempts=attempts,
        first_wait_seconds=first,
        longest_wait_seconds=max(first, longest),
        longest_seconds=limit,
        jitter=lambda: jitter,
    )
    with pytest.raises(StoreError):
        retry.call(refuse)
    assert calls[-1] <= limit
    assert attempts is None or len(calls) <= attempts
    assert all(first / 2 <= wait <= max(first, longest) for wait in clock.waits)
    # It gave up because one more attempt was not allowed.
    following = min(first * 2 ** min(len(clock.waits), 30), max(first, longest))
    assert len(calls) == attempts or clock.now + following * (0.5 + jitter / 2) > limit
