"""The machine a plan is for: named on the command line, or the one it runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psutil

from src.errors import ConfigError
from src.planning.catalogue import Catalogue, Gpu, InstanceType, find_gpu, find_instance

DEVICE_COUNTS = (1, 2, 4, 8)
_GIB = 2**30
_MOST_GPUS = 1024


@dataclass(frozen=True)
class Machine:
    """Devices to plan for.

    Attributes:
        gpu: Their kind; None for the CPU.
        count: How many.
        instance: The rented machine they are in; None where none was named.
        memory_gib: Usable memory of one device.
        title: For people.
    """

    gpu: Gpu | None
    count: int
    instance: InstanceType | None
    memory_gib: float
    title: str


def find_machine(gpu: str | None, instance: str | None, prices: Catalogue) -> Machine:
    """The machine that `--gpu KIND[:COUNT]` or `--instance TYPE` names, else this one.

    Raises:
        ConfigError: If a name is unknown, a count is no number, or both are given and differ.
    """
    if instance is not None:
        if gpu is not None:
            raise ConfigError(
                f"--instance {instance} and --gpu {gpu} name two machines; keep one of them"
            )
        found = find_instance(instance, prices)
        return Machine(
            find_gpu(found.gpu, prices),
            found.gpu_count,
            found,
            found.gpu_memory_gib,
            f"{found.name} ({found.gpu_count} x {find_gpu(found.gpu, prices).title})",
        )
    if gpu is None:
        return _this_machine(prices)
    name, _, count = gpu.partition(":")
    kind = find_gpu(name, prices)
    if count and (not count.isdecimal() or not 1 <= int(count) <= _MOST_GPUS):
        raise ConfigError(
            f"--gpu {gpu}: {count!r} is no number of GPUs; write a kind and a count from 1 to "
            f"{_MOST_GPUS}, e.g. {kind.name}:4"
        )
    number = int(count or "1")
    return Machine(kind, number, None, kind.memory_gib, f"{number} x {kind.title}")


def _this_machine(prices: Catalogue) -> Machine:
    found = _local_gpus()
    if not found:
        memory = psutil.virtual_memory().total / _GIB
        return Machine(None, 1, None, memory, f"the CPU of this machine ({memory:.0f} GiB)")
    name, memory = found[0]
    kind = gpu_of_driver_name(name, memory, prices)
    return Machine(kind, len(found), None, memory, f"this machine: {len(found)} x {name}")


def _local_gpus() -> list[tuple[str, float]]:
    """Name and GiB of each NVIDIA GPU here; none without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return [
            (
                str(pynvml.nvmlDeviceGetName(handle)),
                float(pynvml.nvmlDeviceGetMemoryInfo(handle).total) / _GIB,
            )
            for handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()


def gpu_of_driver_name(name: str, memory: float, prices: Catalogue) -> Gpu:
    """The catalogue's entry for a GPU by the driver's name for it.

    Args:
        name: Such as "NVIDIA A100-SXM4-80GB".
        memory: In GiB, to tell editions apart.
        prices: The catalogue.

    Raises:
        ConfigError: If none is meant.
    """
    words = set(re.sub(r"rtx (?=\d)", "rtx", name.lower().replace("-", " ")).split())
    candidates = [gpu for key, gpu in prices.gpus.items() if key.partition("-")[0] in words]
    if not candidates:
        raise ConfigError(
            f"this machine's GPU {name!r} is not in the catalogue; name a similar one with --gpu: "
            + ", ".join(prices.gpus)
        )
    return min(candidates, key=lambda gpu: abs(gpu.memory_gib - memory))
