"""The peak of a process is its own, whoever started it."""

import subprocess
import sys

from src.host_memory import peak_memory_bytes

LARGE = 300 * 2**20


def test_the_peak_does_not_include_what_the_parent_had():
    ballast = bytearray(LARGE)
    ballast[:: 2**12] = bytes(len(ballast[:: 2**12]))  # every page is there
    assert peak_memory_bytes() >= LARGE
    code = "from src.host_memory import peak_memory_bytes; print(peak_memory_bytes())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del ballast
    assert 2**20 < int(child.stdout) < LARGE


def test_the_peak_stays_when_memory_goes():
    ballast = bytearray(LARGE)
    ballast[:: 2**12] = bytes(len(ballast[:: 2**12]))
    del ballast
    assert peak_memory_bytes() >= LARGE
