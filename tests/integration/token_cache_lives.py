"""Replaces a token cache again and again, killed at every action on the disk in turn.

    python -m tests.integration.token_cache_lives FOLDER

Each life is forked from here, replaces the old cache (text fingerprint "old") by a new one and is
killed (SIGKILL) before its n-th action: opening a file to write, making, renaming or removing one,
or in the middle of a batch. Prints one line of JSON per life: which cache a reader then finds,
verified, and which one after the next writer has finished. The last life is not killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from src.tokens.cache import TokenCache, write_token_cache
from tests.fakes.small_tokens import make_pairs, small_tokenizer

PAIRS = make_pairs(40)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def write(folder: Path, fingerprint: str, count: int) -> None:
    """Writes a cache of `count` pairs in shards of 25."""

    def batches() -> Iterator[tuple[list[str], list[str]]]:
        for begin in range(0, count, 10):
            part = PAIRS[begin : min(count, begin + 10)]
            yield [en for en, _ in part], [zh for _, zh in part]

    write_token_cache(
        folder,
        splits={"train": batches()},
        tokenizer=small_tokenizer(),
        text_fingerprint=fingerprint,
        progress=lambda _: sys.audit("test.batch"),
        shard_pairs=25,
    )


def kill_before(action: int) -> None:
    """Ends this process before its `action`-th change on the disk, counted from 0."""
    left = action

    def see(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        opens_to_write = event == "open" and "w" in str(arguments[1])
        if event in CHANGES or event == "test.batch" or opens_to_write:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(see)


def found_in(folder: Path) -> list[object]:
    """Fingerprint and size of the cache that a reader finds, verified."""
    cache = TokenCache.open(folder, verify=True)
    return [cache.text_fingerprint, len(cache.split("train"))]


def main() -> None:
    """Lives until one is not killed."""
    folder = Path(sys.argv[1])
    old = folder.parent.with_name("old")
    write(old, "old", 20)
    for action in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)
        life = os.fork()
        if life == 0:
            kill_before(action)
            write(folder, "new", 40)
            os._exit(0)
        _, status = os.waitpid(life, 0)
        found = found_in(folder)
        write(folder, "next", 30)
        report = {
            "killed": os.WIFSIGNALED(status),
            "found": found,
            "next": found_in(folder),
            "left": sorted(path.name for path in folder.parent.iterdir()),
        }
        print(json.dumps(report), flush=True)  # noqa: T201
        if not report["killed"]:
            return


if __name__ == "__main__":
    main()
