"""Launching an instance of a run so that it happens once, wherever the program is killed.

A launch is written to the bucket before it is asked for, with every parameter of RunInstances. If
the controller dies before it knows the answer, its successor asks again, word for word and with the
same ClientToken: the service then answers with the instance that there is, or makes the one that
was meant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone

from src.cloud.capacity import Offer, Unavailable, find_offers
from src.cloud.ecs_api import EcsApi, Parameters, launch_tags
from src.cloud.facts import SPOT, format_time
from src.cloud.network import Networks
from src.cloud.objects import machine_address
from src.cloud.refusals import kind_of
from src.cloud.run_state import End, Launch, RunRecord, RunState, client_token
from src.cloud.user_data import user_data
from src.cloud.worker import Settings
from src.errors import CloudError, ConfigError
from src.schema import CloudConfig

_HOUR = 3600.0
# AutoReleaseTime must lie 30 minutes ahead, also when a lost request is repeated 10 minutes later.
_SHORTEST_LIFE_SECONDS = 45 * 60
_TRIES = 4  # refused offers in one go
logger = logging.getLogger(__name__)


class Launcher:
    """Launches instances of one run.

    Args:
        api: The cloud.
        state: The run's objects.
        record: The run.
        cloud: Where, and within which limits.
        output_dir: Where the training writes, on the instance.
        clock: Seconds since 1970.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        api: EcsApi,
        state: RunState,
        record: RunRecord,
        cloud: CloudConfig,
        *,
        output_dir: str,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self._api = api
        self._state = state
        self._record = record
        self._cloud = cloud
        self._output_dir = output_dir
        self._clock = clock
        self.networks = Networks(api, cloud, sleep)
        self._unavailable = Unavailable(cloud.unavailable_minutes * 60, clock)

    def offers(self, market: str, hours: float) -> list[Offer]:
        """What can be had now and was not refused a moment ago, best first."""
        now = datetime.fromtimestamp(self._clock(), timezone.utc)
        found = find_offers(self._api, self._cloud, now, hours=hours, market=market)
        return [offer for offer in found if offer.in_stock and self._unavailable.allows(offer)]

    def launch(self, market: str, *, hours: float, money_left: float | None) -> Launch | None:
        """Launches the best offer that the cloud keeps; None when there is none now.

        Args:
            market: "spot" or "on_demand".
            hours: Of training that are left.
            money_left: CNY; the instance releases itself before it has cost more.

        Raises:
            CloudError: The cloud refuses for a reason that no other zone cures.
        """
        for offer in self.offers(market, hours)[:_TRIES]:
            launch = self.prepare(offer, self._state.next_number(), money_left)
            if launch is None:
                continue
            if not self._state.announce(launch):
                logger.info("another controller is launching number %d", launch.number)
                return None
            if self.ask(launch, offer):
                return launch
        return None

    def prepare(self, offer: Offer, number: int, money_left: float | None) -> Launch | None:
        """The launch of an offer, with its network in place; None where the zone has none."""
        cloud = self._cloud
        try:
            disk_price = self._api.disk_price(
                offer.region, offer.zone, offer.instance_type, self._disk()
            )
            place = self.networks.place(offer.region, offer.zone)
        except CloudError as error:
            if kind_of(error.code) != "stock":
                raise
            self._unavailable.note(offer)
            return None
        now = self._clock()
        life = life_seconds(cloud, offer.price + disk_price, money_left)
        release = datetime.fromtimestamp(now + life, timezone.utc)
        parameters: dict[str, str | int | float] = {
            "ClientToken": client_token(self._record, number),
            "InstanceType": offer.instance_type,
            "ZoneId": offer.zone,
            "SecurityGroupId": place.security_group,
            "VSwitchId": place.vswitch,
            "InstanceName": f"linguabridge-{self._record.run}-{number:04d}",
            "InstanceChargeType": "PostPaid",
            "InternetChargeType": "PayByTraffic",
            "InternetMaxBandwidthOut": cloud.bandwidth_mbps,
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "AutoReleaseTime": format_time(release),
            "UserData": self._user_data(number),
            **self._disk(),
            **self._market(offer),
            **self._access(),
            **launch_tags(self._record.run, f"{number:04d}"),
        }
        return Launch(
            number,
            offer.region,
            offer.zone,
            offer.instance_type,
            offer.market,
            now,
            disk_price,
            parameters,
        )

    def ask(self, launch: Launch, offer: Offer | None = None) -> bool:
        """Asks for the instance of an announced launch; False when the zone has none.

        Raises:
            CloudError: Refused for another reason; a request that got lost stays open.
        """
        try:
            instance_id = self._api.run_instance(launch.region, launch.parameters)
        except CloudError as error:
            kind = kind_of(error.code)
            if kind == "retry":
                logger.warning("%s; the launch is tried again", error.reason)
                return True
            self._state.settle(End(launch.number, "", f"{error.code}: {error.reason}"))
            if kind not in ("stock", "price"):
                raise
            if offer is not None:
                self._unavailable.note(offer)
            logger.info(
                "no %s instance of %s in %s (%s)",
                launch.market.replace("_", "-"),
                launch.instance_type,
                launch.zone,
                error.code,
            )
            return False
        self._state.note_instance(launch, instance_id)
        logger.info(
            "launched %s: %s, %s in %s",
            instance_id,
            launch.instance_type,
            launch.market.replace("_", "-"),
            launch.zone,
        )
        return True

    def _market(self, offer: Offer) -> Parameters:
        if offer.market != SPOT:
            return {"SpotStrategy": "NoSpot"}
        limit = self._cloud.price_limit
        strategy: dict[str, str | int | float] = {
            "SpotStrategy": "SpotAsPriceGo" if limit is None else "SpotWithPriceLimit",
            "SpotDuration": self._cloud.spot_duration,
            "SpotInterruptionBehavior": "Terminate",
        }
        if limit is not None:
            strategy["SpotPriceLimit"] = f"{limit:.3f}"
        return strategy

    def _disk(self) -> Parameters:
        disk: dict[str, str | int | float] = {
            "SystemDisk.Category": self._cloud.system_disk_category,
            "SystemDisk.Size": self._cloud.system_disk_gib,
        }
        if self._cloud.performance_level:
            disk["SystemDisk.PerformanceLevel"] = self._cloud.performance_level
        return disk

    def _access(self) -> Parameters:
        chosen: dict[str, str | int | float] = {}
        name = "ImageFamily" if self._cloud.image.startswith("acs:") else "ImageId"
        chosen[name] = self._cloud.image
        if self._cloud.key_pair:
            chosen["KeyPairName"] = self._cloud.key_pair
        if self._cloud.ram_role:
            chosen["RamRoleName"] = self._cloud.ram_role
        return chosen

    def _user_data(self, number: int) -> str:
        settings = machine_settings(self._cloud, self._record, number, self._output_dir)
        content: Mapping[str, object] = asdict(settings)
        return user_data(
            content,
            program=self._state.key(self._record.program),
            sha256=self._record.program_sha256,
        )


def machine_settings(
    cloud: CloudConfig, record: RunRecord, number: int, output_dir: str
) -> Settings:
    """What an instance is told.

    Raises:
        ConfigError: The bucket is not named, or no role opens it.
    """
    if cloud.bucket is None:
        raise ConfigError("cloud.bucket is not set; name the bucket that the run lives in")
    bucket, endpoint = machine_address(cloud.bucket)
    if endpoint and not cloud.ram_role:
        raise ConfigError(
            "cloud.ram_role is not set; instances need a RAM role to read and write cloud.bucket"
        )
    return Settings(
        bucket=bucket,
        oss_endpoint=endpoint,
        ram_role=cloud.ram_role or "",
        run=record.run,
        launch=f"{number:04d}",
        command=record.command,
        output_dir=output_dir,
        inputs={**cloud.inputs, "config.yaml": f"runs/{record.run}/config.yaml"},
        heartbeat_seconds=cloud.heartbeat_seconds,
        python=cloud.python,
        package_index=cloud.package_index,
    )


def life_seconds(cloud: CloudConfig, hourly: float, money_left: float | None) -> float:
    """How long an instance may live unattended: neither past its time nor past the money."""
    life = cloud.orphan_hours * _HOUR
    if money_left is not None and hourly > 0:
        life = min(life, money_left / hourly * _HOUR)
    return max(life, _SHORTEST_LIFE_SECONDS)
