"""Checks of NVIDIA GPUs: the driver, what they have in common, and what they need to talk.

A machine without a driver has nothing to say here.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from src.diagnosis.finding import Finding
from src.units import format_bytes

LEAST_SHARED_MEMORY_BYTES = 1024**3
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the kernel's, which NCCL uses by this name
_NCCL_LIBRARY = "libnccl.so.2"
_MEMORY_TOLERANCE = 0.02


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's driver says.

    Attributes:
        version: E.g. "560.35.05".
        cuda: Newest CUDA that it can serve, as (major, minor).
        names: Name of each GPU.
        memory_bytes: Memory of each GPU.
    """

    version: str
    cuda: tuple[int, int]
    names: tuple[str, ...]
    memory_bytes: tuple[int, ...]


def check_gpus(paddle_cuda: tuple[int, int] | None) -> Iterator[Finding]:
    """Driver, evenness, and the paths between GPUs.

    Args:
        paddle_cuda: CUDA that Paddle was built for; None for its CPU build.
    """
    driver = read_driver()
    if driver is None:
        return
    yield judge_driver(driver, paddle_cuda)
    yield from judge_evenness(driver)
    if len(driver.names) > 1 and paddle_cuda is not None:
        yield judge_nccl(nccl_version())
        if _SHARED_MEMORY.is_dir():
            yield from judge_shared_memory(shutil.disk_usage(_SHARED_MEMORY).total)


def read_driver() -> Driver | None:
    """Asks the driver; None without one."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        cuda = int(pynvml.nvmlSystemGetCudaDriverVersion())
        devices = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
        return Driver(
            version=str(pynvml.nvmlSystemGetDriverVersion()),
            cuda=(cuda // 1000, cuda % 1000 // 10),
            names=tuple(str(pynvml.nvmlDeviceGetName(device)) for device in devices),
            memory_bytes=tuple(
                int(pynvml.nvmlDeviceGetMemoryInfo(device).total) for device in devices
            ),
        )
    finally:
        pynvml.nvmlShutdown()


def paddle_cuda_version() -> tuple[int, int] | None:
    """CUDA that the installed Paddle, which must be importable, was built for."""
    import paddle

    return parse_cuda_version(str(paddle.version.cuda()))


def parse_cuda_version(text: str) -> tuple[int, int] | None:
    """`"12.6"` → (12, 6); None for "False", which a CPU build says."""
    major, _, minor = text.partition(".")
    if not major.isdecimal():
        return None
    return int(major), int(minor) if minor.isdecimal() else 0


def judge_driver(driver: Driver, paddle_cuda: tuple[int, int] | None) -> Finding:
    """Whether the driver is new enough for Paddle's CUDA.

    Within a major version of CUDA an older driver runs newer programs, except where they bring
    code that the driver has to compile; across major versions nothing runs.
    """
    seen = f"{driver.version}, for CUDA up to {_dotted(driver.cuda)}"
    if paddle_cuda is None or driver.cuda >= paddle_cuda:
        return Finding("GPU driver", "ok", seen)
    return Finding(
        "GPU driver",
        "warning" if driver.cuda[0] == paddle_cuda[0] else "problem",
        f"{seen}; Paddle is built for {_dotted(paddle_cuda)}",
        f"install a driver for CUDA {_dotted(paddle_cuda)} or newer (R560 for 12.6), or Paddle's "
        "build for another CUDA: see the first lines of requirements-gpu.txt",
    )


def judge_evenness(driver: Driver) -> Iterator[Finding]:
    """GPUs of one run should be alike: the slowest sets the pace, the smallest the batch."""
    if len(driver.names) < 2:  # noqa: PLR2004  one is even
        return
    smallest, largest = min(driver.memory_bytes), max(driver.memory_bytes)
    if len(set(driver.names)) == 1 and largest - smallest <= _MEMORY_TOLERANCE * largest:
        return
    kinds = ", ".join(
        f"{name} {format_bytes(memory)}"
        for name, memory in zip(driver.names, driver.memory_bytes, strict=True)
    )
    yield Finding(
        "GPUs",
        "warning",
        f"they differ ({kinds}): the slowest sets the pace, the smallest the batch",
        "train on equal ones only, e.g. CUDA_VISIBLE_DEVICES=0,1",
    )


def nccl_version() -> str | None:
    """Version of the NCCL that Paddle would load, e.g. "2.25.1"; None when it is not found."""
    number = ctypes.c_int()
    for name in (_NCCL_LIBRARY, *_packaged_nccl()):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        if library.ncclGetVersion(ctypes.byref(number)) == 0:
            return format_nccl(number.value)
    return None


def _packaged_nccl() -> Iterator[str]:
    """Where the pip package nvidia-nccl-cu12 puts it, which Paddle's GPU build depends on."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        yield str(Path(folder) / "nccl" / "lib" / _NCCL_LIBRARY)


def format_nccl(number: int) -> str:
    """`22501` → "2.25.1": two digits for minor and patch, as NCCL counts since 2.9."""
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def judge_nccl(version: str | None) -> Finding:
    """Whether several GPUs can exchange gradients."""
    if version is not None:
        return Finding("NCCL", "ok", version)
    return Finding(
        "NCCL",
        "problem",
        f"{_NCCL_LIBRARY} is not found; several GPUs cannot exchange gradients",
        "pip install nvidia-nccl-cu12, or train on one GPU: CUDA_VISIBLE_DEVICES=0",
    )


def judge_shared_memory(total_bytes: int) -> Iterator[Finding]:
    """Containers get 64 MiB unless told otherwise, and NCCL fails in the middle of its set-up."""
    if total_bytes < LEAST_SHARED_MEMORY_BYTES:
        yield Finding(
            "shared memory",
            "warning",
            f"{_SHARED_MEMORY} has {format_bytes(total_bytes)}; NCCL may fail to start",
            "docker run --shm-size=8g (or --ipc=host)",
        )


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
