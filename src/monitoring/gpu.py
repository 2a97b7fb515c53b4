"""Readings of this machine's GPUs through NVML, the library that comes with NVIDIA's driver.

The record of a logged step gets these keys, over the devices the process may use:

    gpu_utilization           mean share of the last second in which a kernel ran, 0 to 1
    gpu_temperature_celsius   of the hottest
    gpu_memory_fraction       used memory of the fullest, by all processes, 0 to 1
    gpu_power_watts           of all together

Without a driver, or without a device, there are no readings and no noise about it. A reading that a
device does not give (some virtual ones have no temperature) is left out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml

Reading = Callable[[], Mapping[str, float]]

_IDLE_UTILIZATION = 0.3
_IDLE_READINGS = 20


@dataclass
class IdleWatch:
    """Notices devices that are paid for and hardly used.

    Attributes:
        low: Readings below 30 % in a row.
    """

    low: int = 0

    def add(self, utilization: float) -> bool:
        """Takes in a reading; True at the twentieth low one in a row, and only then."""
        self.low = self.low + 1 if utilization < _IDLE_UTILIZATION else 0
        return self.low == _IDLE_READINGS


@contextmanager
def open_gpu() -> Iterator[Reading]:
    """A function that reads the devices, for as long as the context lasts."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield dict
        return
    try:
        devices = _devices()
        yield lambda: _read(devices)
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def visible_devices(setting: str | None, count: int) -> list[int | str]:
    """The devices that CUDA_VISIBLE_DEVICES leaves of `count`: indices, or UUIDs as written."""
    if setting is None:
        return list(range(count))
    chosen: list[int | str] = []
    for name in filter(None, (part.strip() for part in setting.split(","))):
        if not name.lstrip("-").isdigit():
            chosen.append(name)
        elif 0 <= int(name) < count:
            chosen.append(int(name))
        else:  # CUDA, too, stops at the first that does not exist
            break
    return chosen


def _devices() -> list[Any]:
    names = visible_devices(os.environ.get("CUDA_VISIBLE_DEVICES"), pynvml.nvmlDeviceGetCount())
    devices = []
    for name in names:
        with contextlib.suppress(pynvml.NVMLError):
            by_index = isinstance(name, int)
            find = (
                pynvml.nvmlDeviceGetHandleByIndex if by_index else pynvml.nvmlDeviceGetHandleByUUID
            )
            devices.append(find(name))
    return devices


def _read(devices: list[Any]) -> dict[str, float]:
    used = _each(devices, _used_memory)
    readings = {
        "gpu_utilization": _mean(_each(devices, _utilization)),
        "gpu_temperature_celsius": max(_each(devices, _temperature), default=None),
        "gpu_memory_fraction": max(used, default=None),
        "gpu_power_watts": sum(_each(devices, _power)) or None,
    }
    return {name: value for name, value in readings.items() if value is not None}


def _each(devices: list[Any], read: Callable[[Any], float]) -> list[float]:
    values = []
    for device in devices:
        with contextlib.suppress(pynvml.NVMLError):
            values.append(read(device))
    return values


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _utilization(device: Any) -> float:
    return float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu) / 100


def _temperature(device: Any) -> float:
    return float(pynvml.nvmlDeviceGetTemperature(device, pynvml.NVML_TEMPERATURE_GPU))


def _used_memory(device: Any) -> float:
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    return float(memory.used) / float(memory.total)


def _power(device: Any) -> float:
    return float(pynvml.nvmlDeviceGetPowerUsage(device)) / 1000
