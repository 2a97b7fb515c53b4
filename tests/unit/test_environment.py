from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Prints how many pages the system had to clear for a tensor as large as some that are gone.
COPY_AGAIN = """
import resource
from src.environment import keep_freed_memory, prepare_environment

prepare_environment()
keep_freed_memory()
import paddle

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

tensor = paddle.zeros([64 * 2**18])  # 64 MiB
for _ in range(3):
    tensor.scale(2.0)
before = faults()
tensor.scale(2.0)
print((faults() - before) * resource.getpagesize())
"""


def cleared_bytes(**variables: str) -> int:
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", COPY_AGAIN],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment | variables,
    )
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="only the GNU C library is told")
def test_a_tensor_gets_the_memory_of_one_that_is_gone() -> None:
    assert cleared_bytes() < 2**22


@pytest.mark.skipif(sys.platform != "linux", reason="only the GNU C library is told")
def test_what_the_user_has_set_for_the_allocator_is_left_alone() -> None:
    assert cleared_bytes(MALLOC_ARENA_MAX="4") > 2**25
