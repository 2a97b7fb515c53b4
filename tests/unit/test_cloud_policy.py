from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.cloud.facts import ON_DEMAND, SPOT, Machine
from src.cloud.policy import BUDGET, OFF_PEAK, View, in_window, is_budget_used_up, next_action
from src.cloud.progress import failures_in_a_row, hours_left
from src.cloud.run_state import End, Launch, Status
from src.schema import CloudConfig

NOON = datetime(2026, 5, 4, 4, 0, tzinfo=timezone.utc).timestamp()  # 12:00 in Shanghai
MACHINE = Machine("i-1", "r", "r-a", "t", "Running", False, datetime.now(timezone.utc), None, "")


def view(**changes):
    standard = {
        "now": NOON,
        "started_at": NOON - 3600,
        "machine": None,
        "status": None,
        "silent_seconds": 0.0,
        "stopping_seconds": None,
        "stop_reason": None,
        "spent": 0.0,
        "hourly": 4.0,
        "hours_left": 10.0,
        "failures": 0,
        "last_code": None,
    }
    return View(**{**standard, **changes})


def decide(cloud=None, **changes):
    return next_action(view(**changes), CloudConfig(**(cloud or {})))


def test_run_without_a_machine_launches_spot():
    action = decide()
    assert (action.kind, action.market) == ("launch", SPOT)


def test_launch_that_is_not_listed_yet_is_waited_for():
    assert decide(is_pending=True).kind == "wait"


def test_machine_that_works_is_left_alone():
    assert decide(machine=MACHINE, status=Status("0001", 5, "training")).kind == "wait"


@pytest.mark.parametrize("phase", ["done", "failed", "interrupted"])
def test_machine_whose_work_has_ended_is_released(phase):
    action = decide(machine=MACHINE, status=Status("0001", 5, phase, exit_code=1))
    assert action.kind == "release"


def test_machine_that_was_switched_off_is_released():
    stopped = Machine(
        "i-1",
        "r",
        "r-a",
        "t",
        "Stopped",
        True,
        datetime.now(timezone.utc),
        None,
        "",
    )
    assert decide(machine=stopped).reason == "reclaimed"


def test_machine_that_is_silent_for_too_long_is_released():
    cloud = {"silence_minutes": 30}
    assert decide(cloud, machine=MACHINE, silent_seconds=1799).kind == "wait"
    assert decide(cloud, machine=MACHINE, silent_seconds=1801).kind == "release"


def test_done_run_ends_with_zero():
    action = decide(status=Status("0001", 5, "done"))
    assert (action.kind, action.exit_code) == ("finish", 0)


def test_training_that_refuses_its_configuration_is_not_tried_again():
    action = decide(status=Status("0001", 5, "failed", message="no such key"), last_code=2)
    assert (action.kind, action.exit_code) == ("finish", 2)
    assert action.reason == "the training refuses to start: no such key"


def test_failures_without_progress_end_the_run_with_the_last_words():
    status = Status("0003", 5, "failed", message="CUDA error")
    action = decide({"max_failures": 3}, status=status, failures=3)
    assert action.reason == "3 instances in a row got no further: CUDA error"
    assert decide({"max_failures": 3}, status=status, failures=2).kind == "launch"


def test_budget_stops_the_training_first_and_then_the_run():
    cloud = {"budget": 20.0}
    assert decide(cloud, machine=MACHINE, spent=19.9).kind == "stop"
    stopping = {"stop_reason": BUDGET, "spent": 19.9}
    assert decide(cloud, machine=MACHINE, stopping_seconds=10, **stopping).kind == "wait"
    assert decide(cloud, machine=MACHINE, stopping_seconds=361, **stopping).kind == "release"
    action = decide(cloud, **stopping)
    assert (action.kind, action.exit_code, action.reason) == ("finish", 75, BUDGET)


def test_budget_keeps_enough_for_saving():
    cloud = CloudConfig(budget=20.0, stop_minutes=6, poll_seconds=30)
    # 4 CNY/h for 7 minutes are 0.4667 CNY.
    assert not is_budget_used_up(view(spent=19.53), cloud)
    assert is_budget_used_up(view(spent=19.54), cloud)


def test_deadline_turns_to_on_demand_only_when_spot_cannot_make_it():
    cloud = {"deadline_hours": 15.0, "restart_minutes": 12}
    # 11 h of work with margin and two restarts of 0.2 h: 11.4 h are needed.
    assert decide(cloud, started_at=NOON - 3.5 * 3600).market == SPOT
    assert decide(cloud, started_at=NOON - 3.7 * 3600).market == ON_DEMAND


def test_off_peak_window_stops_waits_and_resumes():
    cloud = {"off_peak": "00:00-08:00"}
    assert decide(cloud, machine=MACHINE).reason == OFF_PEAK
    assert decide(cloud, stop_reason=OFF_PEAK).kind == "wait"
    night = NOON + 13 * 3600
    assert decide(cloud, now=night, stop_reason=OFF_PEAK).kind == "resume"
    assert decide(cloud, now=night).kind == "launch"


def test_request_to_stop_ends_the_run_when_no_machine_lives():
    action = decide(stop_reason="the user")
    assert (action.kind, action.exit_code) == ("finish", 75)


@given(st.integers(0, 23), st.integers(0, 23), st.integers(0, 23))
def test_window_and_its_complement_cover_the_day(begin, end, hour):
    if begin == end:
        return
    moment = datetime(2026, 5, 4, hour, 30, tzinfo=timezone.utc).timestamp()
    inside = in_window(moment, f"{begin:02d}:00-{end:02d}:00", "UTC")
    outside = in_window(moment, f"{end:02d}:00-{begin:02d}:00", "UTC")
    assert inside != outside


@given(
    spent=st.floats(0, 100),
    hourly=st.floats(0, 20),
    budget=st.floats(1, 100),
    has_machine=st.booleans(),
    phase=st.sampled_from(["training", "done", "failed", "interrupted", None]),
)
def test_nothing_is_launched_once_the_budget_is_used_up(spent, hourly, budget, has_machine, phase):
    status = None if phase is None else Status("0001", 3, phase)
    current = view(
        spent=spent, hourly=hourly, machine=MACHINE if has_machine else None, status=status
    )
    cloud = CloudConfig(budget=budget)
    action = next_action(current, cloud)
    if is_budget_used_up(current, cloud):
        assert action.kind in ("stop", "release", "finish")


# Progress


def test_hours_left_come_from_the_speed_the_run_has_shown():
    first = Status("0001", 9, "training", progress=0.25, training_seconds=3600)
    second = Status("0002", 9, "training", progress=0.5, training_seconds=3600)
    assert hours_left({1: first, 2: second}, 99.0) == pytest.approx(2.0)
    assert hours_left({1: None}, 8.0) == 8.0


def launch(number):
    return Launch(number, "r", "r-a", "t", "spot", 0.0, 0.0, {})


def test_failures_count_only_while_nothing_is_gained():
    launches = [launch(1), launch(2), launch(3)]
    ends = {n: End(n, f"i-{n}", "failed with exit code 1") for n in (1, 2, 3)}
    stuck = {n: Status(f"{n:04d}", 1, "failed", step=7) for n in (1, 2, 3)}
    assert failures_in_a_row(launches, ends, stuck) == 2
    gaining = {n: Status(f"{n:04d}", 1, "failed", step=7 * n) for n in (1, 2, 3)}
    assert failures_in_a_row(launches, ends, gaining) == 0
    ends[3] = End(3, "i-3", "reclaimed")
    assert failures_in_a_row(launches, ends, stuck) == 0
