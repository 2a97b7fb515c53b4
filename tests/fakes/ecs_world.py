"""What the stand-in of ECS rents: zones with stock and prices, instances, networks, and a bill.

Its clock may run fast. Prices are a pure function of (seed, zone, type, hour). The bill is computed
here, from what really happened and not from what the service tells, so that a ledger can be held
against it.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field

HOUR = 3600.0
NOTICE_SECONDS = 300.0
ON_DEMAND = {"ecs.gn7i-c16g1.4xlarge": 10.09, "ecs.gn6i-c4g1.xlarge": 7.0}
DISK_HOURLY = 0.0007  # CNY per GiB


@dataclass
class Instance:
    """A rented machine. Times are seconds of the world's clock."""

    instance_id: str
    region: str
    zone: str
    instance_type: str
    spot: bool
    tags: dict[str, str]
    parameters: dict[str, str]
    created: float
    releases_at: float | None
    status: str = "Running"
    taken_at: float | None = None  # set by a notice
    released: float | None = None
    events: list[tuple[float, str]] = field(default_factory=list)


@dataclass
class Network:
    """A VPC, a vSwitch or a security group."""

    identifier: str
    region: str
    facts: dict[str, str]
    polls: int = 0


class Machines:
    """What gives instances a body; by default they have none."""

    def start(self, instance: Instance) -> None:
        """Boots it."""

    def give_notice(self, instance: Instance, release_at: float) -> None:
        """Lets its metadata service say when it will be taken away."""

    def stop(self, instance: Instance) -> None:
        """Takes its power, at once."""

    def is_off(self, instance: Instance) -> bool:
        """Whether it has shut itself down."""
        return False


class World:
    """Everything behind the service.

    Args:
        seed: Of the prices.
        zones: Zone → types that it sells.
        speed: Seconds of this world in one second.
        start: Of its clock, seconds since 1970.
        machines: Bodies of instances.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        zones: dict[str, tuple[str, ...]] | None = None,
        speed: float = 1.0,
        start: float = 1_793_000_000.0,
        machines: Machines | None = None,
    ) -> None:
        types = tuple(ON_DEMAND)
        self.zones = zones or {
            "cn-hangzhou-h": types,
            "cn-hangzhou-i": types,
            "cn-beijing-k": types,
        }
        self.speed = speed
        self.machines = machines or Machines()
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}
        self.launches: dict[str, tuple[dict[str, str], str]] = {}  # by ClientToken
        self.networks: dict[str, Network] = {}
        self.disks: dict[str, str] = {}  # disk → region, those that hang on nothing
        self.sold_out: set[tuple[str, bool]] = set()  # zone, spot
        self.interruption: dict[str, str] = {}
        self.quota = 100
        self.most_living = 0
        self._seed = seed
        self._numbers = itertools.count(1)
        self._origin = (time.monotonic(), start)

    def now(self) -> float:
        """Its clock."""
        began, start = self._origin
        return start + (time.monotonic() - began) * self.speed

    def skip(self, seconds: float) -> None:
        """Puts its clock forward."""
        began, start = self._origin
        self._origin = (began, start + seconds)

    def sleep(self, seconds: float) -> None:
        """Waits so long by its clock."""
        time.sleep(seconds / self.speed)

    def regions(self) -> list[str]:
        return sorted({region_of(zone) for zone in self.zones})

    # Prices

    def on_demand(self, zone: str, instance_type: str) -> float:
        """CNY per hour; dearer in Beijing."""
        return round(ON_DEMAND[instance_type] * (1.1 if "beijing" in zone else 1.0), 3)

    def spot(self, zone: str, instance_type: str, moment: float) -> float:
        """CNY per hour in the hour of this moment."""
        key = f"{self._seed}/{zone}/{instance_type}/{int(moment // HOUR)}"
        draw = random.Random(key)  # noqa: S311 - prices, no secrets
        return round(self.on_demand(zone, instance_type) * draw.uniform(0.2, 0.5), 3)

    def bill(self) -> float:
        """CNY for all instances and their disks, by the second."""
        return sum(self.bill_of(instance) for instance in self.instances.values())

    def bill_of(self, instance: Instance) -> float:
        """CNY for one."""
        end = instance.released if instance.released is not None else self.now()
        size = float(instance.parameters["SystemDisk.Size"])
        total = (end - instance.created) / HOUR * size * DISK_HOURLY
        moment = instance.created
        while moment < end:
            until = min(end, (moment // HOUR + 1) * HOUR)
            hourly = (
                self.spot(instance.zone, instance.instance_type, moment)
                if instance.spot
                else self.on_demand(instance.zone, instance.instance_type)
            )
            total += (until - moment) / HOUR * hourly
            moment = until
        return total

    # Instances

    def living(self) -> list[Instance]:
        return [each for each in self.instances.values() if each.released is None]

    def launch(
        self, parameters: dict[str, str], tags: dict[str, str], release: float | None
    ) -> str:
        """Makes an instance and boots it."""
        instance_id = f"i-fake{next(self._numbers):06d}"
        instance = Instance(
            instance_id,
            parameters["RegionId"],
            parameters["ZoneId"],
            parameters["InstanceType"],
            parameters["SpotStrategy"] != "NoSpot",
            tags,
            parameters,
            _milli(self.now()),
            release,
        )
        instance.events = [(instance.created, "Pending"), (instance.created, "Running")]
        self.machines.start(instance)  # before anybody can see it
        self.instances[instance_id] = instance
        self.most_living = max(self.most_living, len(self.living()))
        return instance_id

    def give_notice(self, instance: Instance) -> None:
        """Marks it for release in five minutes."""
        with self.lock:
            if instance.released is None and instance.taken_at is None:
                instance.taken_at = self.now() + NOTICE_SECONDS
                self.machines.give_notice(instance, instance.taken_at)

    def release(self, instance: Instance) -> None:
        """Takes it away at once, with its disk."""
        with self.lock:
            if instance.released is None:
                self.machines.stop(instance)
                instance.released = _milli(self.now())
                instance.status = "Deleted"
                instance.events.append((instance.released, "Deleted"))

    def advance(self) -> None:
        """Does what is due: reclaims, releases, instances that have shut down."""
        with self.lock:
            now = self.now()
            for instance in self.living():
                due = (instance.taken_at, instance.releases_at)
                if any(moment is not None and moment <= now for moment in due):
                    self.release(instance)
                elif instance.status == "Running" and self.machines.is_off(instance):
                    instance.status = "Stopped"
                    instance.events.append((now, "Stopped"))

    def new_identifier(self, kind: str) -> str:
        return f"{kind}-fake{next(self._numbers):06d}"


def region_of(zone: str) -> str:
    """`cn-hangzhou-h` → `cn-hangzhou`."""
    return zone.rpartition("-")[0]


def _milli(moment: float) -> float:
    return round(moment, 3)
