"""Ranks that write one folder wait for each other, stop together and fail together."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fakes.training_lives import ROOT
from tests.integration.training_lives import free_ports, rank_environment

pytestmark = pytest.mark.distributed


def start(folder, mode):
    ports = free_ports(3)
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.integration.team_lives", str(folder), mode],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **rank_environment(rank, ports)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def ends(ranks):
    """Exit codes and last words."""
    words = [rank.communicate()[1] for rank in ranks]
    assert "Traceback" not in "".join(words)
    return [rank.returncode for rank in ranks], words


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_rank_waits_for_a_slower_one_without_a_collective(tmp_path):
    assert ends(start(tmp_path, "slow"))[0] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".lock", "MANIFEST.json", "en-zh", "making")
    ]


def test_one_run_at_a_time_and_a_signal_to_one_rank_stops_all(tmp_path):
    first = start(tmp_path, "stop")
    wait_for(tmp_path / "making")
    codes, words = ends(start(tmp_path, "equal"))
    assert codes == [1, 1]
    assert all(f"another run (process {first[0].pid} on" in each for each in words)
    first[1].send_signal(signal.SIGTERM)
    codes, words = ends(first)
    assert codes == [75, 75]
    assert all("stopped by SIGTERM; finished shards in" in each for each in words)
    assert not (tmp_path / ".ranks").exists()


def test_a_rank_that_fails_ends_the_others_with_its_reason(tmp_path):
    codes, words = ends(start(tmp_path, "fail"))
    assert codes == [1, 1]
    assert "rank 1 has ended (OSError: [Errno 28] No space left on device)" in words[0]
