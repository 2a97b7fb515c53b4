"""Checks of what is installed: Paddle, PaddleNLP, devices, and the pins of requirements.txt."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement
from packaging.version import Version

from src.diagnosis.finding import Finding

_CPU_PADDLE = "paddlepaddle"
_GPU_PADDLE = "paddlepaddle-gpu"
_MOST_NAMED = 4
_INSTALL_ADVICE = "make clean, then make demo; or pip install -r requirements.txt"


def read_pins(requirements: Path) -> dict[str, Version]:
    """The versions that a pinned requirement file asks for on this machine, by package name."""
    pins = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if not line[:1].isalnum():  # hashes and comments are indented or start with '#'
            continue
        requirement = Requirement(line.rstrip(" \\"))
        if requirement.marker is None or requirement.marker.evaluate():
            (specifier,) = requirement.specifier
            pins[requirement.name] = Version(specifier.version)
    return pins


def check_pins(requirements: Path) -> Finding:
    """Whether the installed packages are the pinned ones."""
    if not requirements.is_file():
        return Finding(
            "packages",
            "warning",
            f"{requirements} is missing, so versions cannot be compared",
            "restore it from the repository",
        )
    pins = read_pins(requirements)
    return judge_pins(pins, {name: installed_version(name) for name in pins})


def judge_pins(pins: Mapping[str, Version], installed: Mapping[str, Version | None]) -> Finding:
    """Compares versions; a missing package is a problem, another version a warning."""
    missing = [name for name in pins if installed[name] is None]
    different = [
        f"{name} {found} instead of {pins[name]}"
        for name, found in installed.items()
        if found is not None and found.public != pins[name].public
    ]
    if missing:
        seen = f"{len(missing)} of {len(pins)} not installed: {_some(missing)}"
        return Finding("packages", "problem", seen, _INSTALL_ADVICE)
    if different:
        seen = f"{len(different)} of {len(pins)} differ from requirements.txt: {_some(different)}"
        return Finding("packages", "warning", seen, _INSTALL_ADVICE)
    return Finding("packages", "ok", f"all {len(pins)} as pinned in requirements.txt")


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def installed_version(name: str) -> Version | None:
    """The installed version; Paddle's GPU build counts as Paddle (3.3.1.post126 as 3.3.1)."""
    for candidate in (name, _GPU_PADDLE) if name == _CPU_PADDLE else (name,):
        try:
            version = Version(importlib.metadata.version(candidate))
        except importlib.metadata.PackageNotFoundError:
            continue
        return Version(version.base_version) if candidate == _GPU_PADDLE else version
    return None


def check_import(topic: str, package: str, module: str, requirements: Path) -> Finding:
    """Whether a library can be imported, and in the pinned version.

    Args:
        topic: What to call it.
        package: Its distribution, as in requirements.txt.
        module: What to import.
        requirements: The pinned requirement file; not looked at when it is absent.
    """
    try:
        _import_quietly(module)
    except Exception as error:  # noqa: BLE001  whatever a broken installation raises is the finding
        seen = f"cannot be imported: {type(error).__name__}: {_first_line(error)}"
        return Finding(topic, "problem", seen, _INSTALL_ADVICE)
    version = installed_version(package)
    pinned = read_pins(requirements).get(package) if requirements.is_file() else None
    if version is None or (pinned is not None and pinned.public != version.public):
        seen = f"{version or 'unknown version'}; tested with {pinned or 'another'}"
        return Finding(topic, "warning", seen, _INSTALL_ADVICE)
    return Finding(topic, "ok", str(version))


def _import_quietly(module: str) -> ModuleType:
    """Imports; what the library prints goes to stderr, so that stdout stays one JSON object."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")


@dataclass(frozen=True)
class Devices:
    """What Paddle can compute on.

    Attributes:
        is_gpu_build: Whether this Paddle can use GPUs at all.
        gpus: Names of the GPUs that Paddle sees.
        has_driver: Whether NVIDIA's driver is installed on this machine.
    """

    is_gpu_build: bool
    gpus: tuple[str, ...]
    has_driver: bool


def read_devices() -> Devices:
    """Asks Paddle, which must be importable."""
    import paddle

    is_gpu_build = bool(paddle.device.is_compiled_with_cuda())
    count = paddle.device.cuda.device_count() if is_gpu_build else 0
    return Devices(
        is_gpu_build=is_gpu_build,
        gpus=tuple(str(paddle.device.cuda.get_device_name(index)) for index in range(count)),
        has_driver=shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists(),
    )


def judge_devices(devices: Devices) -> Iterator[Finding]:
    """What training will run on, and how to start it."""
    if devices.gpus:
        names = ", ".join(dict.fromkeys(devices.gpus))
        yield Finding("devices", "ok", f"{len(devices.gpus)} x {names}", _launch_advice(devices))
    elif devices.is_gpu_build:
        yield Finding(
            "devices",
            "warning",
            "Paddle's GPU build, but it sees no GPU; training runs on the CPU",
            "look at nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    elif devices.has_driver:
        yield Finding(
            "devices",
            "warning",
            "a GPU driver, but Paddle is the CPU build; training runs on the CPU",
            "pip uninstall paddlepaddle, then install as the first lines of requirements-gpu.txt "
            "say",
        )
    else:
        yield Finding("devices", "ok", "CPU only", _launch_advice(devices))


def _launch_advice(devices: Devices) -> str:
    launch = "python -m paddle.distributed.launch"
    if len(devices.gpus) > 1:
        indexes = ",".join(str(index) for index in range(len(devices.gpus)))
        return f"to use all: {launch} --gpus {indexes} src/train_teacher.py"
    if devices.gpus:
        return ""
    return (
        "several processes: --nproc_per_node 2. With --gpus Paddle's launcher dies here with "
        '"ValueError: substring not found"'
    )
