"""deploy/aliyun/spot.py as people use it: what it prints, what it refuses, how it ends."""

import io
import json
import logging
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from src.cloud.controller import Clock
from src.cloud.ecs_api import Endpoints
from src.cloud.run_state import Status
from src.cloud.spot_command import main
from tests.fakes.ecs_service import Fault, ecs_service
from tests.fakes.ecs_world import World

KEY_ID, SECRET = "LTAI-planted-id", "planted~secret+/="
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def world():
    return World(seed=3)


@pytest.fixture
def service(world, monkeypatch, tmp_path):
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    handlers = logging.getLogger().handlers[:]
    with ecs_service({KEY_ID: SECRET}, world) as running:
        yield running
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def spot(service, world, capsys, tmp_path):
    """Runs one command; gives exit code, stdout and stderr."""

    def run(command, *arguments, sets=(), words=()):
        settings = [
            f"cloud.bucket=file://{tmp_path}/bucket",
            "cloud.regions=[cn-hangzhou, cn-beijing]",
            *sets,
        ]
        flags = [flag for setting in settings for flag in ("--set", setting)]
        code = main(
            [command, *arguments, *flags, *(["--", *words] if words else [])],
            endpoints=Endpoints(service.url, service.url),
            clock=Clock(world.now, world.skip),
        )
        output = capsys.readouterr()
        assert "planted" not in output.out + output.err
        return code, output.out, output.err

    return run


def test_prices_as_a_table_and_as_json(spot):
    code, table, _ = spot("prices", "--hours", "10")
    assert code == 0
    header, first, *_ = table.splitlines()
    assert header.split() == [
        *("zone", "type", "CNY/h", "list", "share", "30", "days", "reclaimed", "stock", "the"),
        "run",
    ]
    _, text, _ = spot("prices", "--hours", "10", "--json")
    offers = json.loads(text)["offers"]
    assert first.split()[0] == offers[0]["zone"]
    assert len(offers) == len(table.splitlines()) - 1


def test_prices_of_all_regions_of_the_account(spot):
    one = ["cloud.regions=[cn-beijing]"]
    found = json.loads(spot("prices", "--json", sets=one)[1])["offers"]
    everywhere = json.loads(spot("prices", "--json", "--all-regions", sets=one)[1])["offers"]
    assert {offer["region"] for offer in found} == {"cn-beijing"}
    assert {offer["region"] for offer in everywhere} == {"cn-beijing", "cn-hangzhou"}


def test_on_demand_prices_are_the_list(spot):
    _, text, _ = spot("prices", "--on-demand", "--json")
    assert all(offer["price"] == offer["on_demand"] for offer in json.loads(text)["offers"])


def test_up_status_logs_and_down(spot, world, tmp_path):
    code, _, told = spot("up", words=["teacher"])
    assert (code, "launched ecs.gn7i-c16g1.4xlarge in" in told) == (0, True)
    assert spot("logs")[0] == 1
    run = tmp_path / "bucket/runs/linguabridge"
    (run / "logs").mkdir()
    (run / "logs/0001.txt").write_text("step 3/10\n")
    report = Status("0001", 3, "training", step=3, progress=0.3, loss=1.25)
    (run / "status").mkdir()
    (run / "status/0001.json").write_text(json.dumps(vars(report)))
    assert spot("logs")[1] == "step 3/10\n"
    code, told, _ = spot("status")
    assert "training: step 3, 30.0 %, loss 1.250" in told
    known = json.loads(spot("status", "--json")[1])
    assert known["instances"][0]["instance_id"] == world.living()[0].instance_id
    assert known["cost"] > 0
    assert spot("up", words=["teacher"])[2].startswith("up: i-fake")
    code, _, told = spot("down", "--yes")
    assert (code, world.living(), world.networks) == (0, [], {})
    assert spot("status")[0] == 1


def test_down_needs_the_name_or_yes(spot, world, monkeypatch):
    spot("up", words=["teacher"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, _, told = spot("down")
    assert (code, "down deletes only with --yes" in told) == (2, True)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for typed, left in (("yes\n", 1), ("linguabridge\n", 0)):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        assert spot("down")[0] == 0
        assert len(world.living()) == left


def test_dry_run_prints_one_call_a_line_and_changes_nothing(spot, world, tmp_path):
    code, printed, told = spot("run", "--dry-run", words=["teacher", "teacher.max_steps=5"])
    assert code == 0
    calls = [json.loads(line) for line in printed.splitlines()]
    assert calls[-1]["action"] == "RunInstances"
    assert calls[-1]["SpotDuration"] == 1
    assert "nothing was changed" in told
    assert (world.instances, world.networks) == ({}, {})
    assert not (tmp_path / "bucket").exists()


def test_dry_run_finds_a_bucket_that_cannot_be_used(spot, tmp_path):
    absent = [f"cloud.bucket=file://{tmp_path}/absent/bucket"]
    code, printed, told = spot("run", "--dry-run", sets=absent, words=["teacher"])
    assert (code, printed) == (1, "")
    assert f"there is no folder {tmp_path}/absent; check that its drive is mounted" in told


@pytest.mark.parametrize("command", [("run", "--dry-run"), ("up",)])
def test_price_limit_below_every_zone_is_named_with_the_cheapest(spot, world, command):
    code, _, told = spot(*command, sets=["cloud.price_limit=0.01"], words=["teacher"])
    cheapest = min(
        world.spot(zone, kind, world.now())
        for zone, kinds in world.zones.items()
        for kind in kinds
        if "gn7i" in kind
    )
    assert code == 1
    assert f"the cheapest zone costs {cheapest:.3f} CNY per hour now; raise it" in told
    assert world.instances == {}


def test_run_without_a_command_is_a_usage_error(spot):
    assert spot("run")[0::2] == (
        2,
        "run: run needs a command after --, e.g. `spot.py run -- teacher`\n",
    )


def test_command_that_does_not_exist_rents_nothing(spot, world):
    code, _, told = spot("run", words=["teechar"])
    assert code == 2
    assert told.startswith("run: 'teechar' cannot be run in the cloud")
    assert told.endswith("; did you mean teacher?\n")
    assert world.instances == {}


def test_run_that_fails_ends_with_the_ledger_and_leaves_a_copy_of_it(spot, world, tmp_path):
    code, printed, told = spot("run", "--json", sets=["cloud.max_failures=1"], words=["teacher"])
    known = json.loads(printed)
    assert (code, known["exit_code"]) == (1, 1)
    assert known["cost"] == pytest.approx(world.bill(), abs=1e-6)
    copy = tmp_path / "runs/cloud/linguabridge/ledger.jsonl"
    assert len(copy.read_text().splitlines()) == 1
    code, _, told = spot("run", sets=["cloud.max_failures=1"], words=["teacher"])
    assert "% of on-demand" in told


def test_ssh_says_what_is_missing(spot):
    assert "there is no run 'linguabridge'" in spot("ssh")[2]
    spot("up", words=["teacher"])
    code, _, told = spot("ssh")
    assert (code, "set cloud.key_pair and cloud.ssh_from" in told) == (2, True)


def test_ssh_logs_in_to_the_living_instance(spot, monkeypatch):
    access = ["cloud.key_pair=me", "cloud.ssh_from=203.0.113.7/32"]
    spot("up", sets=access, words=["teacher"])
    started = []

    def become(*command):
        started.append(command)
        raise SystemExit

    monkeypatch.setattr(os, "execvp", become)
    with pytest.raises(SystemExit):
        spot("ssh", sets=access, words=["nvidia-smi"])
    (program, command) = started[0]
    assert (program, command[-2:]) == ("ssh", ["root@203.0.113.9", "nvidia-smi"])


def test_port_of_ssh_is_open_to_the_named_addresses_alone(spot, world):
    spot("up", sets=["cloud.ssh_from=203.0.113.7/32"], words=["teacher"])
    rules = [each.facts["rule"] for each in world.networks.values() if "rule" in each.facts]
    assert rules == ["22/22 203.0.113.7/32"]
    spot("down", "--yes")
    spot("up", words=["teacher"])
    assert not any("rule" in each.facts for each in world.networks.values())


def test_logs_followed_end_with_the_run(spot, tmp_path):
    spot("up", words=["teacher"])
    run = tmp_path / "bucket/runs/linguabridge"
    (run / "logs").mkdir()
    (run / "logs/0001.txt").write_text("the end\n")
    (run / "end.json").write_text('{"exit_code": 0, "reason": "done"}')
    assert spot("logs", "--follow")[:2] == (0, "the end\n")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("InvalidAccessKeyId.NotFound", "does not know this access key; check ALIBABA"),
        ("InvalidTimeStamp.Expired", "clock is 15 minutes off or more; set the clock"),
        ("Forbidden.RAM", "this access key may not do this in ECS; grant"),
    ],
)
def test_refusals_are_one_sentence(spot, service, fault, sentence):
    service.faults.append(Fault("", fault))
    code, printed, told = spot("prices")
    assert (code, printed) == (1, "")
    assert sentence in told
    assert told.count("\n") == 1


def test_wrong_secret_and_skewed_clock_by_the_service_itself(spot, service):
    service.clock_offset = timedelta(hours=1)
    assert "set the clock" in spot("prices")[2]
    service.clock_offset = timedelta()
    service.keys[KEY_ID] = "another"
    assert "the secret does not belong to this access key" in spot("prices")[2]


def test_missing_credentials_are_one_sentence(spot, monkeypatch):
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    code, _, told = spot("prices")
    assert (code, told.count("\n")) == (2, 1)
    assert "there is no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID" in told


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("cloud.off_peak=0-8", "write it as HH:MM-HH:MM"),
        ("cloud.timezone=Mars", "not a known time zone"),
        ("cloud.bucket=s3://b", "write it as oss://bucket/prefix"),
        ("cloud.run_name=Mine", "cloud.run_name"),
        ("cloud.regions=[]", "one entry each at least"),
    ],
)
def test_bad_settings_are_refused_by_name(spot, setting, sentence):
    code, _, told = spot("prices", sets=[setting])
    assert (code, sentence in told) == (2, True)


def test_entry_point_helps_from_any_folder(tmp_path):
    command = [sys.executable, str(ROOT / "deploy/aliyun/spot.py"), "--help"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    for name in ("prices", "up", "status", "logs", "ssh", "down", "run"):
        assert name in shown.stdout
