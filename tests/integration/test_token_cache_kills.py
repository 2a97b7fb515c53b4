"""Killing who makes a token cache, at any moment, leaves the old cache or the new one."""

import json
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.errors import WorkerLost
from src.tasks.engine import Engine
from src.tokens.cache import TokenCache
from src.tokens.write_cache import write_token_cache
from tests.fakes.small_tokens import make_pairs, small_tokenizer, write_text_shard
from tests.integration.token_cache_lives import digest_of, shards_in

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_writer_leaves_a_whole_cache_and_the_next_one_makes_the_same_bytes(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tests.integration.token_cache_lives",
        str(tmp_path / "lives" / "tokens"),
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
    # Finished shards are used, up to all of them.
    assert {life["reused"] for life in killed} == {0, 1, 2}
    for life in lives:
        assert life["is_same"]
        assert life["left"] == ["tokens"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Rows for six tasks."""
    path = tmp_path_factory.mktemp("text") / "train-en-zh-00000.parquet"
    return write_text_shard(path, make_pairs(3000), rows_per_group=500)


def write(folder, text, engine):
    return write_token_cache(
        folder,
        splits={"train": [text]},
        tokenizer=small_tokenizer(),
        text_fingerprint="0" * 64,
        engine=engine,
        shard_rows=500,
    )


class EngineThatLosesAWorker(Engine):
    """Ends a worker process with SIGKILL once the first result is there."""

    def run(self, function, tasks, *, describe):
        others = set(multiprocessing.active_children())  # of tests before this one
        for number, result in enumerate(super().run(function, tasks, describe=describe)):
            if number == 0:
                (*_, worker) = set(multiprocessing.active_children()) - others
                worker.kill()
            yield result


@pytest.fixture
def _no_watch_over_children():
    """Paddle's loaders, in tests before this one, leave a handler that fails on any lost child."""
    previous = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, previous)


@pytest.mark.usefixtures("_no_watch_over_children")
def test_the_bytes_do_not_depend_on_workers_nor_on_one_that_was_lost(tmp_path, text):
    alone = write(tmp_path / "alone", text, Engine(num_workers=1))
    parts = TokenCache.open(alone).split("train").pair_lengths()
    assert [len(lengths) for _, lengths in parts] == [500] * 6
    folder = tmp_path / "lost" / "tokens"
    with pytest.raises(WorkerLost, match=r"working on the tokens of train-en-zh-00000\.parquet"):
        write(folder, text, EngineThatLosesAWorker(num_workers=2))
    assert not folder.exists()
    kept = shards_in(folder.with_name(".tokens.partial"))
    write(folder, text, Engine(num_workers=2))
    assert digest_of(folder) == digest_of(alone)
    assert shards_in(folder) & kept
    assert [path.name for path in folder.parent.iterdir()] == ["tokens"]
