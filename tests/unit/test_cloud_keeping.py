"""Keeping a run alive within its limits, and taking it down: against a local service."""

from datetime import datetime, timezone

import pytest

from src.cloud.alarm_keeper import AlarmKeeper
from src.cloud.alarms import CloudMonitor
from src.cloud.ecs import Credentials
from src.cloud.facts import ON_DEMAND, Machine
from src.cloud.policy import BUDGET
from src.errors import CloudError, ConfigError
from tests.fakes.cloud_monitor import cloud_monitor
from tests.fakes.rpc_signature import KEY_ID, SECRET
from tests.fakes.spot_rental import actions, rent, report, service, started, world

__all__ = ["rent", "service", "world"]  # fixtures


# Keeping


def test_life_of_a_living_instance_is_extended(rent, world):
    controller = started(rent("cloud.orphan_hours=2"))
    controller.turn()
    (instance,) = world.living()
    before = instance.releases_at
    report(rent(), beat=1, phase="training")
    world.skip(1.2 * 3600)
    controller.turn()
    assert instance.releases_at == pytest.approx(before + 1.2 * 3600, abs=200)


def test_orphan_releases_itself(rent, world):
    started(rent("cloud.orphan_hours=2")).turn()
    world.skip(2 * 3600 + 60)
    world.advance()
    assert world.living() == []


def test_life_is_no_longer_than_the_budget_allows(rent, world):
    started(rent("cloud.orphan_hours=6", "cloud.budget=5")).turn()
    (instance,) = world.living()
    price = world.spot(instance.zone, instance.instance_type, world.now()) + 0.07
    assert instance.releases_at - world.now() == pytest.approx(5 / price * 3600, abs=120)


def test_budget_ends_the_run_below_it_and_gives_everything_back(rent, world):
    rental = rent("cloud.budget=6", "cloud.silence_minutes=100000", "cloud.poll_seconds=120")
    code, reason = rental.run(["teacher"])
    assert (code, reason) == (75, BUDGET)
    assert 4 < world.bill() <= 6
    assert world.living() == []
    assert world.networks == {}
    assert rental.describe()["cost"] == pytest.approx(world.bill(), abs=1e-6)


def test_larger_budget_lets_the_run_go_on(rent, world):
    rent("cloud.budget=6", "cloud.silence_minutes=100000", "cloud.poll_seconds=120").run(
        ["teacher"]
    )
    controller = started(rent("cloud.budget=60"))
    controller.turn()
    assert len(world.living()) == 1


def test_off_peak_window_saves_waits_and_goes_on_the_next_day(rent, world):
    night = ("cloud.off_peak=00:00-08:00", "cloud.timezone=UTC", "cloud.silence_minutes=100000")
    day = 86_400
    world.skip(day - world.now() % day)  # midnight
    rental = rent(*night)
    controller = started(rental)
    controller.turn()
    (first,) = world.living()
    world.skip(8 * 3600)
    first.releases_at = None
    controller.turn()
    assert rental.state.stop_reason() == "outside cloud.off_peak"
    assert world.living() == [first]
    for _ in range(2):  # it does not end by itself in the time it gets
        controller.turn()
        world.skip(400)
    controller.turn()
    assert world.living() == []
    controller.turn()
    assert world.living() == []
    world.skip(day - world.now() % day)
    for _ in range(2):
        controller.turn()
    assert rental.state.stop_reason() is None
    assert len(world.living()) == 1


def test_alarms_that_are_refused_do_not_stop_the_run(rent, world, caplog):
    with cloud_monitor({KEY_ID: SECRET}) as monitor:
        source = Credentials(KEY_ID, SECRET)
        service = CloudMonitor(lambda: source, endpoint=monitor.url, sleep=lambda _: None)
        machine = Machine(
            "i-1", "cn-hangzhou", "z", "t", "Running", False, datetime.now(timezone.utc), None, ""
        )
        keeper = AlarmKeeper(service, "run", "nobody")
        for _ in range(10):
            keeper.keep(machine)
        assert caplog.text.count("i-1 has no alarms") == 1
        keeper = AlarmKeeper(service, "run", "trainers")
        keeper.keep(machine)
        asked = len(monitor.requests)
        keeper.keep(machine)
        assert len(monitor.requests) == asked
        assert monitor.metric_rules
        keeper.remove(["cn-hangzhou"])
        assert monitor.metric_rules == {}


def test_deadline_rents_on_demand(rent, world):
    rental = rent("cloud.deadline_hours=5", "cloud.expected_hours=10")
    started(rental).turn()
    (instance,) = world.living()
    assert not instance.spot
    assert rental.state.launches()[0].market == ON_DEMAND


def test_silent_instances_end_the_run_after_some(rent, world):
    code, reason = rent("cloud.max_failures=2").run(["teacher"])
    assert (code, reason) == (1, "2 instances in a row got no further")
    assert len(world.instances) == 2
    assert world.living() == []


def test_stray_disk_is_deleted_at_the_end(rent, world):
    world.disks["d-stray"] = "cn-beijing"
    rent("cloud.max_failures=1").run(["teacher"])
    assert world.disks == {}


# Taking down, and telling beforehand


def test_down_asks_and_does_nothing_without_a_yes(rent, world):
    rental = rent()
    started(rental).turn()
    asked = []

    def refuse(things):
        asked.append(things)
        return False

    assert rental.down(refuse) == []
    assert world.living()[0].instance_id in asked[0]
    assert len(world.networks) == 3


def test_down_removes_everything_but_results(rent, world, tmp_path):
    rental = rent()
    started(rental).turn()
    kept = tmp_path / "bucket/runs/linguabridge/checkpoints/teacher/x"
    kept.parent.mkdir(parents=True)
    kept.write_text("weights")
    rental.down(lambda _: True)
    assert (world.living(), world.networks) == ([], {})
    left = [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()]
    assert left == [kept]


def test_rehearsal_tells_the_exact_calls_and_makes_none(rent, service, world, tmp_path):
    told = []
    rental = rent(dry_run=lambda *call: told.append(call))
    rental.rehearse(["teacher"])
    names = [action for _, action, _ in told]
    assert names == ["CreateVpc", "CreateSecurityGroup", "CreateVSwitch", "RunInstances"]
    assert not set(names) & set(actions(service))
    assert not (tmp_path / "bucket").exists()
    assert world.instances == {}


def test_run_of_the_same_name_with_another_command_is_refused(rent):
    rent().begin(["teacher"])
    with pytest.raises(CloudError, match=r"does `teacher --config config\.yaml`; choose another"):
        rent().begin(["student"])


def test_bucket_and_role_are_asked_for(rent):
    with pytest.raises(ConfigError, match=r"cloud.bucket is not set; name the bucket"):
        rent("cloud.bucket=null").begin(["teacher"])
    with pytest.raises(ConfigError, match=r"cloud.ram_role is not set; instances need"):
        rent("cloud.bucket=oss://b/p?region=cn-hangzhou").rehearse(["teacher"])
