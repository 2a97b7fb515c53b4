"""The calls to ECS, on the real SDK against a local service: what the SDK does wrong by itself."""

import base64
import importlib
import inspect
import json
import re
import traceback
from datetime import datetime, timedelta, timezone

import pytest

from src.cloud.ecs import ATTEMPTS, Credentials
from src.cloud.ecs_api import EcsApi, Endpoints, launch_tags
from src.cloud.facts import RUN_TAG, advice_by_zone, format_time
from src.cloud.refusals import kind_of
from src.cloud.role import credentials_source, role_credentials
from src.errors import CloudError, ConfigError
from tests.fakes.ecs_actions import KNOWN_PARAMETERS
from tests.fakes.ecs_service import Fault
from tests.fakes.ecs_world import Network, World
from tests.fakes.metadata_service import metadata_service
from tests.fakes.rpc_signature import KEY_ID, SECRET
from tests.fakes.spot_rental import service

__all__ = ["service"]  # a fixture
ACTIONS_OF_ECS = {
    action: known
    for action, known in KNOWN_PARAMETERS.items()
    if action != "DescribeSystemEventAttribute"  # CloudMonitor's
}
REGION, ZONE, KIND = "cn-hangzhou", "cn-hangzhou-h", "ecs.gn7i-c16g1.4xlarge"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, no_proxies):
    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "ECS_METADATA"):
        monkeypatch.delenv(f"ALIBABA_CLOUD_{name}", raising=False)


@pytest.fixture
def world():
    world = World()
    world.networks["sg-1"] = Network("sg-1", REGION, {"ClientToken": ""})
    world.networks["vsw-1"] = Network("vsw-1", REGION, {"ZoneId": ZONE, "ClientToken": ""})
    return world


@pytest.fixture
def api(service, waits):
    return make_api(service, waits)


def make_api(service, waits=None, **options):
    return EcsApi(
        lambda: Credentials(KEY_ID, SECRET),
        endpoints=Endpoints(service.url, service.url),
        sleep=(waits if waits is not None else []).append,
        jitter=lambda: 1.0,
        **options,
    )


def launch_parameters(world, **changes):
    release = datetime.fromtimestamp(world.now() + 7200, timezone.utc)
    return {
        "ClientToken": "lb-test-1",
        "InstanceType": KIND,
        "ZoneId": ZONE,
        "SecurityGroupId": "sg-1",
        "VSwitchId": "vsw-1",
        "ImageFamily": "acs:ubuntu_22_04_x64",
        "SpotStrategy": "SpotAsPriceGo",
        "SpotDuration": 1,
        "SystemDisk.Size": 100,
        "SystemDisk.Category": "cloud_essd",
        "SystemDisk.PerformanceLevel": "PL0",
        "AutoReleaseTime": format_time(release),
        "UserData": base64.b64encode(b"#!/bin/sh\n").decode(),
        **launch_tags("run", "0001"),
        **changes,
    }


# The five traps


def test_lost_answer_to_a_launch_gives_one_instance(api, service, world):
    service.faults += [Fault("RunInstances", "lost"), Fault("RunInstances", "lost")]
    instance_id = api.run_instance(REGION, launch_parameters(world))
    assert [request["Action"] for request in service.requests].count("RunInstances") == 3
    assert list(world.instances) == [instance_id]


def test_launch_without_a_token_is_refused_before_it_is_sent(api, service, world):
    with pytest.raises(ValueError, match="ClientToken"):
        api.run_instance(REGION, launch_parameters(world, ClientToken=""))
    assert service.requests == []


@pytest.mark.parametrize("code", ["Throttling.User", "Throttling.Api", "Throttling"])
def test_throttling_is_waited_out_longer_each_time(api, service, waits, code):
    service.faults += [Fault("", code)] * 3
    assert api.regions() == ["cn-beijing", "cn-hangzhou"]
    assert waits == [1.0, 2.0, 4.0]


def test_throttling_without_end_is_an_error_after_bounded_waiting(api, service, waits):
    service.faults += [Fault("", "Throttling.User")] * 20
    with pytest.raises(CloudError, match=r"Throttling\.User"):
        api.regions()
    assert len(service.requests) == ATTEMPTS
    assert sum(waits) < 60


def test_refusal_that_stays_is_not_repeated(api, service):
    service.faults.append(Fault("", "Forbidden.RAM", 403))
    with pytest.raises(CloudError, match="may not do this in ECS; grant"):
        api.regions()
    assert len(service.requests) == 1


def test_size_and_category_of_the_system_disk_arrive(api, service, world):
    api.run_instance(REGION, launch_parameters(world))
    sent = service.requests[-1]
    found = [sent[f"SystemDisk.{name}"] for name in ("Size", "Category", "PerformanceLevel")]
    assert found == ["100", "cloud_essd", "PL0"]


def test_every_service_is_asked_over_https(tunnels):
    api = EcsApi(lambda: Credentials(KEY_ID, SECRET), sleep=lambda _: None)
    since = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for ask in (
        lambda: api.machines(REGION, "run"),
        lambda: api.state_changes(REGION, "i-1", since),
    ):
        with pytest.raises(CloudError, match="cannot be reached"):
            ask()
    assert len(tunnels) == 2 * ATTEMPTS
    assert all(path.endswith(".aliyuncs.com:443") for path in tunnels)


@pytest.mark.parametrize("is_hardened", [False, True])
def test_role_of_an_instance_signs_calls_also_where_metadata_wants_a_token(service, is_hardened):
    service.keys["STS.1"] = "role-secret"
    service.tokens["STS.1"] = "CAIS-token"
    with metadata_service(is_hardened=is_hardened) as metadata:
        metadata.items["ram/security-credentials/trainer"] = json.dumps(
            {
                "AccessKeyId": "STS.1",
                "AccessKeySecret": "role-secret",
                "SecurityToken": "CAIS-token",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        )
        source = role_credentials("trainer", metadata.url)
        api = EcsApi(source, endpoints=Endpoints(service.url))
        assert api.regions() == ["cn-beijing", "cn-hangzhou"]
        assert api.regions() == ["cn-beijing", "cn-hangzhou"]
        asked = [request for request in metadata.requests if "credentials" in request]
    assert len(asked) == 1
    assert service.requests[0]["SecurityToken"] == "CAIS-token"


# Credentials


def test_missing_key_and_role_are_named():
    with pytest.raises(ConfigError, match=r"set ALIBABA_CLOUD_ACCESS_KEY_ID and .*_ECS_METADATA"):
        credentials_source()


@pytest.mark.parametrize("kind", ["Odd", "Throttling.User", "OperationDenied.NoStock"])
def test_no_error_shows_the_key(service, world, kind):
    service.faults += [Fault("", kind)] * ATTEMPTS
    api = make_api(service)
    with pytest.raises(CloudError) as caught:
        api.run_instance(REGION, launch_parameters(world))
    assert "planted" not in "".join(traceback.format_exception(caught.value))


# Looking


def test_instances_are_found_by_the_tag_of_the_run_alone(api, world):
    api.run_instance(REGION, launch_parameters(world))
    (machine,) = api.machines(REGION, "run")
    assert (machine.launch, machine.zone, machine.status) == ("0001", ZONE, "Running")
    assert api.machines(REGION, "other") == []
    assert api.machines("cn-beijing", "run") == []


def test_reclaim_shows_as_a_lock(api, world):
    api.run_instance(REGION, launch_parameters(world))
    world.give_notice(world.living()[0])
    assert api.machines(REGION, "run")[0].is_being_reclaimed


def test_prices_are_read_over_all_pages(api, world):
    end = datetime.fromtimestamp(world.now(), timezone.utc)
    points = api.spot_prices(REGION, KIND, end - timedelta(hours=150), end)
    assert len(points) == 2 * 150
    assert points == sorted(points, key=lambda point: (point.since, point.zone))
    assert all(
        point.spot == world.spot(point.zone, KIND, point.since.timestamp()) for point in points
    )


def test_advice_is_read_in_both_forms_of_the_answer():
    item = {"InstanceType": KIND, "InterruptRateDesc": "0-3%", "AverageSpotDiscount": "30"}
    resources = {"AvailableSpotResource": [item]}
    joined = [{"ZoneId": ZONE, "AvailableSpotResources": resources}]
    apart = [{"ZoneId": ZONE}, {"AvailableSpotResources": resources}]
    for zones in (joined, apart):
        found = advice_by_zone({"AvailableSpotZones": {"AvailableSpotZone": zones}})
        assert found[ZONE, KIND].discount == 0.3


def test_stock_tells_spot_from_on_demand(api, world):
    world.sold_out = {(ZONE, True)}
    assert api.stock(REGION, KIND, spot=True) == {ZONE: False, "cn-hangzhou-i": True}
    assert api.stock(REGION, KIND, spot=False)[ZONE]


def test_disk_is_priced_by_itself(api):
    disk = {"SystemDisk.Size": 100, "SystemDisk.Category": "cloud_essd"}
    assert api.disk_price(REGION, ZONE, KIND, disk) == pytest.approx(0.07)


# Changing


def test_only_instances_of_the_run_are_deleted(api, world):
    api.run_instance(REGION, launch_parameters(world))
    (machine,) = api.machines(REGION, "run")
    with pytest.raises(ValueError, match="does not carry the tag of run other"):
        api.delete_machine(REGION, machine, "other")
    assert world.living() != []
    api.delete_machine(REGION, machine, "run")
    assert world.living() == []
    api.delete_machine(REGION, machine, "run")  # gone already


def test_events_tell_when_an_instance_was_gone(api, world):
    instance_id = api.run_instance(REGION, launch_parameters(world))
    instance = world.instances[instance_id]
    world.release(instance)
    since = datetime.fromtimestamp(world.now() - 60, timezone.utc)
    changes = api.state_changes(REGION, instance_id, since)
    assert changes["Deleted"].timestamp() == pytest.approx(instance.released, abs=1e-3)
    assert set(changes) == {"Pending", "Running", "Deleted"}


def test_dry_run_tells_changes_and_sends_none(service, world):
    told = []
    api = make_api(service, dry_run=lambda *call: told.append(call))
    api.run_instance(REGION, launch_parameters(world))
    assert [(region, action) for region, action, _ in told] == [(REGION, "RunInstances")]
    assert told[0][2]["Tag.1.Key"] == RUN_TAG
    assert service.requests == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("OperationDenied.NoStock", "stock"),
        ("InvalidInstanceType.ValueNotSupported", "stock"),
        ("InvalidSpotPriceLimit.LowerThanPublicPrice", "price"),
        ("QuotaExceed.ElasticQuota", "account"),
        ("InvalidInstanceId.NotFound", "gone"),
        ("InvalidInstanceType.NotFound", "account"),
        ("DependencyViolation.Instance", "retry"),
        ("SDK.HttpError", "retry"),
        ("Something.New", "other"),
    ],
)
def test_codes_are_told_apart(code, kind):
    assert kind_of(code) == kind


@pytest.mark.parametrize("action", sorted(ACTIONS_OF_ECS))
def test_every_parameter_that_the_stand_in_takes_is_one_of_the_sdk(action):
    module = importlib.import_module(f"aliyunsdkecs.request.v20140526.{action}Request")
    known = set(re.findall(r"add_query_param\('([A-Za-z.]+)", inspect.getsource(module)))
    known |= {"RegionId", "PageSize", "PageNumber", "AcceptLanguage"}
    plain = {name.replace("\\", "") for name in ACTIONS_OF_ECS[action].split("|")}
    assert {name for name in plain if re.fullmatch(r"[A-Za-z.]+", name)} <= known
