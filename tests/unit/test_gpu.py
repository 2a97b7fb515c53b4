"""GPU readings: nothing without a driver, and what a driver says with one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from src.monitoring.gpu import IdleWatch, open_gpu, visible_devices

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "fakes" / "nvml_library.c"
READ = """
import json
from src.monitoring.gpu import open_gpu
with open_gpu() as read:
    print(json.dumps([read(), read()]))
"""


def has_driver():
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return False
    pynvml.nvmlShutdown()
    return True


@pytest.mark.skipif(has_driver(), reason="this machine has NVIDIA's driver")
def test_without_a_driver_there_is_nothing_and_no_noise(capfd):
    with open_gpu() as read:
        assert read() == {}
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make the library with")
    folder = tmp_path_factory.mktemp("nvml")
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(target), str(SOURCE)], check=True)
    return folder


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (
            None,
            {
                "gpu_utilization": 0.6,
                "gpu_temperature_celsius": 67.0,
                "gpu_memory_fraction": 0.75,
                "gpu_power_watts": 450.5,
            },
        ),
        (
            "GPU-1234",
            {"gpu_utilization": 0.3, "gpu_memory_fraction": 0.75, "gpu_power_watts": 150.0},
        ),
        ("", {}),
    ],
)
def test_readings_come_from_the_driver_over_the_visible_devices(library, visible, expected):
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    result = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    first, second = json.loads(result.stdout)
    assert first == second == pytest.approx(expected)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, [0, 1, 2, 3]),
        ("", []),
        ("2,0", [2, 0]),
        ("1, 7, 2", [1]),  # as CUDA: nothing behind the first that does not exist
        ("-1", []),
        ("GPU-8f, MIG-1", ["GPU-8f", "MIG-1"]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(setting, expected):
    assert visible_devices(setting, 4) == expected


def test_hardly_used_devices_are_noticed_once_until_they_work_again():
    watch = IdleWatch()
    assert [watch.add(0.1) for _ in range(25)].index(True) == 19
    assert not any(watch.add(0.1) for _ in range(50))
    assert not watch.add(0.9)
    assert [watch.add(0.2) for _ in range(20)][-1]


@pytest.mark.gpu
def test_real_devices_give_believable_readings():
    with open_gpu() as read:
        found = read()
    assert 0 <= found["gpu_utilization"] <= 1
    assert 0 < found["gpu_memory_fraction"] <= 1
    assert 10 < found.get("gpu_temperature_celsius", 50) < 110
