"""The peak of a process is its own, whoever started it."""

import platform
import subprocess
import sys

import pytest

from src.host_memory import peak_memory_bytes, release_freed_memory, resident_memory_bytes

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not GNU's")
def test_what_was_freed_goes_back_to_the_system():
    # Small pieces, which an allocator keeps; the last one holds the heap open.
    pieces = [bytes(1000) for _ in range(300_000)]
    last = [bytes(1000) for _ in range(1000)]
    held = resident_memory_bytes()
    pieces.clear()
    release_freed_memory()
    assert resident_memory_bytes() < held - 200 * 2**20
    assert len(last) == 1000
