"""GPUs and Alibaba Cloud instance types: their sizes, rates and prices.

All numbers stand in `instances.yaml` beside this file, with their date and sources. Spot prices are
the list price times an assumed ratio until the cloud itself is asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from src.errors import ConfigError

CATALOGUE_FILE = Path(__file__).with_name("instances.yaml")
_PREFIX = "ecs."


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: Short name, e.g. "a10".
        title: The maker's name.
        memory_gib: Usable memory in GiB.
        tflops: Peak rate by precision (float32, float16, bfloat16), in 1e12 operations a second.
        bandwidth: Memory bandwidth in GB a second.
        link: What it can send to its neighbours in one machine, in GB a second.
        sustained: Share of the peak rate that its power limit lets it hold.
    """

    name: str
    title: str
    memory_gib: float
    tflops: Mapping[str, float]
    bandwidth: float
    link: float
    sustained: float = 1.0

    @property
    def has_bfloat16(self) -> bool:
        """Whether it computes in bfloat16 (Ampere and newer)."""
        return "bfloat16" in self.tflops


@dataclass(frozen=True)
class Price:
    """CNY per hour of one instance.

    Attributes:
        on_demand: Pay-as-you-go list price.
        spot: On-demand price times the catalogue's assumed ratio.
        reserved: On-demand price times the assumed ratio, paid by whole months.
    """

    on_demand: float
    spot: float
    reserved: float


@dataclass(frozen=True)
class InstanceType:
    """One type of machine that can be rented.

    Attributes:
        name: E.g. "ecs.gn7i-c16g1.4xlarge".
        gpu: Short name of its GPUs.
        gpu_count: How many.
        gpu_memory_gib: Usable memory of one GPU in GiB.
        vcpus: Virtual CPUs.
        memory_gib: Host memory in GiB.
        prices: By region.
    """

    name: str
    gpu: str
    gpu_count: int
    gpu_memory_gib: float
    vcpus: int
    memory_gib: float
    prices: Mapping[str, Price]

    @property
    def cheapest_region(self) -> str:
        """Region with the lowest list price; the first by name among equals."""
        return min(sorted(self.prices), key=lambda region: self.prices[region].on_demand)


@dataclass(frozen=True)
class Catalogue:
    """Everything in one price file.

    Attributes:
        as_of: Date of the prices.
        sources: Where each kind of number comes from.
        spot_ratio: Assumed spot price as a share of the list price.
        reserved_ratio: Assumed subscription price as a share of the list price.
        reserved_minimum_hours: Hours of one month, the least that a subscription pays for.
        disk_cny_per_gib_month: Price of a cloud disk.
        egress_cny_per_gib: Price of traffic out of a region.
        gpus: By short name.
        instances: By name.
    """

    as_of: str
    sources: Mapping[str, str]
    spot_ratio: float
    reserved_ratio: float
    reserved_minimum_hours: float
    disk_cny_per_gib_month: float
    egress_cny_per_gib: float
    gpus: Mapping[str, Gpu]
    instances: Mapping[str, InstanceType]


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue in a YAML file of the form of `instances.yaml`.

    Raises:
        ConfigError: If it is missing or not of that form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _catalogue(content)
    except FileNotFoundError as error:
        raise ConfigError(
            f"price file {path} does not exist; restore it from the repository, or name another "
            "with --prices"
        ) from error
    except OSError as error:
        raise ConfigError(f"price file {path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"price file {path} is no YAML in UTF-8: {problem}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"price file {path} is not of the form of src/planning/instances.yaml: {error!r}"
        ) from error


@cache
def catalogue() -> Catalogue:
    """The catalogue that comes with the project."""
    return read_catalogue(CATALOGUE_FILE)


def instance_types() -> tuple[InstanceType, ...]:
    """All instance types, in the order of the file."""
    return tuple(catalogue().instances.values())


def find_instance(name: str, prices: Catalogue | None = None) -> InstanceType:
    """The instance type of this name; the prefix "ecs." may be left out.

    Raises:
        ConfigError: If there is none, with the most similar name.
    """
    known = (prices or catalogue()).instances
    wanted = name.strip().lower()
    wanted = wanted if wanted.startswith(_PREFIX) else _PREFIX + wanted
    if wanted not in known:
        raise ConfigError(f"there is no instance type {name!r} here; {_hint(wanted, known)}")
    return known[wanted]


def find_gpu(name: str, prices: Catalogue | None = None) -> Gpu:
    """The GPU of this short name; "a100" alone means its larger edition.

    Raises:
        ConfigError: If there is none, with the most similar name.
    """
    known = (prices or catalogue()).gpus
    wanted = name.strip().lower().replace("_", "-").replace(" ", "-")
    if wanted in known:
        return known[wanted]
    editions = sorted(each for each in known if each.startswith(f"{wanted}-"))
    if editions:
        return max((known[each] for each in editions), key=lambda gpu: gpu.memory_gib)
    raise ConfigError(f"there is no GPU {name!r} here; {_hint(wanted, known)}")


def instances_with(gpu: str, count: int) -> tuple[InstanceType, ...]:
    """Instance types with exactly these GPUs, cheapest first."""
    fitting = [each for each in instance_types() if (each.gpu, each.gpu_count) == (gpu, count)]
    return tuple(sorted(fitting, key=lambda each: each.prices[each.cheapest_region].on_demand))


def _hint(wanted: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return "known are " + ", ".join(names)


def _catalogue(content: Mapping[str, Any]) -> Catalogue:
    gpus = {
        name: Gpu(
            name,
            facts["title"],
            float(facts["memory_gib"]),
            {precision: float(rate) for precision, rate in facts["tflops"].items()},
            float(facts["bandwidth"]),
            float(facts["link"]),
            float(facts.get("sustained", 1.0)),
        )
        for name, facts in content["gpus"].items()
    }
    ratios = float(content["spot_ratio"]), float(content["reserved_ratio"])
    return Catalogue(
        as_of=str(content["as_of"]),
        sources={name: " ".join(text.split()) for name, text in content["sources"].items()},
        spot_ratio=ratios[0],
        reserved_ratio=ratios[1],
        reserved_minimum_hours=float(content["reserved_minimum_hours"]),
        disk_cny_per_gib_month=float(content["disk_cny_per_gib_month"]),
        egress_cny_per_gib=float(content["egress_cny_per_gib"]),
        gpus=gpus,
        instances={
            name: _instance(name, facts, gpus, ratios)
            for name, facts in content["instances"].items()
        },
    )


def _instance(
    name: str, facts: Mapping[str, Any], gpus: Mapping[str, Gpu], ratios: tuple[float, float]
) -> InstanceType:
    spot, reserved = ratios
    prices = {
        region: Price(float(price), float(price) * spot, float(price) * reserved)
        for region, price in facts["on_demand"].items()
    }
    if not prices:
        raise ValueError(f"{name} has no price")
    return InstanceType(
        name,
        facts["gpu"],
        int(facts["gpu_count"]),
        gpus[facts["gpu"]].memory_gib,
        int(facts["vcpus"]),
        float(facts["memory_gib"]),
        prices,
    )
