import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from src.train_teacher import train_teacher
from tests.fakes.ecs_machines import ROLE_SECRET
from tests.fakes.faulty_proxy import Fault
from tests.fakes.quick_training import STEPS, weights_after
from tests.integration.spot_arena import KEY_ID, ROOT, SECRET, Arena, Chaos

TEACHER_STEPS, TEACHER_SAVES = 45, 5


def check_end(arena, code, weights=None):
    """What must hold after any run, whatever happened to it.

    Args:
        arena: Where it ran.
        code: Exit code of its last controller.
        weights: Hash of the weights that an undisturbed run ends with; None means the quick one's.
    """
    assert code == 0, arena.logs()
    summary = json.loads(arena.read("output/summary.json"))
    assert summary["weights_sha256"] == (weights or weights_after(STEPS))
    assert arena.world.living() == []
    assert arena.world.most_living == 1
    assert arena.world.networks == {}
    assert arena.world.disks == {}
    assert arena.monitor.agents
    assert (arena.monitor.metric_rules, arena.monitor.event_rules) == ({}, {})
    lines = [json.loads(line) for line in arena.read("ledger.jsonl").splitlines()]
    assert {line["instance_id"] for line in lines} == set(arena.world.instances)
    for line in lines:
        assert line["is_exact"]
        bill = arena.world.bill_of(arena.world.instances[line["instance_id"]])
        assert line["cost"] == pytest.approx(bill, abs=1e-6)
    assert arena.answer()["cost"] == pytest.approx(arena.world.bill(), abs=1e-6)
    check_alerts(arena)
    check_no_secret(arena)


def check_alerts(arena):
    """Every event is told once, however often its controller was killed."""
    told = arena.alerts()
    assert len(told) == len(set(told))
    kinds = [kind for kind, _ in told]
    assert kinds.count("finished") == 1
    begun = [text.partition(":")[0] for kind, text in told if kind in ("started", "resumed")]
    wanted = [
        f"instance {int(instance.tags['linguabridge-launch'])}"
        for instance in arena.world.instances.values()
    ]
    assert sorted(begun) == sorted(wanted)
    gone = [
        text.split()[0] for kind, text in told if kind == "notice" and " is gone after " in text
    ]
    assert len(gone) == len(set(gone))
    assert set(gone) <= set(arena.world.instances)


def command_lines():
    """Of every process on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(path.read_bytes())
    return found


def check_no_secret(arena):
    places = [path for path in arena.folder.rglob("*") if path.is_file()]
    assert len(places) > 5
    for path in places:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert KEY_ID.encode() not in content, path


@pytest.fixture
def arena(tmp_path):
    with Arena(tmp_path) as arena:
        yield arena


def test_undisturbed_run_in_oss_ends_with_everything_given_back(tmp_path):
    with Arena(tmp_path, in_oss=True) as arena:
        arena.start_controller()
        arena.wait_until(
            lambda: any("status/" in key for key in arena.storage.buckets["training"].objects)
        )
        shown = command_lines()
        assert any(b"src.cloud.worker" in line for line in shown)
        assert not any(
            secret.encode() in line for line in shown for secret in (SECRET, ROLE_SECRET)
        )
        check_end(arena, arena.end())
        assert len(arena.world.instances) == 1
        kept = {key for key in arena.storage.buckets["training"].objects if "/output/" in key}
        assert {key.rpartition("/")[2] for key in kept} == {"metrics.jsonl", "summary.json"}
        assert not arena.storage.buckets["training"].uploads
        for stored in arena.storage.buckets["training"].objects.values():
            for secret in (SECRET, KEY_ID, ROLE_SECRET):
                assert secret.encode() not in stored.content


def test_bucket_that_is_away_for_a_while_costs_nothing_but_time(tmp_path):
    with Arena(tmp_path, in_oss=True) as arena:
        arena.start_controller()
        arena.wait_until(lambda: arena.saved_step() >= 5)
        # More than one request's patience, for the controller and for the instance.
        outage = Fault("answer", lambda method, path: "/runs/" in path or "list" in path, times=14)
        arena.network.faults.append(outage)
        check_end(arena, arena.end())
        assert outage.times == 0 or outage not in arena.network.faults
        assert len(arena.world.instances) == 1


def run_through(arena, seed, weights=None):
    chaos = Chaos(arena, seed)
    arena.start_controller()
    chaos.unfold()
    code = arena.end()
    assert len(chaos.happened) == 4
    check_end(arena, code, weights)


def run_teacher_through(project, folder, seed):
    """The same with the real training of a tiny model: Paddle, its checkpoints, its store."""
    steps = (f"teacher.max_steps={TEACHER_STEPS}", f"teacher.save_steps={TEACHER_SAVES}")
    straight = train_teacher(project.config(*steps))
    processed = Path(project.config().data.output_dir)
    with Arena(
        folder,
        program=ROOT,
        config=project.file,
        overrides=(
            *steps,
            "data.output_dir=data/processed",
            "cloud.inputs={data/processed: data/processed}",
            "cloud.heartbeat_seconds=1",
        ),
        speed=60.0,
        save_every=TEACHER_SAVES,
        patience_seconds=600.0,
    ) as arena:
        shutil.copytree(processed, arena.bucket / "data/processed")
        run_through(arena, seed, straight["weights_sha256"])
        assert json.loads(arena.read("output/summary.json"))["resumed_from"]


@pytest.mark.timeout(900)  # it starts Paddle half a dozen times, on whatever machine
def test_disturbed_teacher_ends_as_an_undisturbed_one(project, tmp_path):
    run_teacher_through(project, tmp_path, seed=1)


@pytest.mark.parametrize("seed", [2, 3])
def test_disturbed_run_ends_as_an_undisturbed_one(arena, seed):
    run_through(arena, seed)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4, 8))
def test_teacher_under_any_disturbance_ends_as_an_undisturbed_one(project, tmp_path, seed):
    run_teacher_through(project, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *range(4, 31)])
def test_run_under_any_disturbance_ends_as_an_undisturbed_one(arena, seed):
    run_through(arena, seed)
