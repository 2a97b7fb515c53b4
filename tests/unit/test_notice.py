"""Reasons to stop that come from outside, against a local metadata service and a set clock."""

import contextlib
import logging
import threading
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.cloud.notice import deadline_source, notice_source, read_termination_time, stop_sources
from src.cloud.off_peak import OffPeak
from src.config import load_config
from src.errors import ConfigError
from src.metadata_service import MetadataService, MetadataUnavailable
from tests.fakes.local_server import NOWHERE
from tests.fakes.metadata_service import metadata_service

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
SOON = 0.005  # seconds between two questions


class Loop:
    """The training loop's side: takes up what it is asked and told."""

    def __init__(self):
        self.reasons = []
        self.alerts = []
        self.asked = threading.Event()
        self.told = threading.Event()

    def ask(self, reason):
        self.reasons.append(reason)
        self.asked.set()

    def alert(self, kind, text):
        assert self.asked.is_set(), "stopping comes first"
        self.alerts.append((kind, text))
        self.told.set()


@pytest.fixture(params=[False, True], ids=["normal", "hardened"])
def service(request):
    with metadata_service(is_hardened=request.param) as running:
        yield running


@contextlib.contextmanager
def watching(url, loop):
    source = notice_source(url, poll_seconds=SOON, alert=loop.alert, clock=lambda: NOW)
    with source(loop.ask):
        yield


def test_notice_stops_the_run_once_and_tells_the_deadline(service):
    loop = Loop()
    with watching(service.url, loop):
        service.wait_for_requests(4)
        assert loop.reasons == []
        service.announce_release(NOW + timedelta(seconds=297))
        assert loop.told.wait(60)
    assert loop.reasons == ["the cloud's notice that this machine goes at 12:04:57 UTC"]
    assert loop.alerts == [
        (
            "notice",
            "this machine is released at 12:04:57 UTC, in 4 min 57 s; the step in flight is "
            "finished and saved",
        )
    ]


def test_one_token_serves_many_questions_and_a_stale_one_is_renewed(service):
    with watching(service.url, Loop()):
        service.wait_for_requests(6)
        assert sum(line.startswith("PUT") for line in service.requests) == 1
        service.forget_tokens()
        service.wait_for_requests(6)
    assert sum(line.startswith("PUT") for line in service.requests) == 2


def test_token_is_renewed_before_it_ends(service):
    now = [0.0]
    with MetadataService(service.url, clock=lambda: now[0]) as metadata:
        assert metadata.read("instance-id") == "i-bp1fake"
        now[0] = 3600.0
        assert metadata.read("instance-id") == "i-bp1fake"
    assert [line[:3] for line in service.requests] == ["PUT", "GET", "PUT", "GET"]


def test_watching_ends_with_the_run(service):
    with watching(service.url, Loop()):
        service.wait_for_requests(2)
    assert [each for each in threading.enumerate() if each.name == "reclaim notice"] == []


@pytest.mark.parametrize(
    "fault", [(200, "<html>Please log in</html>"), (403, "403"), (500, "oops"), (302, "")]
)
def test_answers_that_are_no_moment_are_no_notice_and_said_once(service, caplog, fault):
    caplog.set_level(logging.INFO)
    service.fault = fault
    loop = Loop()
    with watching(service.url, loop):
        service.wait_for_requests(10)
        assert caplog.text.count("does not answer (it answers ") == 1
        service.fault = None
        service.wait_for_requests(4)
        assert caplog.text.count("answers again") == 1
        service.announce_release(NOW)
        assert loop.asked.wait(60)
    assert len(loop.reasons) == 1


def test_nobody_there_is_said_once_with_the_remedy(caplog):
    loop = Loop()
    said = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record):
            said.set()

    logger = logging.getLogger("src.cloud.notice")
    listener = Listener()
    logger.addHandler(listener)
    try:
        with watching(NOWHERE, loop):
            assert said.wait(60)
    finally:
        logger.removeHandler(listener)
    assert f"the metadata service {NOWHERE} does not answer (it cannot be reached)" in caplog.text
    assert "set interruption.reclaim_notice=never" in caplog.text
    assert loop.reasons == []


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-11-21 12:00:00", "null", "2026-13-01T00:00:00Z"]
)
def test_other_texts_are_no_moment(service, text):
    service.items["instance/spot/termination-time"] = text
    with MetadataService(service.url) as metadata, pytest.raises(MetadataUnavailable):
        read_termination_time(metadata)


# Which sources there are


def sources(*overrides, clock=lambda: NOW, alert=lambda kind, text: None):
    return stop_sources(load_config([], overrides).interruption, alert, clock=clock)


def test_other_machines_ask_nothing(monkeypatch):
    monkeypatch.setattr("src.cloud.notice.is_alibaba_machine", lambda: False)
    assert sources() == ()
    assert len(sources("interruption.reclaim_notice=always")) == 1
    monkeypatch.setattr("src.cloud.notice.is_alibaba_machine", lambda: True)
    assert len(sources()) == 1
    assert sources("interruption.reclaim_notice=never") == ()


def test_configured_address_is_asked(service):
    loop = Loop()
    service.announce_release(NOW)
    (source,) = sources(
        "interruption.reclaim_notice=always", f"interruption.metadata_url={service.url}"
    )
    with source(loop.ask):
        assert loop.asked.wait(60)


# Deadlines


def test_deadline_stops_the_run_when_the_wall_clock_says_so():
    loop, now = Loop(), [NOW]
    looked = threading.Semaphore(0)

    def clock():
        looked.release()
        return now[0]

    ends_at = NOW + timedelta(milliseconds=20)
    with deadline_source(ends_at, "the end", clock=clock)(loop.ask):
        assert looked.acquire(timeout=60)
        assert looked.acquire(timeout=60)
        assert loop.reasons == []
        now[0] = ends_at
        assert loop.asked.wait(60)
    assert loop.reasons == ["the end"]


def test_deadline_that_has_passed_stops_at_once():
    loop = Loop()
    with deadline_source(NOW, "the end", clock=lambda: NOW)(loop.ask):
        assert loop.asked.wait(60)


def test_distant_deadline_does_not_hold_up_the_end_of_a_run():
    loop = Loop()
    with deadline_source(NOW + timedelta(days=9), "the end", clock=lambda: NOW)(loop.ask):
        pass
    assert loop.reasons == []


@pytest.mark.parametrize("hours", ["00:00-12:00", "13:00-20:00"])
def test_off_peak_hours_end_a_run(hours):
    loop, now = Loop(), [NOW - timedelta(seconds=1)]
    (source,) = sources(
        "interruption.reclaim_notice=never",
        f"interruption.off_peak='{hours}'",
        "interruption.timezone=UTC",
        clock=lambda: now[0],
    )
    now[0] = NOW
    with source(loop.ask):
        assert loop.asked.wait(60)
    assert loop.reasons == [f"the end of interruption.off_peak={hours}"]


@pytest.mark.parametrize("text", ["8-9", "08:00-08:00", "24:00-08:00", "'08:00'"])
def test_hours_are_checked(text):
    with pytest.raises(ConfigError, match="write it as HH:MM-HH:MM"):
        load_config([], [f"interruption.off_peak={text}"])
    with pytest.raises(ConfigError, match="not a known time zone"):
        load_config([], ["interruption.timezone=Mars/Olympus"])


zones = st.sampled_from(["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York"])
clocks = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))
moments = st.integers(1_577_836_800, 1_893_456_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, timezone.utc)
)


@given(clocks, clocks, zones, moments)
def test_hours_begin_and_end_where_they_say(begin, end, zone, moment):
    if begin == end:
        return
    hours = OffPeak.parse(f"{begin:%H:%M}-{end:%H:%M}", zone)
    next_begin, next_end = hours.next_begin(moment), hours.next_end(moment)
    assert next_begin.time() == begin
    assert next_end.time() == end
    for edge in (next_begin, next_end):
        assert moment.astimezone(hours.zone).replace(tzinfo=None) < edge.replace(tzinfo=None)
        assert edge - moment <= timedelta(hours=26)
    # Inside, the end comes first; outside, the beginning does.
    assert hours.contains(moment) == (
        next_end.replace(tzinfo=None) < next_begin.replace(tzinfo=None)
    )
