"""Replays of interruptions: conservation, limits, monotony, and the trace files."""

import itertools
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.errors import DataError
from src.planning.simulation_report import POLICIES, report
from src.planning.spot_simulation import Job, Policy, on_demand, simulate
from src.planning.traces import Trace, Window, read_trace, synthetic_traces, windows

ALWAYS = [[Window(0.0, math.inf)]]
HOUR = 3600.0

jobs = st.builds(
    Job,
    work_seconds=st.floats(600, 50 * HOUR),
    boot_seconds=st.floats(0, 900),
    restore_seconds=st.floats(0, 900),
    stall_seconds=st.floats(0, 60),
    upload_seconds=st.floats(0, 900),
    spot_ratio=st.floats(0.05, 1.0),
)
policies = st.builds(
    Policy,
    name=st.just("any"),
    moves=st.booleans(),
    interval_seconds=st.one_of(st.none(), st.floats(60, 4 * HOUR)),
    heeds_notice=st.booleans(),
    is_protected=st.booleans(),
)


@st.composite
def zones(draw):
    """One to three zones of up to forty windows."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        now, zone = 0.0, []
        for down, up in draw(
            st.lists(st.tuples(st.floats(1, 5 * HOUR), st.floats(60, 30 * HOUR)), max_size=40)
        ):
            zone.append(Window(now + down, now + down + up))
            now += down + up
        found.append(zone)
    return found


@given(jobs, policies, zones())
def test_every_second_is_accounted_for(job, policy, windows_of_zones):
    outcome = simulate(job, policy, windows_of_zones)
    parts = (outcome.useful, outcome.lost, outcome.stalled, outcome.starting, outcome.draining)
    assert all(part >= -1e-6 for part in (*parts, outcome.waiting))
    assert outcome.total == pytest.approx(sum(parts) + outcome.waiting)
    assert outcome.cost == pytest.approx(job.spot_ratio * outcome.paid, abs=1e-6)
    if outcome.is_finished:
        assert outcome.useful == pytest.approx(job.work_seconds)
        assert outcome.interruptions == outcome.launches - 1
    else:
        assert outcome.useful <= job.work_seconds * (1 + 1e-9)
        assert outcome.total >= job.horizon * (1 - 1e-9)


@given(jobs, st.floats(60, 4 * HOUR))
def test_without_interruptions_it_is_on_demand_and_the_overhead(job, interval):
    outcome = simulate(job, Policy("any", interval_seconds=interval), ALWAYS)
    saves = max(0, math.ceil(job.work_seconds / interval) - 1)
    whole = on_demand(job)
    assert outcome.total == pytest.approx(whole.total + saves * job.stall_seconds)
    assert outcome.cost == pytest.approx(job.spot_ratio * outcome.total)
    assert (outcome.lost, outcome.waiting, outcome.interruptions) == (0.0, 0.0, 0)
    assert whole.cost == pytest.approx(whole.total)


@given(jobs, policies, zones(), st.floats(0.05, 0.5))
def test_a_dearer_market_costs_more_and_changes_nothing_else(job, policy, found, ratio):
    cheap = simulate(replace(job, spot_ratio=ratio), policy, found)
    dear = simulate(replace(job, spot_ratio=2 * ratio), policy, found)
    assert dear.cost == pytest.approx(2 * cheap.cost)
    assert dear.total == pytest.approx(cheap.total)


@given(jobs, policies, zones(), st.floats(60, 4 * HOUR), st.floats(0, 20 * HOUR))
def test_a_deadline_that_can_be_met_is_met(job, policy, found, interval, slack):
    policy = replace(policy, interval_seconds=interval)
    saves = 1 + job.work_seconds / interval
    needed = on_demand(job).total + saves * job.stall_seconds
    loss = job.start_seconds + max(300.0, interval + job.stall_seconds + job.upload_seconds)
    deadline = needed + loss + slack
    outcome = simulate(replace(job, deadline_seconds=deadline), policy, found)
    assert outcome.is_finished
    # Where saves fall within the rest of the work moves it by one stall.
    assert outcome.total <= deadline + job.stall_seconds
    assert outcome.on_demand <= outcome.paid + 1e-6


def test_a_notice_loses_nothing_when_the_save_is_quick():
    found = [[Window(0, 5 * HOUR), Window(6 * HOUR, 100 * HOUR)]]
    job = Job(work_seconds=10 * HOUR, stall_seconds=10, upload_seconds=100)
    without = simulate(job, Policy("a", interval_seconds=2 * HOUR), found)
    with_notice = simulate(job, Policy("b", interval_seconds=2 * HOUR, heeds_notice=True), found)
    assert with_notice.lost == 0
    assert without.lost > 0
    assert with_notice.total < without.total
    slow = Job(work_seconds=10 * HOUR, stall_seconds=10, upload_seconds=1000)
    assert simulate(slow, Policy("c", interval_seconds=2 * HOUR, heeds_notice=True), found).lost > 0


def test_one_reclaim_by_hand():
    # Boot 100 + restore 0; saves after 1000 s of work, stall 10, durable 50 later. Taken at 3000:
    # two saves are durable (at 1160 and 2170), 890 - 10 s of the third interval are lost.
    job = Job(4000, boot_seconds=100, restore_seconds=0, stall_seconds=10, upload_seconds=50)
    found = [[Window(0, 3000), Window(3500, math.inf)]]
    outcome = simulate(job, Policy("a", interval_seconds=1000), found)
    assert outcome.useful == pytest.approx(4000)
    assert outcome.lost == pytest.approx(3000 - 100 - 2 * 1010)
    assert outcome.waiting == pytest.approx(500)
    # The second machine: 2000 s are left, one save between, the last one and its upload.
    assert outcome.total == pytest.approx(3500 + 100 + 2000 + 10 + 10 + 50)


def test_another_zone_is_used_when_home_has_nothing():
    found = [[Window(50 * HOUR, math.inf)], [Window(0, math.inf)]]
    job = Job(work_seconds=HOUR)
    assert simulate(job, Policy("a", moves=True), found).waiting == 0
    assert simulate(job, Policy("a", moves=False), found).waiting == pytest.approx(50 * HOUR)


def test_a_job_that_never_gets_a_machine_ends():
    outcome = simulate(Job(work_seconds=HOUR), Policy("a"), [[]])
    assert not outcome.is_finished
    assert outcome.cost == 0


def test_generated_traces_repeat_with_their_seed():
    assert synthetic_traces(zones=3, seed=1) == synthetic_traces(zones=3, seed=1)
    assert synthetic_traces(zones=3, seed=1) != synthetic_traces(zones=3, seed=2)


@given(st.integers(0, 100), st.floats(0, 1e6))
def test_windows_are_ascending_and_apart(seed, offset):
    trace = synthetic_traces(zones=1, seed=seed)[0]
    found = windows(trace, until=1e6, offset=offset, seed=seed)
    for before, after in itertools.pairwise(found):
        assert before.start < before.end <= after.start
    assert all(0 <= window.start < window.end <= 1e6 + 1e-6 for window in found)


def test_a_single_machine_follows_its_trace_exactly():
    trace = Trace("t", (0.0, 100.0, 150.0, 300.0), (1, 0, 1, 0), 400.0)
    found = windows(trace, until=800.0, offset=0.0, seed=0)
    assert found == [
        Window(0, 100), Window(150, 300), Window(400, 500), Window(550, 700)
    ]  # fmt: skip


def test_a_larger_share_of_a_fleet_is_hit_more_often():
    def taken(left):
        trace = Trace("t", (0.0, 50.0), (10, left), 100.0)
        return sum(
            len(windows(trace, until=100.0, offset=0.0, seed=seed)) == 1
            and windows(trace, until=100.0, offset=0.0, seed=seed)[0].end == 50.0
            for seed in range(400)
        )

    assert taken(9) == pytest.approx(40, abs=20)
    assert taken(2) == pytest.approx(320, abs=30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("1,2,3\n", "line 1 is '1,2,3', not"),
        ("a,b\n", "not `time,instances`"),
        ("10,1\n5,1\n", "line 2: time 5 is before"),
        ("-1,1\n", "negative or endless"),
        ("nan,1\n", "negative or endless"),
    ],
)
def test_a_bad_trace_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_trace(path)


def test_a_missing_trace_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_trace(tmp_path / "none.csv")


def test_whole_numbers_are_seconds_and_others_hours(tmp_path):
    seconds, hours = tmp_path / "s.csv", tmp_path / "h.csv"
    seconds.write_text("0,1\n3600,1\n3600,0\n7200,0\n", encoding="utf-8")
    hours.write_text("0.000,1\n1.000,1\n1.000,0\n2.000,0\n", encoding="utf-8")
    assert read_trace(seconds).times == read_trace(hours).times == (0.0, 3600.0, 7200.0)
    assert read_trace(seconds).counts == (1, 0, 0)


def test_policies_improve_step_by_step_on_generated_traces():
    found = report(Job(work_seconds=72 * HOUR), synthetic_traces(zones=3, seed=0), starts=10)
    by_name = {each.policy.name: each for each in found}
    assert [each.policy for each in found] == list(POLICIES)
    rare, often = by_name["failover, every 2 h"], by_name["failover, every 10 min"]
    automatic, notice = by_name["failover, Young/Daly"], by_name["… and the notice"]
    assert often.lost < rare.lost
    cost = {each.policy.name: each.cost or math.inf for each in found}
    best_fixed = min(cost[each.policy.name] for each in (rare, often))
    assert cost[automatic.policy.name] <= best_fixed * 1.01
    assert notice.lost == 0
    assert cost[notice.policy.name] < cost[automatic.policy.name] < 0.5


@pytest.mark.skipif(
    "LINGUABRIDGE_SHARED_DATA" not in os.environ,
    reason="LINGUABRIDGE_SHARED_DATA names no folder with recorded traces",
)
def test_recorded_traces_replay():
    folder = Path(os.environ["LINGUABRIDGE_SHARED_DATA"]) / "cloud" / "bamboo_traces"
    traces = [read_trace(path) for path in sorted(folder.glob("*00.csv"))]
    job = Job(work_seconds=24 * HOUR, deadline_seconds=60 * HOUR)
    for each in report(job, traces, starts=5):
        assert each.finished == 1.0
        assert 0.2 < (each.cost or math.inf) < 1.5
