"""Choosing and launching: the real SDK against a local service with a fast clock."""

import base64
import itertools
import json
import subprocess
from pathlib import Path

import pytest

from src.cloud.capacity import expected_hours
from src.cloud.facts import RUN_TAG
from src.cloud.program import pack_program
from src.errors import CloudError, ConfigError
from tests.fakes.ecs_service import Fault
from tests.fakes.rpc_signature import SECRET
from tests.fakes.spot_rental import actions, rent, service, started, world

__all__ = ["rent", "service", "world"]  # fixtures


# Choosing


def test_offers_are_sorted_by_what_the_run_is_expected_to_cost(rent, world):
    world.interruption = {"cn-hangzhou-h": "10-100%", "cn-hangzhou-i": "0-3%"}
    offers = rent().prices(10.0)
    costs = [offer.expected_cost for offer in offers]
    assert costs == sorted(costs)
    assert {offer.zone for offer in offers} == set(world.zones)
    by_zone = {offer.zone: offer for offer in offers}
    for zone, words in world.interruption.items():
        hours = expected_hours(10.0, words, 0.2)
        assert by_zone[zone].expected_cost == pytest.approx(by_zone[zone].price * hours)
    assert expected_hours(10.0, "10-100%", 0.2) > expected_hours(10.0, "0-3%", 0.2) > 10.0


def test_zones_without_stock_come_last(rent, world):
    best = rent().prices(10.0)[0]
    world.sold_out = {(best.zone, True)}
    offers = rent().prices(10.0)
    assert offers[-1].zone == best.zone
    assert not offers[-1].in_stock


def test_zones_above_the_price_limit_are_not_on_offer(rent):
    cheapest, *_ = rent().prices(10.0)
    offers = rent(f"cloud.price_limit={cheapest.price + 0.001:.3f}").prices(10.0)
    assert [offer.zone for offer in offers if offer.in_stock] == [cheapest.zone]


def test_unknown_region_is_named_with_the_nearest(rent):
    with pytest.raises(
        ConfigError, match=r"'cn-hangzou', which this account has not; did you mean"
    ):
        rent("cloud.regions=[cn-hangzou]").prices(10.0)


def test_networks_used_by_others_stay_and_are_named(rent, world):
    rental = rent()
    started(rental).turn()
    (own,) = world.living()
    foreign = world.launch(own.parameters, {}, None)
    with pytest.raises(CloudError, match="something that is not of this run uses its network"):
        rental.down(lambda _: True)
    assert [each.instance_id for each in world.living()] == [foreign]


def test_unknown_type_is_named_with_the_nearest(rent):
    with pytest.raises(
        ConfigError, match=r"sells ecs.gn7i-c16g1.4xlarg; did you mean ecs.gn7i-c16"
    ):
        rent("cloud.instance_types=[ecs.gn7i-c16g1.4xlarg]").prices(10.0)


# Launching


def test_spot_launch_says_everything_that_has_a_bad_default(rent, service, world):
    controller = started(rent("cloud.key_pair=me", "cloud.ram_role=trainer"))
    assert controller.turn() is None
    (sent,) = [request for request in service.requests if request["Action"] == "RunInstances"]
    wanted = {
        "SpotStrategy": "SpotAsPriceGo",
        "SpotDuration": "1",
        "SpotInterruptionBehavior": "Terminate",
        "HttpTokens": "required",
        "InstanceChargeType": "PostPaid",
        "Amount": "1",
        "KeyPairName": "me",
        "RamRoleName": "trainer",
        "Tag.1.Key": RUN_TAG,
        "Tag.1.Value": "linguabridge",
    }
    assert {name: sent[name] for name in wanted} == wanted
    assert sent["ClientToken"].startswith("lb-linguabridge-")
    (instance,) = world.living()
    assert instance.releases_at == pytest.approx(world.now() + 6 * 3600, abs=120)


def test_price_limit_goes_along_with_three_decimals(rent, service):
    started(rent("cloud.price_limit=9.5")).turn()
    sent = service.requests[-1]
    assert (sent["SpotStrategy"], sent["SpotPriceLimit"]) == ("SpotWithPriceLimit", "9.500")


def test_zone_that_refuses_is_left_alone_for_a_while(rent, service, world):
    controller = started(rent())
    service.faults.append(Fault("RunInstances", "OperationDenied.NoStock", 403))
    controller.turn()
    first, second = [each for each in service.requests if each["Action"] == "RunInstances"]
    assert first["ZoneId"] != second["ZoneId"]
    assert first["ClientToken"] != second["ClientToken"]
    assert [each.zone for each in world.living()] == [second["ZoneId"]]
    allowed = [offer.zone for offer in controller.launcher.offers("spot", 1.0)]
    assert first["ZoneId"] not in allowed
    world.skip(601)
    assert first["ZoneId"] in [offer.zone for offer in controller.launcher.offers("spot", 1.0)]


def test_without_any_stock_it_asks_less_and_less_often(rent, service, world):
    world.sold_out = {(zone, True) for zone in world.zones}
    controller = started(rent())
    asked = []
    for _ in range(40):
        before = actions(service).count("DescribeAvailableResource")
        controller.turn()
        if actions(service).count("DescribeAvailableResource") > before:
            asked.append(world.now())
        world.skip(30)
    gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 4 * gaps[0]
    assert world.instances == {}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("QuotaExceed.ElasticQuota", "quota for these instances is used up; raise it"),
        ("InvalidAccountStatus.NotEnoughBalance", "no credit left; top it up"),
        ("InvalidImageId.NotFound", "no such image in this region; set cloud.image"),
        ("InvalidKeyPairName.NotFound", "no such key pair in this region"),
        ("Forbidden.RAM", "may not do this in ECS; grant"),
        ("InvalidTimeStamp.Expired", "clock is 15 minutes off or more; set the clock"),
    ],
)
def test_what_no_other_zone_cures_stops_with_one_sentence(rent, service, world, code, words):
    rental = rent()
    service.faults.append(Fault("RunInstances", code, 403))
    with pytest.raises(CloudError, match=words):
        rental.run(["teacher"])
    assert world.instances == {}


def test_two_controllers_launch_one_instance(rent, world):
    first, second = started(rent()), started(rent())
    first.turn()
    second.turn()
    first.turn()
    assert world.most_living == 1


def test_controller_killed_before_it_knew_the_answer_finds_its_instance(rent, service, world):
    controller = started(rent())
    # Every attempt is carried out, and no answer arrives: as if it had been killed meanwhile.
    service.faults += [Fault("RunInstances", "lost")] * 6
    controller.turn()
    (instance,) = world.living()
    successor = started(rent())
    successor.turn()
    assert world.living() == [instance]
    assert successor.launcher is not controller.launcher
    assert rent().state.instance_ids() == {"0001": instance.instance_id}


def test_launch_that_never_arrived_is_asked_for_again_word_for_word(rent, service, world):
    service.faults += [Fault("RunInstances", "ServiceUnavailable", 503)] * 6
    started(rent()).turn()
    assert world.instances == {}
    started(rent()).turn()
    sent = [each for each in service.requests if each["Action"] == "RunInstances"]
    signing = {"Signature", "SignatureNonce", "Timestamp"}
    bare = [{k: v for k, v in each.items() if k not in signing} for each in sent]
    assert bare[0] == bare[-1]
    assert len(world.living()) == 1


def test_a_second_instance_of_the_run_is_released(rent, world):
    rental = rent()
    controller = started(rental)
    controller.turn()
    (first,) = world.living()
    tags = {**first.tags, "linguabridge-launch": "0009"}
    world.launch(first.parameters, tags, None)
    controller.turn()
    assert world.living() == [first]


def test_instances_of_others_are_never_touched(rent, world):
    rental = rent()
    controller = started(rental)
    controller.turn()
    (own,) = world.living()
    elsewhere = {**own.parameters, "VSwitchId": "vsw-other", "SecurityGroupId": "sg-other"}
    foreign = world.launch(elsewhere, {RUN_TAG: "other-run"}, None)
    untagged = world.launch(elsewhere, {}, None)
    controller.turn()
    assert rental.down(lambda _: True)
    assert {each.instance_id for each in world.living()} == {foreign, untagged}


# What goes to the instance


def test_start_script_is_short_and_holds_no_secret(rent, service):
    started(rent(), "teacher.max_steps=5").turn()
    encoded = service.requests[-1]["UserData"]
    assert len(encoded) < 8 * 1024
    script = base64.b64decode(encoded).decode()
    assert "planted" not in script
    checked = subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=False)
    assert checked.returncode == 0


def test_overrides_reach_the_instance_in_its_configuration(rent, tmp_path):
    rent("teacher.max_steps=5").begin(["teacher"])
    text = (tmp_path / "bucket/runs/linguabridge/config.yaml").read_text()
    assert "max_steps: 5" in text


def test_program_is_the_same_bytes_from_the_same_files_and_nothing_else(tmp_path):
    for name in ("run.py", "pyproject.toml", "requirements.txt", "requirements-gpu.txt"):
        (tmp_path / name).write_text(name)
    for folder in ("src/__pycache__", "deploy"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "src/a.py").write_text("a = 1\n")
    first = pack_program(tmp_path)
    for secret in (".env", "src/key.pem", "src/.hidden.py", "src/__pycache__/a.py", "notes.txt"):
        (tmp_path / secret).write_text(SECRET)
    assert pack_program(tmp_path) == first
    (tmp_path / "src/a.py").write_text("a = 2\n")
    assert pack_program(tmp_path)[1] != first[1]


def test_ledger_survives_the_loss_of_the_local_copy(rent, world):
    rental = rent("cloud.max_failures=1")
    rental.run(["teacher"])
    state = rent().state
    (line,) = state.objects.get(state.key("ledger.jsonl")).decode().splitlines()
    assert json.loads(line)["cost"] == pytest.approx(world.bill(), abs=1e-6)


def test_no_secret_lies_in_the_bucket(rent, tmp_path):
    rent("cloud.max_failures=1").run(["teacher"])
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert files
    assert all(b"planted" not in path.read_bytes() for path in files)


def test_launch_that_never_happened_is_given_up_after_ten_minutes(rent, service, world):
    controller = started(rent())
    service.faults += [Fault("RunInstances", "ServiceUnavailable", 503)] * 6
    controller.turn()
    world.skip(601)
    controller.turn()
    ends = rent().state.ends()
    assert ends[1].reason == "never came to be"
    assert [each.tags["linguabridge-launch"] for each in world.living()] == ["0002"]
