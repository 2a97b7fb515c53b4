"""Every event of a run is told once, whoever sees it."""

from dataclasses import replace

import pytest

from src.cloud.herald import Herald
from src.cloud.objects import Objects
from src.cloud.run_state import End, Launch, RunState
from src.errors import StoreError

FIRST = Launch(1, "cn-hangzhou", "cn-hangzhou-h", "ecs.gn7i", "spot", 1.0, 0.1, {})
SECOND = replace(FIRST, number=2, market="on_demand")
LOST = End(1, "i-1", "reclaimed", 0.0, 120.0)
GIVEN_UP = End(2, "i-2", "failed with exit code 1", 0.0, 60.0, is_released=True)


@pytest.fixture
def state(tmp_path):
    return RunState(Objects(f"file://{tmp_path}/bucket"), "r")


def herald(state):
    told = []
    return Herald(state, lambda kind, text: told.append((kind, text))), told


def happened(state):
    """Two instances came and went, and the run was asked to stop; nobody has told a word."""
    for launch, end in ((FIRST, LOST), (SECOND, GIVEN_UP)):
        assert state.announce(launch)
        state.note_instance(launch, end.instance_id)
        state.settle(end)
    state.stop("the budget is used up")


def test_successor_tells_what_a_killed_controller_did_not(state):
    happened(state)
    successor, told = herald(state)
    successor.tell()
    assert told == [
        ("started", "instance 1: ecs.gn7i, spot"),
        ("notice", "i-1 in cn-hangzhou-h is gone after 2 min 00 s"),
        ("resumed", "instance 2: ecs.gn7i, on-demand"),
        ("failed", "instance 2 is given up, failed with exit code 1; the run goes on"),
        ("budget", "the budget is used up"),
    ]
    another, again = herald(state)
    another.tell()
    successor.tell()
    assert (again, len(told)) == ([], 5)


def test_of_two_controllers_one_tells(state):
    assert state.announce(FIRST)
    (one, told_by_one), (other, told_by_other) = herald(state), herald(state)
    one.tell()
    other.tell()  # both have read what was told: nothing; from here on the claim decides
    state.note_instance(FIRST, "i-1")
    one.tell()
    other.tell()
    other.reclaimed(FIRST, "i-1")
    one.reclaimed(FIRST, "i-1")
    assert told_by_one == [("started", "instance 1: ecs.gn7i, spot")]
    assert told_by_other == [("notice", "i-1 will be taken away within 5 minutes")]


def test_bucket_that_is_away_for_a_moment_swallows_nothing(state, tmp_path):
    assert state.announce(FIRST)
    state.note_instance(FIRST, "i-1")
    teller, told = herald(state)
    teller.reclaimed(SECOND, "i-2")
    bucket = tmp_path / "bucket"
    bucket.rename(tmp_path / "away")
    bucket.touch()  # nothing can be made below a file
    with pytest.raises(StoreError):
        teller.reclaimed(FIRST, "i-1")
    bucket.unlink()
    (tmp_path / "away").rename(bucket)
    teller.reclaimed(FIRST, "i-1")
    assert [text.split()[0] for _, text in told] == ["i-2", "i-1"]


def test_instance_that_is_released_when_it_is_done_is_no_news(state):
    assert state.announce(FIRST)
    state.settle(replace(LOST, reason="done", is_released=True))
    quiet, told = herald(state)
    quiet.tell()
    assert told == []


def test_end_is_told_again_only_after_a_person_started_the_run_again(state):
    assert state.announce(FIRST)
    state.finish(1, "failed 3 times in a row")
    first, told = herald(state)
    first.tell()
    second, again = herald(state)
    second.tell()
    assert (told, again) == ([("failed", "failed 3 times in a row")], [])
    state.reopen()
    state.finish(0, "done")
    later, told = herald(state)
    later.tell()
    assert told == [("finished", "done")]
