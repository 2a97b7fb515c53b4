"""The section `cloud:`: rented Alibaba Cloud machines, and what a run on them may cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from src.schema.base import NonNegativeInt, PositiveInt, Section
from src.schema.hours import Hours, Timezone

Positive = Annotated[float, Field(gt=0)]


class NetworkConfig(Section):
    """A network of yours in one region; without it one is made for the run, and removed."""

    security_group: str
    """Id of a security group, e.g. sg-bp1…."""
    vswitches: dict[str, str]
    """Id of a vSwitch for each zone that may be used, all in the network of the security group."""


class CloudConfig(Section):
    """`deploy/aliyun/spot.py`: where training is rented, and within which limits."""

    run_name: str = Field(default="linguabridge", pattern=r"^[a-z][a-z0-9-]{0,30}$")
    """Name of the run. Everything that belongs to it carries the tag linguabridge-run with this
    value, and nothing else is ever touched. Lower-case letters, digits and hyphens."""
    bucket: str | None = None
    """Where program, configuration, checkpoints and the state of the run live:
    oss://bucket/prefix?region=cn-hangzhou, or a folder that every machine mounts
    (file:///mnt/nas/…). Required for all but `prices`."""
    ram_role: str | None = None
    """RAM role that instances get, so that they may use the bucket without any key on them."""
    inputs: dict[str, str] = Field(default={})
    """Folders and files to fetch before training: local path → path below `bucket`, e.g.
    {data/processed: data/processed, models/Qwen2.5-7B: models/Qwen2.5-7B}."""
    regions: tuple[str, ...] = ("cn-hangzhou", "cn-beijing", "cn-shanghai", "cn-shenzhen")
    """Regions that may be used, all of them equally. More regions find more capacity."""
    instance_types: tuple[str, ...] = ("ecs.gn7i-c16g1.4xlarge",)
    """Instance types that may be used; the cheapest in expectation is taken."""
    price_limit: Positive | None = None
    """Highest spot price of an instance, in CNY per hour (three decimals). null: the market price,
    never above the on-demand price."""
    spot_duration: Literal[0, 1] = 1
    """1: an instance is not reclaimed in its first hour. 0: it may be at any time."""
    budget: Positive | None = None
    """Most that the whole run may cost, in CNY: machines and disks, over all restarts. When it is
    used up, the run is saved and everything released. null: no limit."""
    deadline_hours: Positive | None = None
    """Hours from the start of the run until it must be done. When spot machines cannot make it any
    more, an on-demand one is taken. null: spot only."""
    expected_hours: Positive = 24.0
    """Hours of training on one instance without interruptions; only for estimates, until the run
    itself shows its speed."""
    off_peak: Hours | None = None
    """Hours of the day in which machines run, e.g. "00:00-08:00"; outside of them the run is saved
    and waits. null: any time."""
    timezone: Timezone = "Asia/Shanghai"
    """Time zone of `off_peak`."""
    image: str = "acs:ubuntu_22_04_x64"
    """Image with Python 3.10 or newer and an NVIDIA driver: an image family (acs:…) or an id."""
    python: str | None = None
    """Python of a ready environment on the image. null: bootstrap makes one, in some minutes."""
    package_index: str | None = None
    """Index that pip uses on the instance. null: pip's own."""
    key_pair: str | None = None
    """Name of a key pair, present in every region, for `spot.py ssh`. null: nobody can log in."""
    ssh_from: str | None = None
    """Addresses that may log in, e.g. 203.0.113.7/32. null: port 22 stays closed."""
    bandwidth_mbps: NonNegativeInt = Field(default=5, le=100)
    """Outbound bandwidth to the internet, paid by traffic. 0: no public address; the machine then
    needs `python` or an index inside the cloud."""
    system_disk_gib: PositiveInt = Field(default=100, ge=20, le=2048)
    """Size of the system disk; it is billed at list price while the instance lives."""
    system_disk_category: str = "cloud_essd"
    """Category of the system disk."""
    performance_level: Literal["PL0", "PL1", "PL2"] | None = "PL0"
    """Performance level of an ESSD; null for other categories."""
    networks: dict[str, NetworkConfig] = Field(default={})
    """Networks of yours by region. Elsewhere a network, a vSwitch and a security group are made."""
    restart_minutes: Positive = 12.0
    """Minutes from a reclaim until training goes on elsewhere; only for estimates."""
    poll_seconds: Positive = 30.0
    """Seconds between two looks at the cloud."""
    heartbeat_seconds: Positive = 30.0
    """Seconds between two reports of the instance."""
    silence_minutes: Positive = 30.0
    """An instance that reports nothing new for so long is replaced. Must exceed the time that
    bootstrap takes to install packages."""
    stop_minutes: Positive = 6.0
    """Time that training gets to save and upload when the run is stopped on purpose."""
    unavailable_minutes: Positive = 10.0
    """How long a zone without stock of a type is left alone."""
    orphan_hours: Annotated[float, Field(ge=0.75)] = 6.0
    """An instance releases itself when no controller has looked after it for so long."""
    max_failures: PositiveInt = 3
    """Instances in a row whose training fails without getting further, until the run gives up."""

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("oss://", "file:///")):
            raise ValueError("write it as oss://bucket/prefix?region=cn-hangzhou or file:///folder")
        return value

    @model_validator(mode="after")
    def _has_candidates(self) -> CloudConfig:
        if not self.regions or not self.instance_types:
            raise ValueError("cloud.regions and cloud.instance_types need one entry each at least")
        return self
