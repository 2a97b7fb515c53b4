"""kill -9 at any moment of replacing a token cache leaves the old one or the new one."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_writer_leaves_a_whole_cache_and_the_next_one_clears_up(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.integration.token_cache_lives",
        str(tmp_path / "tokens"),
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    lives = [json.loads(line) for line in done.stdout.splitlines()]
    *killed, last = lives
    assert not last["killed"]
    assert last["found"] == ["new", 40]
    assert all(life["killed"] for life in killed)
    assert len(killed) > 20
    found = [life["found"] for life in killed]
    assert {tuple(cache) for cache in found} == {("old", 20), ("new", 40)}
    # Once the new cache is there it stays.
    assert found == sorted(found, reverse=True)
    for life in lives:
        assert life["next"] == ["next", 30]
        assert life["left"] == ["tokens"]
